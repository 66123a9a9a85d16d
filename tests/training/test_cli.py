from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sim2street import child_environment
from sim2street.models.labels import CAMVID11
from sim2street.models.networks import build
from sim2street.models.storage.catalog import SHIPPED
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import write_json
from sim2street.training.cli import main
from sim2street.training.config import recipe_names
from sim2street.training.datasets import open_dataset
from tests.models.storage.test_checkpoint import CONFIG
from tests.models.test_deeplab_v2 import SLIM


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints with random weights."""
    path = tmp_path_factory.mktemp("checkpoints")
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        Checkpoint.save(
            path / name, build("deeplab_v2", options=SLIM), CONFIG.model_copy(update={"title": name.title()})
        )
    return path


@pytest.fixture
def own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", str(folder))
    return folder


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures in CamVid's layout; the class fence occurs in none."""
    root = tmp_path_factory.mktemp("camvid")
    generator = np.random.default_rng(0)
    lines = []
    for kind in ("val", "valannot"):
        (root / kind).mkdir()
    for index in range(3):
        labels = (
            generator.choice([0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11], (6, 8)).astype(np.uint8).repeat(12, 0).repeat(12, 1)
        )
        photo = generator.integers(0, 256, (*labels.shape, 3), dtype=np.uint8)
        Image.fromarray(photo).save(root / f"val/{index}.png")
        Image.fromarray(labels).save(root / f"valannot/{index}.png")
        lines.append(f"val/{index}.png valannot/{index}.png")
    (root / "val.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "street one.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 90, 3), dtype=np.uint8)).save(path, exif=exif)
    return path


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail with code 2; return its one sentence."""
    try:
        code = main(arguments)
    except SystemExit as error:
        code = error.code
    assert code == 2
    complaint = capsys.readouterr().err
    assert "Traceback" not in complaint
    return complaint.strip().splitlines()[-1]


def test_checkpoints_lists_names_methods_and_figures(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoints", "--json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert {"first", "second"} <= listed.keys()
    assert set(listed["first"]) >= {"name", "method", "network", "source", "target", "step", "licence", "metrics"}
    assert main(["checkpoints"]) == 0
    assert "First · deeplab_v2" in capsys.readouterr().out


def test_recipes_are_listed_with_what_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "--json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert sorted(listed) == recipe_names()
    assert listed["try_one_minute"]["needs"] == []
    assert listed["gta5_to_cityscapes__daformer"]["needs"] == ["cityscapes", "gta5", "ImageNet weights"]
    evening = listed["demo_game_and_randomised_to_camvid__daformer_evening"]
    assert (evening["steps"], evening["target"], evening["needs"]) == (10000, "camvid/train", ["camvid"])
    assert main(["recipes", "HRDA", "fog"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "demo_game_to_fog__hrda_mit",
        "demo_game_to_fog__hrda_recalibrated_mit",
    ]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("demo_gme_to_fog__dann_cnn", "Did you mean demo_game_to_fog__dann_cnn or "),
        ("one_minute", "Did you mean try_one_minute? "),
        ("demo_game_to_fog__mic.toml", "Did you mean demo_game_to_fog__mic_mit or "),
        ("qqq", "no recipe 'qqq' and no file of that name. `sim2street recipes` lists"),
    ],
)
def test_a_mistyped_recipe_has_neighbours(name: str, near: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert near in fails(["train", name], capsys)


def test_evaluate_writes_the_documented_figures(
    own: Path, camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "deep" / "figures.json"
    base = ["evaluate", "--dataset", "camvid", "--root", str(camvid), "--split", "val", "--json", str(out)]
    assert main([*base, "--checkpoint", "first", "--checkpoint", str(own / "second")]) == 0
    figures = json.loads(out.read_text())
    assert list(figures) == ["first", str(own / "second")]
    report = figures["first"]
    assert set(report) == {
        "miou", "iou_per_class", "label_space", "images", "ece", "seconds_per_image", "weights_sha256",
    }  # fmt: skip
    assert report["label_space"] == "camvid11"
    assert report["images"] == 3
    assert list(report["iou_per_class"]) == list(CAMVID11.names)
    present = [value for value in report["iou_per_class"].values() if value is not None]
    assert report["miou"] == pytest.approx(np.mean(present))
    assert 0 <= report["ece"] <= 1
    assert report["seconds_per_image"] > 0
    assert report["weights_sha256"] == Checkpoint.open(own / "first").config.weights_sha256
    monkeypatch.setattr("sim2street.models.storage.catalog.SHIPPED", tmp_path)  # whose scoring takes seconds
    assert main(base) == 0  # the whole catalog
    assert {"first", "second"} <= json.loads(out.read_text()).keys()
    before = out.read_text()
    assert main([*base, "--checkpoint", "nobody/knows@nothing"]) == 2
    assert out.read_text() == before, "figures stay until there are others"


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")]
)
def test_too_little_memory_gets_a_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: object) -> int:
        raise error

    monkeypatch.setattr("sim2street.training.commands.checkpoints.run", run)
    assert "Out of memory" in fails(["checkpoints"], capsys)


def test_a_torchvision_of_another_torch_gets_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: object) -> int:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("sim2street.training.commands.checkpoints.run", run)
    said = fails(["checkpoints"], capsys)
    assert f"torch {torch.__version__.split('+')[0]}" in said
    assert "--force-reinstall torch torchvision" in said


def test_other_faults_of_the_program_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: object) -> int:
        raise RuntimeError("a shape is wrong")

    monkeypatch.setattr("sim2street.training.commands.checkpoints.run", run)
    with pytest.raises(RuntimeError, match="shape"):
        main(["checkpoints"])


def test_a_place_that_cannot_be_written_is_named_as_it_was_given(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    base = ["evaluate", "--dataset", "street_scenes", "--count", "1", "--size", "96x64", "--checkpoint", "first"]
    for command in ([*base, "--json", str(file / "x.json")], ["train", "try_one_minute", "--out", str(file)]):
        assert fails(command, capsys) == f"error: {file}: this is a file, where a folder was expected."

    def refuse(dir: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(dir / "tmpabc"))

    monkeypatch.setattr("sim2street.training.commands.evaluate.tempfile.TemporaryFile", refuse)
    figures = tmp_path / "figures.json"
    assert fails([*base, "--json", str(figures)], capsys) == f"error: {figures}: Permission denied."


def test_a_row_of_a_table_has_the_checkpoints_title(own: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    base = ["evaluate", "--dataset", "street_scenes", "--count", "1", "--size", "96x64", "--checkpoint", "first"]
    assert main([*base, "--table", str(table)]) == 0
    (row,) = json.loads(table.read_text())["rows"]
    assert (row["name"], row["title"]) == ("first", "First")


def test_a_password_that_nobody_types_is_no_bug(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("getpass.getpass", ended)
    assert "pipe it in and use --stdin" in fails(["admin", "set-password"], capsys)


@pytest.mark.parametrize("command", ["app", "demo"])
def test_a_number_that_is_no_port_is_refused_before_the_server_starts(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([command, "--port", "99999"])
    assert "'99999' is not a port" in capsys.readouterr().err


def test_evaluate_counts_the_classes_of_synthia(
    own: Path, camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    base = ["evaluate", "--dataset", "street_scenes", "--count", "1", "--size", "96x64", "--json", str(out)]
    base += ["--checkpoint", "first"]
    assert main(base) == 0
    whole = json.loads(out.read_text())["first"]
    assert main([*base, "--classes", "synthia13"]) == 0
    part = json.loads(out.read_text())["first"]
    assert (part["label_space"], len(part["iou_per_class"])) == ("synthia13", 13)
    assert part["iou_per_class"].items() <= whole["iou_per_class"].items()
    assert not {"wall", "fence", "pole", "terrain", "truck", "train"} & part["iou_per_class"].keys()
    present = [value for value in part["iou_per_class"].values() if value is not None]
    assert part["miou"] == pytest.approx(np.mean(present))
    words = fails(
        ["evaluate", "--classes", "synthia16", "--dataset", "camvid", "--root", str(camvid), "--split", "val"], capsys
    )
    assert "--classes is a part of Cityscapes' 19; camvid has camvid11" in words


def test_predict_writes_labels_overlay_entropy_and_summary(own: Path, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    again = tmp_path / "other" / photo.name
    again.parent.mkdir()
    again.write_bytes(photo.read_bytes())
    command = [
        "predict",
        str(photo),
        str(again),
        "--checkpoint",
        "first",
        "--checkpoint",
        str(own / "second"),
        "--out",
        str(out),
    ]
    assert main(command) == 0
    labels = Image.open(out / "street_one" / "first" / "labels.png")
    assert labels.size == (60, 90)  # upright
    assert np.asarray(labels).max() < 19
    for name in ("overlay", "entropy"):
        assert Image.open(out / "street_one-2" / "second" / f"{name}.png").size == (60, 90)
    summary = json.loads((out / "summary.json").read_text())
    entry = summary[str(photo)]["checkpoints"]["first"]
    assert sum(entry["class_shares"].values()) == pytest.approx(1, abs=1e-4)
    assert 0 <= entry["mean_entropy"] <= 1


def test_predict_reads_on_after_a_bad_photo(
    own: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no photo")
    out = tmp_path / "out"
    assert main(["predict", str(bad), str(photo), "--checkpoint", "first", "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert "bad.jpg is not a picture" in said.err
    assert "1 of 2 photos" in said.out
    assert (out / "street_one" / "first" / "labels.png").exists()
    assert "error" in json.loads((out / "summary.json").read_text())[str(bad)]


def test_render_writes_what_the_cityscapes_reader_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "render",
        "--style",
        "fog",
        "--count",
        "2",
        "--size",
        "96x64",
        "--seed",
        "5",
        "--out",
        str(tmp_path / "r"),
    ]
    assert main(command) == 0
    assert "2 scenes rendered" in capsys.readouterr().out
    dataset = open_dataset("cityscapes", tmp_path / "r", "train")
    assert dataset.read(1).photo.shape == (64, 96, 3)
    assert main(command) == 0
    assert "0 scenes rendered, 2 already there" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], "invalid choice"),
        (["render", "--out", "x", "--size", "12"], "WIDTHxHEIGHT"),
        (["render", "--out", "x", "--style", "cartoon"], "cartoon"),
        (["render", "--out", "x", "--count", "0"], "expected 1 to 1000000 scenes"),
        (["evaluate", "--dataset", "camvid", "--root", "absent"], "found nothing"),
        (["evaluate", "--dataset", "kitti"], "There is no data set 'kitti'"),
        (["evaluate", "--dataset", "camvid", "--root", ".", "--style", "fog"], "--style is for street_scenes only"),
        (["evaluate", "--dataset", "camvd"], "Did you mean camvid?"),
        (["predict", "x.jpg", "--checkpoint", "absent", "--out", "y"], "There is no checkpoint 'absent'"),
        (["predict", "x.jpg", "--checkpoint", "sourc_only_game", "--out", "y"], "Did you mean source_only_game or "),
        (["predict", "x.jpg", "--device", "abacus", "--out", "y"], "device 'abacus' cannot be used"),
        (["train"], "Name a recipe"),
        (["recipes", "no", "such"], "No recipe matches no such"),
        (["train", "no_such_recipe"], "There is no recipe 'no_such_recipe'"),
        (["train", "demo_source_only_game", "--set", "stps=1"], "did you mean 'steps'"),
        (["train", "--resume", "nowhere"], "nowhere does not contain a run"),
        (
            ["train", "--resume", str(SHIPPED / "source_only_game")],
            "is a checkpoint, not a run. Name the folder of its run",
        ),
        (["train", "--resume", "nowhere", "--set", "steps=1"], "--set cannot change a run"),
        (["train", "demo_source_only_game", "--resume", "nowhere", "--out", "x"], "give only one of them"),
        (["train", "demo_source_only_game", "--set", "sources.0.store=[0, 0]"], "expected 16 or more"),
        (["train", "demo_source_only_game", "--set", "optimisers.segmenter.betas=[2, 0.9]"], "less than 1"),
        (["render", "--out", "/proc/nowhere", "--count", "1", "--size", "64x48"], "nowhere"),
        (["render", "--out", "x", "--workers", "-1"], "whole number"),
        (["render", "--out", "x", "--count", "ten"], "argument --count: expected a whole number, found 'ten'"),
        (["adapt", "--rate", "fast"], "argument --rate: expected a number, found 'fast'"),
        (["train", "try_one_minute", "--set", "steps=abc"], "steps is 'abc'; expected a whole number."),
        (["train", "try_one_minute", "--publish", ""], "'' is not a repository id; expected owner/name"),
        (["predict", "x.jpg", "--checkpoint", "first", "--out", "/proc/nowhere"], "/proc/nowhere"),
    ],
)
def test_bad_use_is_code_two_and_a_sentence(
    arguments: list[str],
    words: str,
    own: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIM2STREET_CAMVID", raising=False)
    assert words in fails(arguments, capsys)
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_no_text(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name of a file is bytes; those that are no UTF-8 are read, told and come back out of the figures."""
    names = [os.fsdecode(b"\xff.png"), "plain.png"]
    photos = [str(tmp_path / name) for name in names]
    for photo in photos:
        Image.new("RGB", (64, 48), "grey").save(photo)
    assert main(["predict", *photos, "--checkpoint", "first", "--out", str(tmp_path / "p")]) == 0
    summary = json.loads((tmp_path / "p" / "summary.json").read_text())
    assert list(summary) == photos
    assert open_dataset("photos", tmp_path).fingerprint()


def test_figures_go_where_the_name_leads(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target.json", tmp_path / "link.json", tmp_path / "pipe"
    target.write_text("old")
    link.symlink_to(target)
    write_json(link, {"new": 1})
    assert link.is_symlink()
    assert json.loads(target.read_text()) == {"new": 1}
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        write_json(pipe, {"new": 2})
        assert reader.stdout is not None
        assert json.loads(reader.stdout.read()) == {"new": 2}
    assert pipe.is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "pipe", "target.json"]


def test_alone_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    said = capsys.readouterr().out
    assert "open the app in a browser" in said
    assert "train a recipe into a checkpoint" in said


def test_console_script_starts_without_loading_torch(tmp_path: Path) -> None:
    """`--help` answers at once: no framework is imported for it."""
    script = "import sys; sys.argv = ['sim2street', '--help']\nimport sim2street.training.cli\ntry: sim2street.training.cli.main()\nfinally: print('torch' in sys.modules)"
    result: Any = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.stdout.strip().endswith("False")
    assert "evaluate" in result.stdout


def test_listing_checkpoints_waits_for_no_library_that_computes() -> None:
    script = (
        "import sys; from sim2street.training.cli import main; code = main(['checkpoints']);"
        "sys.exit(code or ', '.join({'torch', 'timm', 'torchvision', 'cv2'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "source_only_game" in done.stdout


def test_bench_outside_a_checkout_says_where_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sim2street.training.commands.bench.ROOT", tmp_path)
    assert main(["bench"]) == 2
    assert "runs the folder benchmarks of the repository" in capsys.readouterr().err


@pytest.mark.slow  # imports all peers in a process of its own
def test_bench_lists_its_rows_after_an_unknown_word(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "PNG", "nonsense"]) == 2
    error = capfd.readouterr().err
    assert "No row contains 'nonsense'. Use words of these: SegFormer-B0; " in error
    assert "; prediction by PyTorch, by --engine openvino and onnxruntime, " in error


@pytest.mark.skipif(os.name == "nt", reason="closes file descriptors")
@pytest.mark.parametrize("stream", [1, 2], ids=["output", "errors"])
def test_a_closed_stream_stops_no_command(stream: int, own: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "photo.png")
    command = [sys.executable, "-m", "sim2street.training.cli", "predict", str(tmp_path / "photo.png")]
    ended = subprocess.run(
        [*command, "--checkpoint", "first", "--out", str(tmp_path / "out")],
        env=child_environment(),
        preexec_fn=lambda: os.close(stream),
    )
    assert ended.returncode == 0
    assert (tmp_path / "out/photo/first/labels.png").is_file()


def test_a_training_stopped_while_data_are_stored_says_that_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sim2street.training.run.loop.train", interrupted)
    assert main(["train", "try_one_minute", "--out", str(tmp_path / "run")]) == 130
    assert "Stopped before the first step; nothing of the run was saved" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    (tmp_path / "run/state.pt").write_bytes(b"")
    assert main(["train", "try_one_minute", "--out", str(tmp_path / "run")]) == 130
    assert "nothing of the run" not in capsys.readouterr().err
