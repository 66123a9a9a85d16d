"""What is no faithful file of the family is refused with a sentence that says why, and nothing is written."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sim2street.models.errors import CheckpointError, ConfigError
from sim2street.models.importers import FAMILIES, WeightsFile, import_checkpoint
from sim2street.models.importers.reading import read_weights, tensors_of
from sim2street.models.importers.releases import RELEASES, published
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.cli import main
from sim2street.training.commands import import_weights
from tests.models.importers.conftest import Importer, mmcv_file

Weights = dict[str, Tensor]
Attempt = Callable[..., str]


@pytest.fixture
def refusal(tmp_path: Path) -> Attempt:
    """Import something that must be refused, and return the sentence."""

    def attempt(family: str, content: Any, file: str = "weights.pth") -> str:
        folder = tmp_path / "files"
        folder.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            (folder / file).write_bytes(content)
        else:
            torch.save(content, folder / file)
        with pytest.raises(CheckpointError) as caught:
            import_checkpoint(family, [folder / file], tmp_path / "out" / "checkpoint")
        assert not (tmp_path / "out").exists(), "something was written"
        return str(caught.value)

    return attempt


def saved(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def archive(*members: tuple[str, bytes], link: tuple[str, str] | None = None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        if link is not None:
            info = tarfile.TarInfo(link[0])
            info.type, info.linkname = tarfile.SYMTYPE, link[1]
            file.addfile(info)
    return stream.getvalue()


def sparse_archive(name: str, size: int) -> bytes:
    """A tar whose one member has `size` bytes, all of them a hole: of 512 bytes in the stream."""
    header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[483:495] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


@pytest.mark.parametrize("packed", [True, False])
def test_a_run_folder_in_a_tar_is_read(
    run_import: Importer, daformer_weights: Weights, tmp_path: Path, packed: bool
) -> None:
    run = "211108_1622_gta2cs_daformer_s0_7f24c"
    data = archive(
        (f"{run}/config.json", b"{}"),
        (f"{run}/20211108_1622.log", b"log"),
        (f"{run}/iter_40000.pth", saved(mmcv_file(daformer_weights))),
        link=(f"{run}/latest.pth", "iter_40000.pth"),
    )
    if not packed:
        data = gzip.decompress(data)
    (tmp_path / "run.tar.gz").write_bytes(data)
    record = run_import("daformer", None, file="run.tar.gz").config.imported
    assert record is not None
    assert record.left_out == {"teacher (ema_model)": 234, "frozen ImageNet network (imnet_model)": 234}


def test_files_of_every_age_give_the_same(run_import: Importer, daformer_weights: Weights, tmp_path: Path) -> None:
    reference = run_import("daformer", daformer_weights).config.weights_sha256
    torch.save(daformer_weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert run_import("daformer", None, file="old.pth").config.weights_sha256 == reference
    wrapped = {f"module.{key}": value for key, value in daformer_weights.items()}
    assert run_import("daformer", wrapped).config.weights_sha256 == reference
    without_counters = {key: value for key, value in daformer_weights.items() if "num_batches" not in key}
    assert run_import("daformer", without_counters).config.weights_sha256 == reference


def test_notes_of_mmcv_may_hold_numpy_scalars(daformer_weights: Weights, tmp_path: Path) -> None:
    content = mmcv_file(daformer_weights, adapting=False)
    content["meta"]["hook_msgs"] = {"best_score": np.float64(0.5), "best_iter": np.int64(3)}
    torch.save(content, tmp_path / "file.pth")
    assert tensors_of(read_weights(tmp_path / "file.pth")).keys() == daformer_weights.keys()


def test_every_key_counts(refusal: Attempt, daformer_weights: Weights) -> None:
    key = "backbone.block3.1.attn.q.weight"
    removed = {name: value for name, value in daformer_weights.items() if name != key}
    assert "lacks 1 of the" in refusal("daformer", removed)
    assert "encoder.stages.2.blocks.1.attention.query.weight" in refusal("daformer", removed)
    renamed = {("backbone.block3.1.attn.query.weight" if n == key else n): v for n, v in daformer_weights.items()}
    assert "contains backbone.block3.1.attn.query.weight" in refusal("daformer", renamed)
    added = {**daformer_weights, "decode_head.extra.weight": torch.zeros(1)}
    assert "contains decode_head.extra.weight, which DAFormer on MiT-B0 does not have" in refusal("daformer", added)
    assert "decode_head.extra.weight" in refusal("daformer", mmcv_file(added))
    beside = {**mmcv_file(daformer_weights), "amp": {}}
    assert "Besides state_dict the file contains the unknown entries amp" in refusal("daformer", beside)


@pytest.mark.parametrize(
    ("family", "prefix"), [("advent", "layer4.2.conv3.weight"), ("adaptsegnet", "layer6.conv2d_list.1.bias")]
)
@pytest.mark.slow
def test_every_key_of_deeplab_counts(refusal: Attempt, family: str, prefix: str) -> None:
    from tests.conftest import weights_by_rule

    weights = weights_by_rule("advent_deeplabv2_keys.json")
    assert "contains layer7.weight" in refusal(family, {**weights, "layer7.weight": torch.zeros(1)})
    assert "lacks 1 of the" in refusal(family, {key: value for key, value in weights.items() if key != prefix})


def test_blocks_that_no_encoder_has(refusal: Attempt, daformer_weights: Weights) -> None:
    fewer = {key: value for key, value in daformer_weights.items() if "block3.1." not in key}
    assert "2, 2, 1, 2 blocks" in refusal("daformer", fewer)


def test_values_and_shapes_are_checked(refusal: Attempt, daformer_weights: Weights) -> None:
    weight, bias = "decode_head.conv_seg.weight", "decode_head.conv_seg.bias"
    sixteen = {**daformer_weights, weight: daformer_weights[weight][:16], bias: daformer_weights[bias][:16]}
    assert "16 classes or channels, expected 19" in refusal("daformer", sixteen)
    broken = daformer_weights[weight].clone()
    broken[3, 4] = float("nan")
    assert f"{weight} contains NaN or infinite values" in refusal("daformer", {**daformer_weights, weight: broken})
    whole = {**daformer_weights, weight: daformer_weights[weight].long()}
    assert f"{weight} has the type int64" in refusal("daformer", whole)
    shared = torch.zeros(1).expand(10**12)  # four bytes in the file, terabytes in memory
    assert f"{bias} has shape" in refusal("daformer", {**daformer_weights, bias: shared})


def test_a_tensor_that_comes_twice_is_not_lost_in_silence(refusal: Attempt, daformer_weights: Weights) -> None:
    student = {f"model.{key}": value for key, value in daformer_weights.items()}
    twice = {**student, "backbone.norm1.weight": torch.ones(32)}
    assert "model.backbone.norm1.weight and backbone.norm1.weight, which are the same" in refusal("daformer", twice)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda weight: weight.to_sparse(), "sparse, nested or empty tensor"),
        (lambda weight: weight.to("meta"), "sparse, nested or empty tensor"),
        (lambda weight: weight.to(torch.float8_e4m3fn), "has the type float8_e4m3fn"),
        (lambda weight: weight.to(torch.complex64), "has the type complex64"),
        (lambda weight: weight.double() * 1e300, "NaN or infinite"),  # finite in the file, infinite in fp32
    ],
)
def test_tensors_of_other_kinds(
    refusal: Attempt, daformer_weights: Weights, change: Callable[[Tensor], Tensor], sentence: str
) -> None:
    key = "decode_head.conv_seg.weight"
    assert sentence in refusal("daformer", {**daformer_weights, key: change(daformer_weights[key])})


def test_statistics_are_checked(refusal: Attempt, daformer_weights: Weights) -> None:
    norm = "decode_head.fuse_layer.bottleneck.bn"
    variance, counter = f"{norm}.running_var", f"{norm}.num_batches_tracked"
    negative = {**daformer_weights, variance: -daformer_weights[variance]}
    assert f"{variance} contains negative variances" in refusal("daformer", negative)
    assert f"{counter} has shape (5,)" in refusal("daformer", {**daformer_weights, counter: torch.zeros(5)})
    assert "expected a count" in refusal("daformer", {**daformer_weights, counter: torch.tensor(float("nan"))})


def test_weights_in_half_precision_and_as_parameters_are_taken(run_import: Importer, daformer_weights: Weights) -> None:
    key = "decode_head.conv_seg.weight"
    half = {**daformer_weights, key: torch.nn.Parameter(daformer_weights[key].bfloat16())}
    stored = run_import("daformer", half).segmenter.core.state_dict()["head.classify.weight"]
    torch.testing.assert_close(stored, daformer_weights[key].bfloat16().float(), rtol=0, atol=0)


def test_another_familys_file_is_named(refusal: Attempt, daformer_weights: Weights) -> None:
    assert "has the layout of a DAFormer or MIC file, not of HRDA" in refusal("hrda", mmcv_file(daformer_weights))
    assert "has the layout of a DAFormer or MIC file" in refusal("advent", daformer_weights)
    drn = {"layer8.0.conv1.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}
    assert "has the layout of a CyCADA file" in refusal("daformer", drn)
    vgg = {"features.0.weight": torch.zeros(1), "classifier.conv2d_list.0.weight": torch.zeros(1)}
    assert "DeepLab on VGG-16" in refusal("adaptsegnet", vgg)
    teacher = {f"ema_model.{key}": value for key, value in daformer_weights.items()}
    assert "but not the student" in refusal("daformer", teacher)
    encoder = {key: value for key, value in daformer_weights.items() if key.startswith("backbone.")}
    assert "a Mix Transformer: an encoder alone" in refusal("segformer", encoder)


def test_contents_that_are_no_weights(refusal: Attempt) -> None:
    assert "contains a list" in refusal("advent", [1, 2])
    assert "contains nothing; expected tensors by name" in refusal("advent", {"state_dict": {}})
    assert "contains epoch; expected tensors" in refusal("advent", {"epoch": 3})
    assert "state_dict is a list" in refusal("advent", {"state_dict": [torch.zeros(1)]})
    assert "contains 7; expected tensors by name" in refusal("advent", {7: torch.zeros(1)})
    assert "truncated, damaged, or not a file of PyTorch weights" in refusal("advent", b"")
    text = refusal("advent", b"just some text, not a pickle")
    assert "not a file of PyTorch weights" in text
    assert "weights_only" not in text  # PyTorch's own message advises to open the file unrestricted
    assert "is a web page" in refusal("daformer", b"<!DOCTYPE html><title>Google Drive can't scan this file</title>")
    assert "not a readable safetensors" in refusal("segformer", b"\x02\0\0\0\0\0\0\0{broken")


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, (f"touch {os.environ['SIM2STREET_TEST_MARK']}",)


@pytest.mark.parametrize("form", ["zip", "legacy", "bare", "tar"])
def test_code_in_a_pickle_is_never_run(
    refusal: Attempt, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "was_run"
    monkeypatch.setenv("SIM2STREET_TEST_MARK", str(mark))
    content = {"state_dict": {"conv1.weight": torch.zeros(1)}, "meta": Bomb()}
    if form == "bare":
        data = pickle.dumps(content["meta"], protocol=2)
    else:
        stream = io.BytesIO()
        torch.save(content, stream, _use_new_zipfile_serialization=form != "legacy")
        data = stream.getvalue()
    sentence = refusal("advent", archive(("run/latest.pth", data)) if form == "tar" else data)
    assert "tries to run posix.system" in sentence
    assert not mark.exists()


def test_truncated_files(refusal: Attempt, daformer_weights: Weights) -> None:
    whole = saved(daformer_weights)
    assert "truncated" in refusal("daformer", whole[: len(whole) // 2])
    packed = archive(("run/latest.pth", whole))
    assert "truncated" in refusal("daformer", packed[: len(packed) // 2])
    stream = io.BytesIO()
    torch.save(daformer_weights, stream, _use_new_zipfile_serialization=False)
    assert "truncated" in refusal("daformer", stream.getvalue()[:-100_000])


@pytest.mark.parametrize("name", ["../latest.pth", "/etc/latest.pth", "run/../../latest.pth", r"..\..\latest.pth"])
def test_archives_that_point_out_of_themselves(refusal: Attempt, name: str) -> None:
    assert "points outside the archive" in refusal("daformer", archive((name, b"x")))
    assert "points outside the archive" in refusal("daformer", archive(("run/a.pth", b"x"), link=("run/b", name)))


def test_archives_without_one_file_of_weights(refusal: Attempt) -> None:
    assert "does not contain a file of weights" in refusal("daformer", archive(("run/log", b"x")))
    two = archive(("run/iter_1.pth", b"x"), ("run/iter_2.pth", b"x"))
    assert "run/iter_1.pth, run/iter_2.pth. Unpack it" in refusal("daformer", two)
    twice = archive(("a/latest.pth", b"x"), ("b/latest.pth", b"x"))
    assert "a/latest.pth, b/latest.pth. Unpack it" in refusal("daformer", twice)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("models/GTA2Cityscapes_multi.pth", b"x")
    assert "archive of several files (models/GTA2Cityscapes_multi.pth)" in refusal("adaptsegnet", stream.getvalue())


def test_bombs(refusal: Attempt) -> None:
    zeros = bytes(100 * 2**20)
    assert "expands to more than 20 times its size" in refusal("daformer", archive(("run/latest.pth", zeros)))
    assert "not a tar.gz" in refusal("daformer", gzip.compress(b"x" * 2000))
    assert "not a regular file or folder" in refusal("daformer", sparse_archive("run/latest.pth", 2**32))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", zeros)
    assert "would grow to 100 MB" in refusal("advent", stream.getvalue())


def test_a_folder_of_something_else_is_not_replaced(daformer_weights: Weights, tmp_path: Path) -> None:
    torch.save(daformer_weights, tmp_path / "weights.pth")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_bytes(b"x")
    (tmp_path / "photos" / "config.json").write_text("{}")  # which does not make it a checkpoint
    with pytest.raises(CheckpointError, match=r"contains mine\.jpg, which is not part of a checkpoint"):
        import_checkpoint("daformer", [tmp_path / "weights.pth"], tmp_path / "photos")
    assert sorted(item.name for item in (tmp_path / "photos").iterdir()) == ["config.json", "mine.jpg"]


def test_a_fetched_file_that_cannot_be_read_is_named_to_be_removed(tmp_path: Path) -> None:
    place = tmp_path / "gta5.pth"
    place.write_bytes(bytes(20))
    with pytest.raises(
        CheckpointError, match=rf"not a file of PyTorch weights.* It was fetched to {place}: delete that file"
    ):
        import_checkpoint("advent", [WeightsFile(place, "https://example.org/gta5.pth")], tmp_path / "out")
    with pytest.raises(CheckpointError) as told:
        import_checkpoint("advent", [place], tmp_path / "out")
    assert "was fetched to" not in str(told.value)


def test_a_kill_leaves_no_checkpoint_and_its_remains_go_with_the_next_import(
    daformer_weights: Weights, tmp_path: Path
) -> None:
    torch.save(daformer_weights, tmp_path / "weights.pth")
    killed_while_writing = (
        "import os, signal, sim2street.models.storage.checkpoint, sim2street.training.cli;"
        " sim2street.models.storage.checkpoint.write_json = lambda *_: os.kill(os.getpid(), signal.SIGKILL);"
        f" sim2street.training.cli.main(['import', 'daformer', {str(tmp_path / 'weights.pth')!r}, '--out', {str(tmp_path / 'out')!r}])"
    )
    process = subprocess.run([sys.executable, "-c", killed_while_writing], check=False)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert len(list(tmp_path.glob(".out.*.partial"))) == 1
    import_checkpoint("daformer", [tmp_path / "weights.pth"], tmp_path / "out")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["out", "weights.pth"]


def test_members_of_an_average_are_of_one_kind(daformer_weights: Weights, tmp_path: Path) -> None:
    wide = {key: value for key, value in daformer_weights.items() if "decode_head" not in key}
    torch.save(daformer_weights, tmp_path / "a.pth")
    from tests.conftest import weights_by_rule

    torch.save({**wide, **weights_by_rule("hrda_mitb0_keys.json")}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="networks of the same kind; got DAFormer on MiT-B0 and HRDA on MiT-B0"):
        import_checkpoint("mic", [tmp_path / "a.pth", tmp_path / "b.pth"], tmp_path / "out")


def test_names_of_published_weights() -> None:
    assert {entry.family for entry in RELEASES.values()} == set(FAMILIES)
    assert all(name == entry.name and entry.page.startswith("https://") for name, entry in RELEASES.items())
    assert all(member in RELEASES for entry in RELEASES.values() for member in entry.members)
    with pytest.raises(ConfigError, match="known are gta5_drn26"):
        published("nothing", "cycada")
    with pytest.raises(ConfigError, match="sim2street import advent"):
        published("gta2cityscapes_advent", "hrda")


def test_command(capsys: pytest.CaptureFixture[str], daformer_weights: Weights, tmp_path: Path) -> None:
    assert set(import_weights.FAMILIES) == set(FAMILIES)
    out = ["--out", str(tmp_path / "out")]
    assert main(["import", "daformer", *out]) == 2
    assert "Name a file to import" in capsys.readouterr().err
    assert main(["import", "daformer", str(tmp_path), *out]) == 2
    assert "found a folder" in capsys.readouterr().err
    assert main(["import", "daformer", "a", "b", *out]) == 2
    assert "add --ensemble" in capsys.readouterr().err
    assert main(["import", "daformer", "a", "--ensemble", *out]) == 2
    assert "needs 2 or more files" in capsys.readouterr().err
    assert main(["import", "daformer", "--published", "gta5_to_cityscapes_daformer", *out]) == 2
    said = capsys.readouterr().err
    assert "open https://drive.google.com" in said
    assert "sim2street import daformer FILE --published gta5_to_cityscapes_daformer" in said

    assert main(["import", "advent", "--published", "gta2cityscapes_advent_minent", *out]) == 2
    said = capsys.readouterr().err
    assert "There is no direct link to gta2cityscapes_minent_ER: open https://github.com/valeoai/ADVENT" in said
    assert "import advent FILE FILE --published gta2cityscapes_advent_minent" in said

    torch.save(mmcv_file(daformer_weights), tmp_path / "latest.pth")
    given = [str(tmp_path / "latest.pth"), "--published", "gta5_to_cityscapes_daformer", "--title", "Mine"]
    assert main(["import", "daformer", *given, *out]) == 0
    said = capsys.readouterr().out
    assert "licence: apache-2.0" in said
    assert "left out: 234 tensors, teacher" in said
    config = Checkpoint.open(tmp_path / "out").config
    assert (config.title, config.source, config.target, config.origin) == ("Mine", "gta5", "cityscapes", "imported")
    assert config.imported is not None
    assert config.imported.reported_miou == 68.85
    assert "not measured here" in (tmp_path / "out" / "README.md").read_text()
    assert config.window.short_side == 512
    assert config.window.upsample_twice
