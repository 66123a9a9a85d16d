"""The loop with real processes: resumed, killed, stopped, out of disk, diverging, on two processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sim2street.models.errors import ConfigError, Interrupted
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import write_json
from sim2street.training.config import RunConfig
from sim2street.training.evaluate import Report
from sim2street.training.methods.base import Update
from sim2street.training.pair import DomainPair
from sim2street.training.run import loop
from sim2street.training.run.loop import STATE, TrainingError, check_folder, train
from sim2street.training.selection import open_pairs

pytestmark = pytest.mark.slow


def make_tree(root: Path) -> Path:
    """A Cityscapes tree of six pictures of coloured blocks."""
    generator = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("leftImg8bit", "gtFine"):
            (root / kind / split / "blocks").mkdir(parents=True)
        for index in range(6):
            ids = generator.choice([7, 8, 11, 21, 23, 26], size=(4, 6)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
            colours = generator.integers(0, 60, (*ids.shape, 3)) + ids[..., None] * 7
            stem = f"blocks_000000_{index:06d}"
            Image.fromarray(colours.astype(np.uint8)).save(root / f"leftImg8bit/{split}/blocks/{stem}_leftImg8bit.png")
            Image.fromarray(ids).save(root / f"gtFine/{split}/blocks/{stem}_gtFine_labelIds.png")
    return root


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("tree"))


def recipe(tree: Path, method: str = "source_only", **changes: object) -> RunConfig:
    network = {"backbone": "resnet18", "width": 0.125, "output_stride": 16, "dilations": [1]}
    optimisers: dict[str, object] = {
        "segmenter": {"kind": "sgd", "rate": 1e-2, "weight_decay": 5e-4, "head_factor": 10}
    }
    values: dict[str, object] = {
        "title": "Test",
        "name": "test",
        "method": method,
        "network_options": {**network, "caffe_style": False, "train_norm": True},
        "sources": [{"dataset": "cityscapes", "root": str(tree)}],
        "source_transform": {"scale": [0.8, 1.2], "crop": [64, 48], "flip": 0.5, "augment": "strong"},
        "target_transform": {"crop": [64, 48]},
        "optimisers": optimisers,
        "steps": 6,
        "batch": 2,
        "workers": 0,
        "save_every": 3,
        "log_every": 2,
        "evaluations": [{"dataset": "cityscapes", "root": str(tree), "split": "val"}],
    }
    if method == "advent":
        values["target"] = {"dataset": "cityscapes", "root": str(tree), "split": "val"}
        values["method_options"] = {"discriminator_width": 4, "prior_weight": 1e-3}
        for name in ("discriminator", "discriminator_auxiliary"):
            optimisers[name] = {"kind": "adam", "rate": 1e-4, "betas": [0.9, 0.99]}
    return RunConfig.parse({**values, **changes}, where="test")


def weights(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / STATE, weights_only=True)["method"]


def assert_same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    assert [key for key in one if not torch.equal(one[key], two[key])] == []


@pytest.mark.parametrize("method", ["source_only", "advent"])
def test_resumed_run_is_bit_identical(tree: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = recipe(tree, method)
    checkpoint = train(config, tmp_path / "whole")
    assert checkpoint is not None

    # Stop after step 4 as a person would: the state is saved off the beaten track of save_every.
    take_step = loop.Run.take_step

    def stop_after_four(run: loop.Run, stream: object) -> dict[str, float]:
        values = take_step(run, stream)  # type: ignore[arg-type]
        if run.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return values

    monkeypatch.setattr(loop.Run, "take_step", stop_after_four)
    with pytest.raises(Interrupted, match="step 4 of 6"):
        train(config, tmp_path / "parts")
    monkeypatch.setattr(loop.Run, "take_step", take_step)
    train(config, tmp_path / "parts", resume=True)

    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "progress.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    opened = Checkpoint.open(tmp_path / "parts" / "checkpoint")
    assert opened.config.step == 6
    assert opened.config.weights_sha256 == checkpoint.config.weights_sha256
    assert opened.config.target == ("cityscapes/val" if method == "advent" else None)


def test_a_stop_amid_an_evaluation_is_heeded_and_made_up_for(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state is there before anything is scored; a stop between two photos writes no figures, resuming does."""
    config = recipe(tree, evaluate_every=2, save_every=100)
    scored: list[int] = []
    real_evaluate = loop.evaluate

    def stop_at_the_second_photo(*values: object, progress: Callable[[int, int], None], **options: object) -> object:
        def look_on(done: int, total: int) -> None:
            scored.append(done)
            if len(scored) == 2:
                assert torch.load(tmp_path / STATE, weights_only=True)["step"] == 2
                os.kill(os.getpid(), signal.SIGTERM)
            progress(done, total)

        return real_evaluate(*values, progress=look_on, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "evaluate", stop_at_the_second_photo)
    with pytest.raises(Interrupted, match="step 2 of 6"):
        train(config, tmp_path)
    assert scored == [1, 2]
    assert steps_with_figures(tmp_path) == []

    train(config, tmp_path, resume=True)
    assert steps_with_figures(tmp_path) == [2, 4, 6]
    assert len(scored) == 2 + 3 * 6


def test_a_run_of_an_older_version_is_gone_on_with(tree: Path, tmp_path: Path) -> None:
    """A key that recipes did not have then has its default."""
    config = recipe(tree, save_every=2)
    train(config.model_copy(update={"steps": 2}), tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    del stored["clip"], stored["optimisers"]["segmenter"]["spare_norms"]
    (tmp_path / "config.json").write_text(json.dumps({**stored, "steps": 6}))
    assert train(config, tmp_path, resume=True) is not None


def test_a_discriminator_that_decides_who_steps_is_alone(tree: Path, tmp_path: Path) -> None:
    options = {"phase": "features", "translated": False}
    config = recipe(tree, "advent").model_copy(update={"method": "cycada", "method_options": options, "accumulate": 2})
    with pytest.raises(TrainingError, match="one process and accumulate = 1; found processes = 1 and accumulate = 2"):
        train(config, tmp_path / "run")


def steps_with_figures(out: Path) -> list[int]:
    lines = [json.loads(line) for line in (out / "progress.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if "figures" in line]


def test_accumulated_gradients_equal_a_larger_batch(tree: Path, tmp_path: Path) -> None:
    """Two pairs of one picture step like one pair of two (batch norm aside, hence evaluation statistics)."""
    shared = {
        "steps": 2,
        "source_transform": {},
        "network_options": {**recipe(tree).network_options, "train_norm": False},
    }
    for name, batch, accumulate in (("large", 2, 1), ("small", 1, 2)):
        config = recipe(tree, **shared, batch=batch, accumulate=accumulate)
        run = loop.Run(config, tmp_path / name, resume=False)
        keep_running_statistics(run.method)
        stream = run.pairs.stream(0)
        run.take_step(stream)
        run.take_step(stream)
        run.save_state()
    large, small = weights(tmp_path / "large"), weights(tmp_path / "small")
    for key in large:
        torch.testing.assert_close(large[key], small[key], rtol=1e-4, atol=1e-6)


def keep_running_statistics(method: torch.nn.Module) -> None:
    """Put batch norm into evaluation mode for good, since it makes a batch more than the sum of its pictures."""
    method.eval()
    method.train = lambda mode=True: method  # type: ignore[method-assign]


def start(arguments: list[str], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def write_recipe(config: RunConfig, path: Path) -> Path:
    path.write_text(config.model_dump_json())
    return path


SCRIPT = """
import sys
from pathlib import Path
from sim2street.training.config import RunConfig
from sim2street.training.run.loop import train
config = RunConfig.parse(__import__("json").loads(Path(sys.argv[1]).read_text()), where="test")
train(config, Path(sys.argv[2]), resume=len(sys.argv) > 3)
"""


def test_a_kill_at_any_moment_leaves_a_whole_state(tree: Path, tmp_path: Path) -> None:
    config = recipe(tree, steps=40, save_every=1, evaluations=[])
    path, out = write_recipe(config, tmp_path / "recipe.json"), tmp_path / "run"
    command = [sys.executable, "-c", SCRIPT, str(path), str(out)]
    process = start(command)
    deadline = time.monotonic() + 90
    while not (out / STATE).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if not (out / STATE).exists():
        process.kill()
        pytest.fail(f"no state was written: {process.communicate()[0]}")
    generator = np.random.default_rng(0)
    kills = 0
    while process.poll() is None and kills < 3:
        time.sleep(float(generator.uniform(0.05, 0.4)))
        process.kill()
        process.wait()
        kills += 1
        state = torch.load(out / STATE, weights_only=True)  # whole, whenever the kill came
        assert 1 <= state["step"] <= 40
        process = start([*command, "resume"])
        time.sleep(3)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert kills >= 1
    uninterrupted = tmp_path / "uninterrupted"
    process = start(
        [sys.executable, "-c", SCRIPT, str(path), str(uninterrupted)]
    )  # on as many threads: sums differ else
    assert process.wait(timeout=120) == 0
    assert_same(weights(uninterrupted), weights(out))


def test_two_processes_train_one_network(tree: Path, tmp_path: Path) -> None:
    """`accelerate launch` on two CPU processes: same weights on both, and those of one process with twice the batch."""
    config = recipe(
        tree,
        "advent",
        steps=3,
        batch=1,
        source_transform={"crop": [64, 48], "flip": 0.5},
        method_options={"discriminator_width": 4},  # no prior: each process counts the labels that it sees
        evaluations=[],
    )
    path, out = write_recipe(config, tmp_path / "recipe.json"), tmp_path / "two"
    script = tmp_path / "run.py"
    # Running statistics throughout, since batch norm over one picture is not batch norm over two.
    script.write_text(
        "import sim2street.training.run.loop as loop\nimport torch\nloop.Method.train = lambda self, mode=True: torch.nn.Module.train(self, False)\n"
        + SCRIPT
    )
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    # accelerate launches several processes by this flag alone; conftest keeps them on the CPU.
    environment = {"PYTHONPATH": str(Path.cwd())}
    process = start([*launch, str(script), str(path), str(out)], **environment)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    one = tmp_path / "one"
    process = start(
        [sys.executable, str(script), str(write_recipe(config.model_copy(update={"batch": 2}), path)), str(one)],
        PYTHONPATH=str(Path.cwd()),
    )
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    two, single = weights(out), weights(one)
    for key in single:
        torch.testing.assert_close(two[key], single[key], rtol=1e-3, atol=1e-5, msg=key)
    shutil.rmtree(out / "checkpoint")
    process = start([*launch, str(script), str(write_recipe(config, path)), str(out), "resume"], **environment)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert (out / "checkpoint" / "config.json").exists()
    assert_same(weights(out), two)


def test_a_full_disk_keeps_the_state_before(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, out = recipe(tree), tmp_path / "run"
    save = torch.save

    def fails_the_second_time(state: dict[str, object], file: object) -> None:
        if state["step"] == 6:
            file.write(b"half a state")  # type: ignore[attr-defined]
            raise OSError(28, "No space left on device")
        save(state, file)

    monkeypatch.setattr(torch, "save", fails_the_second_time)
    with pytest.raises(TrainingError, match=r"state of step 6 could not be written.*No space left"):
        train(config, out)
    assert torch.load(out / STATE, weights_only=True)["step"] == 3
    assert [path.name for path in out.iterdir() if "partial" in path.name] == []


def test_a_diverging_run_stops_with_term_step_and_last_good_state(tree: Path, tmp_path: Path) -> None:
    config = recipe(tree, optimisers={"segmenter": {"kind": "sgd", "rate": 1e30}}, save_every=1)
    with pytest.raises(TrainingError, match=r"diverged: .*step \d.*Start again"):
        train(config, tmp_path / "run")
    if (tmp_path / "run" / STATE).exists():
        assert all(torch.isfinite(value).all() for value in weights(tmp_path / "run").values())


@pytest.mark.parametrize("stumbles", [False, True])
def test_a_loss_that_is_not_finite_is_named_with_its_step(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stumbles: bool
) -> None:
    """Also where the method stumbles over what it did to the weights, before the losses are read."""
    run = loop.Run(recipe(tree), tmp_path / "run", resume=False)
    run.take_step(stream := run.pairs.stream(0))

    def step(pair: DomainPair) -> Iterator[Update]:
        loss = run.segmenter(pair.source_images).logits.square().mean()
        yield Update({"good": loss, "bad": loss * float("nan")}, step=("segmenter",))
        if stumbles:
            raise RuntimeError("probability tensor contains nan")

    monkeypatch.setattr(run.method, "step", step)
    with pytest.raises(TrainingError, match=r"The run diverged: bad is nan at step 1\. No state was saved yet"):
        run.take_step(stream)


def test_losses_are_read_once_a_step(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reading makes a graphics card finish its work."""
    run = loop.Run(recipe(tree, "advent", accumulate=2), tmp_path / "run", resume=False)
    stream, read = run.pairs.stream(0), []
    for name in ("tolist", "item", "__float__", "__bool__"):
        right = getattr(Tensor, name)
        monkeypatch.setattr(
            Tensor, name, lambda self, right=right, name=name: read.append((name, self.numel())) or right(self)
        )
    values = run.take_step(stream)
    assert len(values) > 2
    assert [(name, count) for name, count in read if count > 1] == [("tolist", 2 * len(values))]
    assert not [name for name, count in read if count == 1 and name != "item"]


def test_runs_do_not_overwrite_or_mix(tree: Path, tmp_path: Path) -> None:
    config, out = recipe(tree, steps=1), tmp_path / "run"
    with pytest.raises(TrainingError, match="nothing to resume"):
        train(config, out, resume=True)
    train(config, out)
    with pytest.raises(TrainingError, match="already contains a run"):
        train(config, out)
    with pytest.raises(TrainingError, match="different values of seed, steps"):
        train(recipe(tree, steps=2, seed=1), out, resume=True)
    figures = {"camvid/val": Report(0.5, {"road": 0.5}, "camvid11", 1, None, 0.1).to_json()}
    write_json(out / "checkpoint" / "metrics.json", figures)
    finished = train(config, out, resume=True)
    assert finished is not None
    assert finished.metrics == figures, "nothing was left to do, and nothing was done"
    shutil.rmtree(out / "checkpoint")
    (out / STATE).write_bytes((out / STATE).read_bytes()[:5000])
    with pytest.raises(TrainingError, match="Cannot resume from"):
        train(config, out, resume=True)


def test_a_run_with_a_damaged_config_is_not_gone_on_with(tree: Path, tmp_path: Path) -> None:
    for damage in ("{", "[]", '{"method": 3}', "\udcff"):
        (tmp_path / "config.json").write_text(damage, errors="surrogateescape")
        with pytest.raises(ConfigError, match=r"config\.json"):
            check_folder(recipe(tree), tmp_path, True, began=True)


def test_state_holds_nothing_that_executes(tree: Path, tmp_path: Path) -> None:
    train(recipe(tree, "advent", steps=1), tmp_path / "run")
    state = torch.load(tmp_path / "run" / STATE, weights_only=True)
    assert set(state) == {"format", "step", "method", "optimisers", "scaler", "began"}
    assert set(state["optimisers"]) == {"segmenter", "discriminator", "discriminator_auxiliary"}


def test_optimisers_must_fit_the_method(tree: Path, tmp_path: Path) -> None:
    config = recipe(tree, "advent", optimisers={"segmenter": {"kind": "sgd", "rate": 1}})
    with pytest.raises(ConfigError, match="method advent trains discriminator, discriminator_auxiliary, segmenter"):
        train(config, tmp_path / "run")


def target_of(tree: Path) -> dict[str, object]:
    return {"dataset": "cityscapes", "root": str(tree), "split": "val"}


def test_recalibration_averages_the_statistics_of_the_next_target_pictures(tree: Path, tmp_path: Path) -> None:
    plain = train(recipe(tree), tmp_path / "plain")
    config = recipe(tree, target=target_of(tree), recalibration=3)
    changed = train(config, tmp_path / "changed")
    assert plain is not None
    assert changed is not None
    before, after = plain.load(), changed.load()
    statistics = {key for key, _ in before.named_buffers() if "running_" in key or "num_batches" in key}
    for key, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[key]) is (key not in statistics), key
    first = next(module for module in before.modules() if isinstance(module, torch.nn.BatchNorm2d))
    seen: list[Tensor] = []
    first.register_forward_hook(lambda _module, given, _output: seen.append(given[0].detach()))
    pairs = open_pairs(config)
    with torch.no_grad():
        for step in range(config.steps, config.steps + 3):
            before(pairs[step].target_images)
    averages = torch.stack([images.mean((0, 2, 3)) for images in seen]).mean(0)
    found = next(module for module in after.modules() if isinstance(module, torch.nn.BatchNorm2d)).running_mean
    assert found is not None
    torch.testing.assert_close(found, averages, rtol=1e-2, atol=1e-3)  # stored in fp16


def test_an_interrupted_recalibration_is_made_anew(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = recipe(tree, "advent", recalibration=2)
    whole = train(config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "recalibrate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "parts")
    parts = train(config, tmp_path / "parts", resume=True)
    assert whole is not None
    assert parts is not None
    assert whole.config.weights_sha256 == parts.config.weights_sha256


def test_recalibration_needs_target_pictures_and_batch_norm(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recalibration is 3 and needs target images"):
        recipe(tree, recalibration=3)
    with pytest.raises(ConfigError, match="does not use target images"):
        recipe(tree, target=target_of(tree))
    bare = recipe(tree, network="fcn8s", network_options={"width": 0.125}, target=target_of(tree), recalibration=3)
    with pytest.raises(ConfigError, match="but network fcn8s has no batch norm"):
        train(bare, tmp_path / "bare")


def test_the_method_knows_how_far_the_run_is(tree: Path, tmp_path: Path) -> None:
    run = loop.Run(recipe(tree, steps=4), tmp_path / "run", resume=False)
    stream, told = run.pairs.stream(), list[float]()
    for _ in range(3):
        run.take_step(stream)
        told.append(run.method.progress)
    assert told == [0, 0.25, 0.5]


def test_paper_rates_per_group(tree: Path, tmp_path: Path) -> None:
    """Classifiers learn ten times as fast; the polynomial decays towards its own horizon, not the last step."""
    sgd = {"kind": "sgd", "rate": 2.5e-4, "head_factor": 10, "horizon": 250_000}
    run = loop.Run(recipe(tree, optimisers={"segmenter": sgd}), tmp_path / "run", resume=False)
    loop.set_rates(run.optimisers["segmenter"], run.config.optimisers["segmenter"], 120_000, 120_000)
    rates = [group["lr"] for group in run.optimisers["segmenter"].param_groups]
    assert rates == pytest.approx([1.388e-4, 1.388e-3], rel=1e-3)


STAGES = [
    {"stage_name": "source", "steps": 3},
    {
        "stage_name": "adapted",
        "steps": 2,
        "method": "advent",
        "method_options": {"entropy_weight": 1e-3, "adversarial_weight": 0},
        "optimisers": {"segmenter": {"rate": 1e-3}},
    },
]


def test_stages_follow_each_other_and_resume_where_they_were(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ADVENT from a source-only start: the second stage begins with the first one's weights."""
    stages = [dict(STAGES[0]), {**STAGES[1], "target": {"dataset": "cityscapes", "root": str(tree), "split": "val"}}]
    config = recipe(tree, stages=stages, save_every=1)
    checkpoint = train(config, tmp_path / "whole")
    assert checkpoint is not None
    assert (checkpoint.config.method, checkpoint.config.step) == ("advent", 2)
    adapted = Checkpoint.open(tmp_path / "whole" / "adapted" / "checkpoint")
    assert checkpoint.config.weights_sha256 == adapted.config.weights_sha256
    stored = json.loads((tmp_path / "whole" / "adapted" / "config.json").read_text())
    assert stored["initialisation"] == "previous"
    assert stored["optimisers"]["segmenter"] == {**config.optimisers["segmenter"].model_dump(mode="json"), "rate": 1e-3}

    take_step = loop.Run.take_step

    def stop_in_the_second_stage(run: loop.Run, stream: object) -> dict[str, float]:
        values = take_step(run, stream)  # type: ignore[arg-type]
        if run.config.method == "advent":
            os.kill(os.getpid(), signal.SIGTERM)
        return values

    monkeypatch.setattr(loop.Run, "take_step", stop_in_the_second_stage)
    with pytest.raises(Interrupted, match=f"step 1 of 2.*--resume {tmp_path / 'parts'}$"):
        train(config, tmp_path / "parts")
    (tmp_path / "parts").rename(tmp_path / "moved")
    monkeypatch.setattr(loop.Run, "take_step", take_step)
    with pytest.raises(TrainingError, match="already contains a run"):
        train(config, tmp_path / "moved")
    again = train(config, tmp_path / "moved", resume=True)
    assert again is not None
    assert again.config.weights_sha256 == checkpoint.config.weights_sha256


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 3}, r"stages.0.stage_name is None"),
        ({"stage_name": "../up"}, r"stage_name is '../up'"),
        ({"stage_name": "one", "stps": 3}, "did you mean 'steps'"),
        ({"stage_name": "one", "method": "advent"}, "needs unlabelled target images"),
    ],
)
def test_mistakes_in_stages_get_a_sentence(tree: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        recipe(tree, stages=[changes])


def test_processes_that_do_not_see_each_other_are_refused(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="2 processes were launched, but accelerate sees 1"):
        train(recipe(tree), tmp_path / "run")
    assert not (tmp_path / "run").exists()
