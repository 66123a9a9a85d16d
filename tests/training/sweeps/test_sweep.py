from __future__ import annotations

import csv
import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from sim2street.models.errors import ConfigError, DatasetError, Interrupted
from sim2street.models.networks import build
from sim2street.models.storage.checkpoint import Checkpoint, CheckpointConfig
from sim2street.training.cli import main
from sim2street.training.config import RunConfig, load_recipe
from sim2street.training.jobs.record import Job, JobError, JobState
from sim2street.training.jobs.store import JobStore
from sim2street.training.run.folder import sole_use
from sim2street.training.run.loop import STATE
from sim2street.training.sweeps import as_jobs
from sim2street.training.sweeps.as_jobs import train_as_jobs
from sim2street.training.sweeps.definition import SweepConfig, SweepTest, load_sweep, sweep_names
from sim2street.training.sweeps.plan import SCORES, PlannedRun, plan, sweep_through
from sim2street.training.sweeps.runs import command_of, train_here
from sim2street.training.sweeps.table import build_table, summarise, to_csv, to_markdown
from tests.training.run.test_loop import make_tree

RECIPE = """# Six tiny steps.
title = "Tiny"
about = "Six steps on blocks."
method = "source_only"
steps = 6
batch = 2
workers = 0
save_every = 2
[network_options]
backbone = "resnet18"
width = 0.125
output_stride = 16
dilations = [1]
auxiliary = false
caffe_style = false
train_norm = true
[[sources]]
dataset = "cityscapes"
root = "TREE"
[source_transform]
crop = [64, 48]
[optimisers.segmenter]
kind = "sgd"
rate = 1e-2
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture
def recipe(tree: Path, tmp_path: Path) -> str:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.replace("TREE", str(tree)))
    return str(path)


def values(recipe: str, tree: Path, **rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": "Test",
        "name": "test",
        "rows": [
            {"name": name, "recipe": recipe, "group": "cnn", "role": "method", **row} for name, row in rows.items()
        ],
        "tests": [{"name": "val", "dataset": "cityscapes", "root": str(tree), "split": "val"}],
    }


def make(recipe: str, tree: Path, **rows: dict[str, Any]) -> SweepConfig:
    return SweepConfig.parse(values(recipe, tree, **rows), where="test")


def write_toml(path: Path, content: dict[str, Any]) -> Path:
    """Values as TOML; JSON's strings, lists and numbers are TOML's as well."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in content.items() if not isinstance(value, list)]
    for key in ("rows", "tests"):
        for entry in content[key]:
            lines += [f"[[{key}]]", *(f"{name} = {json.dumps(value)}" for name, value in entry.items())]
    path.write_text("\n".join(lines))
    return path


def put_run(recipe: str, folder: Path, seed: int, *changes: str) -> Checkpoint:
    """A finished run with random weights, as `train` leaves it."""
    config = load_recipe(recipe, [*changes, f"seed={seed}"])
    torch.manual_seed(seed)
    segmenter = build(config.network, options=config.network_options)
    details = CheckpointConfig(
        title="Tiny",
        method="source_only",
        network=config.network,
        network_options=config.network_options,
        source="cityscapes/train",
        seed=seed,
        step=config.steps,
    )
    checkpoint = Checkpoint.save(folder / str(seed) / "checkpoint", segmenter, details)
    (folder / str(seed) / "config.json").write_text(json.dumps(config.model_dump(mode="json")))
    return checkpoint


@pytest.mark.slow
def test_a_row_from_scratch_a_failure_beside_it_and_nothing_done_twice(
    recipe: str, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: dict[str, dict[str, Any]] = {"diverging": {"set": ["optimisers.segmenter.rate=1e30"]}, "good": {}}
    file = write_toml(tmp_path / "test.toml", values(recipe, tree, **rows))
    out = tmp_path / "runs"
    assert main(["sweep", str(file), "--out", str(out), "--markdown"]) == 2
    printed = capsys.readouterr().out
    table = json.loads((out / "test.json").read_text())
    bad, good = table["rows"]
    assert bad["runs"][0]["state"] == "failed"
    assert bad["runs"][0]["reason"].startswith("The run diverged")
    assert bad["figures"]["val"]["miou"] is None
    assert "| Tiny (`diverging`) | method | – | – |" in printed
    assert "`diverging`, seed 0, failed: The run diverged" in printed

    checkpoint = Checkpoint.open(out / "good" / "0" / "checkpoint")
    assert good["runs"][0]["weights_sha256"] == checkpoint.config.weights_sha256
    assert good["figures"]["val"]["miou_per_seed"] == [good["runs"][0]["scores"]["val"]["miou"]]
    scored = json.loads((out / "good" / "0" / SCORES).read_text())["val"]["report"]
    assert (scored["images"], scored["weights_sha256"]) == (6, checkpoint.config.weights_sha256)

    before = (out / "good" / "0" / "checkpoint" / "model.safetensors").stat().st_mtime_ns
    assert main(["sweep", str(file), "--out", str(out), "--row", "good"]) == 2
    assert (out / "good" / "0" / "checkpoint" / "model.safetensors").stat().st_mtime_ns == before
    assert json.loads((out / "test.json").read_text())["rows"][0]["runs"][0]["reason"] == bad["runs"][0]["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["asked", "terminal closed"])
def test_an_interrupted_sweep_goes_on_where_it_was(recipe: str, tree: Path, tmp_path: Path, number: int) -> None:
    file = write_toml(tmp_path / "test.toml", values(recipe, tree, long={"set": ["steps=4000"]}))
    out = tmp_path / "runs"
    command = [sys.executable, "-m", "sim2street.training.cli", "sweep", str(file), "--out", str(out)]
    state = out / "long" / "0" / STATE
    # Where the tests themselves run under nohup, a closed terminal would leave the sweep alone, as it should.
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    ) as process:
        deadline = time.monotonic() + 90
        while not state.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Sweep stopped in long, seed 0. Run it again" in said
    stopped_at = torch.load(state, weights_only=True)["step"]
    assert 0 < stopped_at < 4000
    (run,) = plan(load_sweep(str(file)), out)
    assert command_of(run) == ["train", "--resume", str(run.out)]


@pytest.mark.slow
def test_rows_as_jobs_are_collected_and_found_again(
    recipe: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(as_jobs, "JobStore", lambda: JobStore(tmp_path / "jobs"))
    out = tmp_path / "runs"
    sweep = make(recipe, tree, good={"set": ["steps=2"]}, bad={"set": ["sources.0.root=/nowhere"]})
    good, bad = sweep_through(sweep, out, train_as_jobs)["rows"]
    (job,) = (job for job in JobStore(tmp_path / "jobs").jobs() if job.state is JobState.SUCCEEDED)
    made = Checkpoint.open(JobStore(tmp_path / "jobs").run(job.id) / "checkpoint")
    assert good["runs"][0]["weights_sha256"] == made.config.weights_sha256
    assert good["runs"][0]["differs"] == ()
    assert bad["runs"][0]["reason"].startswith("Job ")
    assert "/nowhere" in bad["runs"][0]["reason"]

    before = len(JobStore(tmp_path / "jobs").jobs())
    (tmp_path / "runs" / "good" / "0" / "checkpoint" / "config.json").unlink()
    assert sweep_through(sweep, out, train_as_jobs, rows=["good"])["rows"][0]["runs"][0]["state"] == "finished"
    assert len(JobStore(tmp_path / "jobs").jobs()) == before, "the job of before, collected again"


def test_jobs_elsewhere_wait_for_the_run_they_start_from(
    recipe: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other places train several at once, so a run is submitted only when its start has come back."""
    first = str(tmp_path / "runs" / "first" / "0" / "checkpoint")
    sweep = make(recipe, tree, later={"set": [f"initialisation={first}"]}, first={}, refused={"set": ["steps=3"]})
    submitted, values = list[str](), dict[str, Any]()

    class Elsewhere:
        def __init__(self, store: JobStore) -> None:
            self.store = store

        def submit(self, config: RunConfig, **given: Any) -> Job:
            submitted.append(given["publication"]["repo_id"])
            values.update(given)
            if config.steps == 3:
                raise JobError("The cluster refused the job: no account.")
            return self.store.create(config, where="hub", by=given["by"])

        def refresh(self, job: str) -> Job:
            assert len([one for one in self.store.jobs() if not one.state.ended]) == 1
            return self.store.change(job, lambda found: found.to(JobState.FAILED, reason="It fell over."))

    monkeypatch.setattr(as_jobs, "JobStore", lambda: JobStore(tmp_path / "jobs"))
    monkeypatch.setitem(as_jobs.PLACES, "hub", Elsewhere)
    monkeypatch.setattr(as_jobs, "place_of", lambda store, job: Elsewhere(store))
    launcher = functools.partial(train_as_jobs, where="hub", repository="me/fog", flavour="l4x1")
    later, _, refused = sweep_through(sweep, tmp_path / "runs", launcher)["rows"]
    assert submitted == ["me/fog-first-0", "me/fog-refused-0", "me/fog-later-0"]
    assert values["flavour"] == "l4x1"
    assert refused["runs"][0]["reason"] == "The cluster refused the job: no account."
    assert later["runs"][0]["reason"].endswith("failed: It fell over.")


def test_runs_made_elsewhere_are_scored_once_and_bound_to_weights_and_set(
    recipe: str, tree: Path, tmp_path: Path
) -> None:
    sweep = make(recipe, tree, good={"seeds": [0, 1, 2]})
    for seed in (0, 1):
        put_run(recipe, tmp_path / "good", seed)
    table = sweep_through(sweep, tmp_path, None)
    (row,) = table["rows"]
    assert [run["state"] for run in row["runs"]] == ["finished", "finished", "missing"]
    assert row["figures"]["val"]["seeds"] == 2
    first = row["runs"][0]["scores"]["val"]["miou"]

    scores = tmp_path / "good" / "0" / SCORES
    kept = json.loads(scores.read_text())
    kept["val"]["report"]["miou"] = 0.125
    scores.write_text(json.dumps(kept))
    assert sweep_through(sweep, tmp_path, None)["rows"][0]["runs"][0]["scores"]["val"]["miou"] == 0.125

    put_run(recipe, tmp_path / "elsewhere", 1)
    (tmp_path / "elsewhere" / "1" / "checkpoint").rename(tmp_path / "other")
    (tmp_path / "good" / "0" / "checkpoint").rename(tmp_path / "first")
    (tmp_path / "other").rename(tmp_path / "good" / "0" / "checkpoint")  # other weights: scored anew
    second = sweep_through(sweep, tmp_path, None)["rows"][0]
    assert second["runs"][0]["scores"]["val"]["miou"] == second["runs"][1]["scores"]["val"]["miou"] != 0.125
    assert first != 0.125

    values_of = json.loads(sweep.model_dump_json())
    values_of["tests"][0]["split"] = "train"
    again = sweep_through(SweepConfig.parse(values_of, where="test"), tmp_path, None)
    assert again["tests"][0]["fingerprint"] != table["tests"][0]["fingerprint"]
    assert json.loads(scores.read_text())["val"]["bound_to"]["fingerprint"] == again["tests"][0]["fingerprint"]


def test_a_table_of_another_day_fills_what_the_folder_lacks(recipe: str, tree: Path, tmp_path: Path) -> None:
    sweep = make(recipe, tree, row={"seeds": [0, 1]})
    put_run(recipe, tmp_path / "elsewhere" / "row", 0)
    put_run(recipe, tmp_path / "elsewhere" / "row", 1)
    first = sweep_through(sweep, tmp_path / "elsewhere", None)
    table = tmp_path / "elsewhere" / "test.json"
    put_run(recipe, tmp_path / "here" / "row", 1, "steps=3")

    def nothing_is_run(runs: Sequence[PlannedRun]) -> Iterator[tuple[PlannedRun, str | None]]:
        assert not runs
        return iter(())

    both = sweep_through(sweep, tmp_path / "here", nothing_is_run, earlier=[table])
    runs = both["rows"][0]["runs"]
    assert runs[0] == first["rows"][0]["runs"][0]
    assert runs[1]["differs"] == ("steps",), "the folder's own run counts before the table's"
    assert both["rows"][0]["figures"]["val"]["seeds"] == 2

    content = json.loads(table.read_text())
    longer = json.loads(sweep.model_dump_json())
    longer["rows"][0]["set"] = ["steps=500"]
    with pytest.raises(ConfigError, match="the row 'row' with another recipe or other settings"):
        sweep_through(SweepConfig.parse(longer, where="test"), tmp_path / "here", None, earlier=[table])
    content["tests"][0]["fingerprint"] = "0" * 64
    table.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="other test sets: val differ"):
        sweep_through(sweep, tmp_path / "here", None, earlier=[table])
    table.write_text("{}")
    with pytest.raises(ConfigError, match="is not the table of a sweep"):
        sweep_through(sweep, tmp_path / "here", None, earlier=[table])


def test_tables_of_several_machines_fill_one(recipe: str, tree: Path, tmp_path: Path) -> None:
    sweep = make(recipe, tree, row={"seeds": [0, 1]})
    tables: list[Path] = []
    for place, changes in enumerate((["steps=3"], [])):
        folder = tmp_path / str(place)
        for seed in range(place + 1):
            put_run(recipe, folder / "row", seed, *changes)
        sweep_through(sweep, folder, None)
        tables.append(folder / "test.json")
    runs = sweep_through(sweep, tmp_path / "here", None, earlier=tables)["rows"][0]["runs"]
    assert [run["state"] for run in runs] == ["finished", "finished"]
    assert [list(run["differs"]) for run in runs] == [["steps"], []], "of seed 0 the first table counts"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda table: table["rows"][0]["runs"][0].update(seed="0"), "seed"),
        (lambda table: table["rows"][0]["runs"][0].update(state="x"), "state"),
        (lambda table: table["rows"][0]["runs"][0].update(steps="x"), "steps"),
        (lambda table: table["rows"][0]["runs"][0].update(differs=[1]), "differs"),
        (lambda table: table["rows"][0]["runs"][0].update(reason="\udcff"), "is not the table of a sweep"),
        (lambda table: table["rows"][0]["runs"][0].update(mine=1), "unknown mine"),
        (lambda table: table["rows"][0].pop("name"), "is not the table of a sweep"),
        (lambda table: table["rows"][0].update(name=[]), "is not the table of a sweep"),
        (lambda table: table["rows"][0]["runs"][0]["scores"]["val"].update(ece=float("nan")), "is not valid JSON"),
        (lambda table: table["rows"][0]["runs"][0]["scores"]["val"].update(miou=True), "the figures of row, seed 0"),
        (lambda table: table["rows"][0]["runs"][0].update(scores={}), "the figures of row, seed 0"),
        (lambda table: table["rows"][0]["runs"][0]["scores"]["val"].update(miou="x"), "the figures of row, seed 0"),
        (lambda table: table.update(format=2), "format 2"),
    ],
    ids=[
        "seed",
        "state",
        "steps",
        "differs",
        "surrogate",
        "unknown",
        "no name",
        "list",
        "nan",
        "truth",
        "no scores",
        "no number",
        "format",
    ],
)
def test_an_edited_table_is_refused(recipe: str, tree: Path, tmp_path: Path, edit: Any, words: str) -> None:
    sweep = make(recipe, tree, row={})
    put_run(recipe, tmp_path / "elsewhere" / "row", 0)
    content = sweep_through(sweep, tmp_path / "elsewhere", None)
    edit(content)
    table = tmp_path / "edited.json"
    table.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=re.escape(words)):
        sweep_through(sweep, tmp_path / "here", None, earlier=[table])


def test_a_seed_among_the_changes_is_refused(recipe: str, tree: Path) -> None:
    with pytest.raises(ConfigError, match=r"'seed = 5' would be overridden by the row's seeds"):
        make(recipe, tree, row={"set": ["seed = 5"]})


def test_a_test_without_labels_is_refused_before_anything_runs(recipe: str, tree: Path, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "photo.png")
    test = {"name": "mine", "dataset": "photos", "root": str(tmp_path)}
    sweep = make(recipe, tree, row={})
    sweep = sweep.model_copy(update={"tests": (SweepTest.parse(test, where="test"),)})
    with pytest.raises(ConfigError, match=r"Test mine: .* without labels .* needs labels"):
        sweep_through(sweep, tmp_path / "out", pytest.fail)
    assert not (tmp_path / "out").exists()


def test_a_table_that_is_none_is_named(recipe: str, tree: Path, tmp_path: Path) -> None:
    sweep = make(recipe, tree, row={})
    with pytest.raises(ConfigError, match="No such file"):
        sweep_through(sweep, tmp_path, None, earlier=[tmp_path / "nowhere.json"])
    (tmp_path / "half.json").write_text("{")
    with pytest.raises(ConfigError, match="is not valid JSON"):
        sweep_through(sweep, tmp_path, None, earlier=[tmp_path / "half.json"])


def test_damaged_figures_of_a_run_are_made_anew(recipe: str, tree: Path, tmp_path: Path) -> None:
    sweep = make(recipe, tree, good={})
    put_run(recipe, tmp_path / "good", 0)
    whole = sweep_through(sweep, tmp_path, None)["rows"][0]["figures"]["val"]
    scores = tmp_path / "good" / "0" / SCORES
    kept = json.loads(scores.read_text())
    for damage in ({}, {**kept["val"]["report"], "miou": 99}, {**kept["val"]["report"], "iou_per_class": None}):
        scores.write_text(json.dumps({"val": {**kept["val"], "report": damage}}))
        assert sweep_through(sweep, tmp_path, None)["rows"][0]["figures"]["val"] == whole


def test_a_run_that_another_process_trains_is_waited_for(
    recipe: str, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = plan(make(recipe, tree, good={}), tmp_path)

    def other() -> None:
        with sole_use(run.out):
            held.set()
            time.sleep(1)
            put_run(recipe, tmp_path / "good", 0)

    held = threading.Event()
    thread = threading.Thread(target=other)
    thread.start()
    held.wait()
    assert list(train_here([run])) == [(run, None)]
    thread.join()
    assert "Another process is training good, seed 0" in capsys.readouterr().err
    assert not run.out.with_suffix(".log").exists(), "nothing was started"


@pytest.mark.slow
def test_runs_beside_each_other_stop_and_go_on_together(recipe: str, tree: Path, tmp_path: Path) -> None:
    """Two of three train at once; a stop saves both, and what the caller does not wait for does not train on."""
    long = {"set": ["steps=4000"]}
    runs = plan(make(recipe, tree, first=long, second=long, third=long), tmp_path)

    def stop_when_two_have_saved() -> None:
        deadline = time.monotonic() + 90
        while sum((run.out / STATE).exists() for run in runs) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=stop_when_two_have_saved)
    thread.start()
    with pytest.raises(Interrupted, match=r"Sweep stopped in (first|second), seed 0. Run it again"):
        list(train_here(runs, at_once=2))
    thread.join()
    assert [(run.out / STATE).exists() for run in runs] == [True, True, False]
    after = {"set": [f"initialisation={tmp_path / 'two' / '0' / 'checkpoint'}"]}  # waits for the row that makes it
    short = plan(make(recipe, tree, one=after, two={}, bad={"set": ["sources.0.root=nowhere"]}), tmp_path)
    ended = {run.row.name: reason for run, reason in train_here(short, at_once=3)}
    assert ended.keys() == {"one", "two", "bad"}
    assert (ended["one"], ended["two"]) == (None, None)
    assert "nowhere" in (ended["bad"] or "")
    further = plan(make(recipe, tree, brief={"seeds": [7]}, endless=long), tmp_path)
    begun = train_here(further, at_once=2)
    assert next(begun)[0].row.name == "brief"
    begun.close()
    for run in further:
        with sole_use(run.out):  # nobody trains in it
            pass


def test_a_run_made_otherwise_is_said_and_a_damaged_one_fails(recipe: str, tree: Path, tmp_path: Path) -> None:
    sweep = make(recipe, tree, good={"seeds": [0, 1]})
    put_run(recipe, tmp_path / "good", 0, "steps=9", "workers=2")
    put_run(recipe, tmp_path / "good", 1)
    weights = tmp_path / "good" / "1" / "checkpoint" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    table = sweep_through(sweep, tmp_path, None)
    first, second = table["rows"][0]["runs"]
    assert list(first["differs"]) == ["steps"]
    assert second["state"] == "failed"
    assert "damaged" in second["reason"]
    assert f"Remove {weights.parent} and run the sweep again" in second["reason"]
    assert "`good`, seed 0: steps differ from the sweep." in to_markdown(table)


def test_a_damaged_photo_is_not_the_checkpoints_fault(recipe: str, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")
    put_run(recipe, tmp_path / "good", 0)
    next((tree / "leftImg8bit" / "val").rglob("*.png")).write_bytes(b"no picture")
    (run,) = sweep_through(make(recipe, tree, good={}), tmp_path, None)["rows"][0]["runs"]
    assert run["state"] == "failed"
    assert "Remove" not in run["reason"]


def test_a_begun_run_with_other_settings_is_not_gone_on_with(recipe: str, tree: Path, tmp_path: Path) -> None:
    (run,) = plan(make(recipe, tree, good={}), tmp_path)
    run.out.mkdir(parents=True)
    (run.out / STATE).touch()
    (run.out / "config.json").write_text(json.dumps(load_recipe(recipe, ["steps=9"]).model_dump(mode="json")))
    ((_, reason),) = train_here([run])
    assert reason is not None
    assert "other settings: steps differ" in reason


def test_first_seeds_run_first(recipe: str, tree: Path, tmp_path: Path) -> None:
    runs = plan(make(recipe, tree, one={"seeds": [0, 4]}, two={"seeds": [5]}), tmp_path)
    assert [(run.row.name, run.seed) for run in runs] == [("one", 0), ("two", 5), ("one", 4)]
    assert [run.config.seed for run in runs] == [0, 5, 4]
    assert command_of(runs[2])[-4:] == ["--set", "seed=4", "--out", str(tmp_path / "one" / "4")]


def report(miou: float, **classes: float | None) -> dict[str, Any]:
    return {"miou": miou, "iou_per_class": classes}


def test_figures_by_hand() -> None:
    figures = summarise(
        [report(0.40, road=0.8, train=None), report(0.46, road=0.9, train=None), report(0.43, road=0.7)]
    )
    assert figures["seeds"] == 3
    assert figures["miou"] == pytest.approx(0.43)
    assert figures["deviation"] == pytest.approx(0.03)  # sqrt((9 + 9 + 0) / 2)
    assert figures["iou_per_class"] == {"road": pytest.approx(0.8), "train": None}
    assert summarise([report(0.4)])["deviation"] is None
    assert summarise([])["miou"] is None


@pytest.mark.parametrize(("oracle", "share"), [(0.30, 0.75), (0.189, 0.15 / 0.089), (0.1799, None)])
def test_share_of_the_gap(recipe: str, tree: Path, tmp_path: Path, oracle: float, share: float | None) -> None:
    from sim2street.training.sweeps.table import RunResult

    content = values(recipe, tree, base={"role": "source_only"}, ours={}, top={"role": "oracle"}, lone={"group": "mit"})
    content["tests"].append({**content["tests"][0], "name": "game", "gap": False})
    sweep = SweepConfig.parse(content, where="test")
    found = {"base": 0.1, "ours": 0.25, "top": oracle, "lone": 0.2}
    results = [
        RunResult(name, 0, "finished", scores={"val": report(miou), "game": report(miou)})
        for name, miou in found.items()
    ]
    table = build_table(sweep, results, {"val": "", "game": ""})
    shares = {row["name"]: row["figures"]["val"]["gap_recovered"] for row in table["rows"]}
    assert shares["ours"] == (None if share is None else pytest.approx(share))
    assert shares["base"] is shares["top"] is shares["lone"] is None
    assert all(row["figures"]["game"]["gap_recovered"] is None for row in table["rows"])

    lines = list(csv.DictReader(to_csv(table).splitlines()))
    assert [(line["row"], line["test"]) for line in lines][:3] == [("base", "val"), ("base", "game"), ("ours", "val")]
    assert float(lines[2]["miou"]) == 0.25
    assert lines[2]["gap_recovered"] == ("" if share is None else str(shares["ours"]))
    assert "| 25.0 (1) |" in to_markdown(table)


@pytest.mark.parametrize("name", sweep_names())
def test_shipped_sweeps_are_valid(name: str, tmp_path: Path) -> None:
    sweep = load_sweep(name)
    assert sweep.name == name
    runs = plan(sweep, tmp_path)
    for group in {row.group for row in sweep.rows}:
        mine = [run for run in runs if run.row.group == group]
        roles = {run.row.role for run in mine}
        assert roles == {"source_only", "control", "method", "oracle"} or "source_only" not in roles
        # One network, one start and one budget, or the rows cannot be compared; AdaBN trains nothing.
        # HRDA's crops have four times the pixels, so a step has half as many.
        crops = {run.out: run.config.batch * (2 if run.config.network == "hrda" else 1) for run in mine}
        trained = {(run.config.steps, crops[run.out]) for run in mine if run.config.method != "adabn"}
        assert len(trained) == 1
        assert len({run.config.initialisation for run in mine}) == 1
    for run in runs:
        for data in (*run.config.sources, *([run.config.target] if run.config.target else [])):
            assert all((data.dataset, data.seed, data.split) != (t.dataset, t.seed, t.split) for t in sweep.tests)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "Ünschön"}, "rows.0.name"),
        ({"seeds": [1, 1]}, "one seed 1 of row one; this one has 2"),
        ({"seeds": []}, "rows.0.seeds"),
        ({"role": "best"}, "'source_only', 'control', 'method' or 'oracle'"),
        ({"recipee": "x"}, "did you mean 'recipe'"),
        ({"recipe": "demo_none"}, "Row one: There is no recipe 'demo_none'"),
        ({"set": ["stepps=3"]}, "Row one: .*did you mean 'steps'"),
    ],
)
def test_wrong_rows_are_refused(recipe: str, tree: Path, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        plan(make(recipe, tree, one=change), tmp_path)


def test_what_is_not_there_is_said_before_anything_runs(recipe: str, tree: Path, tmp_path: Path) -> None:
    sweep = make(recipe, tree, one={})

    def launched(runs: object) -> Any:
        raise AssertionError("something ran")

    with pytest.raises(ConfigError, match="no row 'two'; it has one"):
        sweep_through(sweep, tmp_path / "out", launched, rows=["two"])
    nowhere = json.loads(sweep.model_dump_json())
    nowhere["tests"][0]["root"] = str(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="nowhere"):
        sweep_through(SweepConfig.parse(nowhere, where="test"), tmp_path / "out", launched)
    with pytest.raises(ConfigError, match="one source_only of group cnn; this one has 2"):
        make(recipe, tree, one={"role": "source_only"}, two={"role": "source_only"})
    with pytest.raises(ConfigError, match="There is no sweep 'fogg': neither a file nor one of camvid, fog"):
        load_sweep("fogg")
