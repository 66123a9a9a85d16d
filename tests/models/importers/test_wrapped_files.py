"""Sound weights are taken whatever wraps them; their classes are compared by name; other libraries' layouts are named."""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sim2street.models.errors import CheckpointError
from sim2street.models.importers import import_checkpoint
from sim2street.models.importers.classes import class_names, order_of
from sim2street.models.importers.reading import read_weights, tensors_of
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.storage.checkpoint import Checkpoint
from tests.conftest import weights_by_rule
from tests.models.importers.conftest import mmcv_file

Weights = dict[str, Tensor]
NAMES = CITYSCAPES19.names


@pytest.fixture(scope="session")
def segformer_weights() -> Weights:
    """The port's weights on MiT-B0. Copy before changing it."""
    return weights_by_rule("segformer_mitb0_keys.json")


def taken(content: Any, tmp_path: Path, family: str = "daformer", config: Any = None) -> Checkpoint:
    folder = tmp_path / "files"
    folder.mkdir(exist_ok=True)
    torch.save(content, folder / "weights.pth")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return import_checkpoint(family, [folder / "weights.pth"], tmp_path / "out")


def refused(content: Any, tmp_path: Path, family: str = "daformer", config: Any = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        taken(content, tmp_path, family, config)
    assert not (tmp_path / "out").exists()
    return str(caught.value)


NOTES = {
    "iou": np.ones((3, 19), np.float16),
    "names": np.array(["road", "sky"]),
    "objects": np.array([{"a": 1}], object),
    "flag": np.bool_(True),
    "best": np.int32(3),
    "args": argparse.Namespace(lr=np.float32(0.1), out=Path("/tmp/run")),
}
TRAINING = ("ema_model.", "imnet_model.")


def prefixed(weights: Weights, prefix: str) -> Weights:
    return {prefix + key: value for key, value in weights.items()}


def inside(weights: Weights, part: str, wrapper: str) -> Weights:
    return {key.replace(part, f"{part}{wrapper}", 1): value for key, value in weights.items()}


WRAPPED = {
    "torch.compile": lambda w: prefixed(w, "_orig_mod."),
    "compiled within DataParallel": lambda w: prefixed(w, "module._orig_mod."),
    "DataParallel within compiled": lambda w: prefixed(w, "_orig_mod.module."),
    "FSDP": lambda w: prefixed(w, "_fsdp_wrapped_module."),
    "one part in DataParallel": lambda w: inside(w, "backbone.", "module."),
    "a deep part compiled": lambda w: inside(w, "fuse_layer.", "_orig_mod.module."),
    "Lightning": lambda w: {"epoch": 3, "pytorch-lightning_version": "2", "state_dict": prefixed(w, "model.")},
    "Lightning, compiled": lambda w: {"state_dict": prefixed(w, "model._orig_mod."), "loops": {}},
    "network": lambda w: prefixed(w, "network."),
    "net in model": lambda w: prefixed(w, "model.net."),
    "an entry called model": lambda w: {"model": w, "epoch": 7, "optimizer": {}},
    "entries one in another": lambda w: {"model": {"state_dict": prefixed(w, "module.")}},
    "AveragedModel": lambda w: {"n_averaged": torch.tensor(3), **prefixed(w, "module.")},
    "shadow weights": lambda w: {"shadow": OrderedDict(w), "decay": 0.999, "num_updates": 12},
    "an average beside it": lambda w: {"state_dict": w, "state_dict_ema": {k: v + 1 for k, v in w.items()}},
    "model_ema": lambda w: {"model_ema": prefixed(w, "module.")},
    "student in a module": lambda w: {"state_dict": prefixed(mmcv_file(w)["state_dict"], "module.")},
}


@pytest.mark.parametrize("case", WRAPPED)
def test_wrappers_come_off(case: str, daformer_weights: Weights) -> None:
    found = tensors_of(WRAPPED[case](daformer_weights))
    student = {key.removeprefix("model."): value for key, value in found.items() if not key.startswith(TRAINING)}
    assert student.keys() == daformer_weights.keys()
    assert all(student[key] is value for key, value in daformer_weights.items())


def test_wrapped_files_are_imported(daformer_weights: Weights, segformer_weights: Weights, tmp_path: Path) -> None:
    deep = inside(prefixed(daformer_weights, "model._orig_mod."), "fuse_layer.", "module.")
    counter = next(key for key in deep if key.endswith("num_batches_tracked"))
    content = {"state_dict": {**deep, counter: torch.tensor(399.7)}, "epoch": 3, "meta": NOTES}
    stored = taken(content, tmp_path).load().core.state_dict()
    torch.testing.assert_close(stored["head.classify.weight"], daformer_weights["decode_head.conv_seg.weight"])
    assert 399 in [int(value) for key, value in stored.items() if key.endswith("num_batches_tracked")]
    assert taken(prefixed(segformer_weights, "ema_model."), tmp_path, "segformer").config.network == "segformer"


def test_what_no_wrapper_explains_is_still_refused(daformer_weights: Weights, tmp_path: Path) -> None:
    wrapped = prefixed(daformer_weights, "model.")
    assert "criterion.weight" in refused({**wrapped, "criterion.weight": torch.ones(19)}, tmp_path)
    assert "same tensor twice" in refused(
        {**daformer_weights, "module.backbone.norm1.weight": torch.ones(32)}, tmp_path
    )
    assert "several networks: model, net" in refused({"model": daformer_weights, "net": daformer_weights}, tmp_path)
    assert "Besides model the file contains the unknown entries surprise" in refused(
        {"model": wrapped, "surprise": 1}, tmp_path
    )


def test_companions_in_an_archive_are_no_weights(daformer_weights: Weights, tmp_path: Path) -> None:
    stream = io.BytesIO()
    torch.save(daformer_weights, stream)
    with tarfile.open(tmp_path / "run.tar.gz", "w:gz") as archive:
        for name, data in (
            ("run/iter_1.pth", stream.getvalue()),
            ("run/._iter_1.pth", b"\0\5\x16\7"),
            ("__MACOSX/run/x.pth", b"\0"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    assert read_weights(tmp_path / "run.tar.gz").keys() == daformer_weights.keys()


SPELT = ["Road", "pavement", "building", "WALL", "fence", "pole", "traffic_light", "Traffic Sign", "vegetation",
         "terrain", "sky", "pedestrian", "rider", "car", "truck", "bus", "train", "motorbike", "bicycle"]  # fmt: skip


@pytest.mark.parametrize("where", ["CLASSES", "dataset_meta", "id2label", "hyper_parameters", "placeholders"])
def test_the_same_names_pass(where: str, daformer_weights: Weights, tmp_path: Path) -> None:
    numbered = {str(place): name for place, name in enumerate(SPELT)}
    content, config = {
        "CLASSES": ({"meta": {"CLASSES": tuple(SPELT)}, "state_dict": daformer_weights}, None),
        "dataset_meta": ({"meta": {"dataset_meta": {"classes": SPELT}}, "state_dict": daformer_weights}, None),
        "hyper_parameters": ({"hyper_parameters": {"class_names": SPELT}, "state_dict": daformer_weights}, None),
        "id2label": (daformer_weights, {"model_type": "segformer", "id2label": numbered}),
        "placeholders": (daformer_weights, {"id2label": {str(n): f"LABEL_{n}" for n in range(19)}}),
    }[where]
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    names = class_names(content, tmp_path / "weights.pth")
    assert names is None if where == "placeholders" else order_of(names or ()) == list(range(19))


def test_another_order_is_put_right(daformer_weights: Weights, tmp_path: Path) -> None:
    order = np.random.default_rng(3).permutation(19)
    names = [SPELT[place] for place in order]
    heads = ("decode_head.conv_seg.weight", "decode_head.conv_seg.bias")
    mixed = {**daformer_weights, **{key: daformer_weights[key][torch.from_numpy(order)] for key in heads}}
    stored = taken(mixed, tmp_path, config={"id2label": dict(enumerate(names))}).load().core.state_dict()
    torch.testing.assert_close(stored["head.classify.weight"], daformer_weights[heads[0]])
    torch.testing.assert_close(stored["head.classify.bias"], daformer_weights[heads[1]])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["wall", "building", "sky", "floor", "tree", "ceiling", "bed", "window", "cabinet", *NAMES[:10]], "floor"),
        ([*NAMES[:18], "caravan"], "caravan is not among them; bicycle is missing"),
        (NAMES[:16], "truck" if "truck" in NAMES[16:] else "train"),
        ([*NAMES[:18], "train"], "bicycle is missing"),
        ([*NAMES, "void"], "void is not among them"),
    ],
)
def test_other_classes_are_refused_by_name(
    names: list[str], words: str, daformer_weights: Weights, tmp_path: Path
) -> None:
    assert words in refused({"meta": {"CLASSES": names}, "state_dict": daformer_weights}, tmp_path)
    assert words in refused(daformer_weights, tmp_path, config={"id2label": dict(enumerate(names))})


def test_an_unreadable_config_beside_the_weights_is_said(daformer_weights: Weights, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "config.json").write_text("{broken")
    assert "may name the classes" in refused(daformer_weights, tmp_path)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (("backbone.layers.0.0.projection.weight", "decode_head.convs.0.conv.weight"), "mmsegmentation 1"),
        (("encoder.block1.0.norm1.weight", "segmentation_head.0.weight"), "segmentation_models.pytorch"),
        (("patch_embed1.proj.weight", "block1.0.attn.q.weight", "head.weight"), "an encoder alone"),
        (("segformer.encoder.patch_embeddings.0.proj.weight", "classifier.weight"), "without its head"),
        (("conv1.weight", "layer4.0.conv1.weight", "fc.weight"), "a ResNet: an encoder alone"),
        (("features.0.weight", "classifier.0.weight"), "a VGG: an encoder alone"),
        (("backbone.conv1.weight", "classifier.0.convs.0.0.weight"), "of torchvision"),
    ],
)
@pytest.mark.parametrize("family", ["segformer", "daformer", "advent"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_other_libraries_layouts_are_named(
    keys: tuple[str, ...], words: str, family: str, prefix: str, tmp_path: Path
) -> None:
    content = {prefix + key: torch.zeros(1) for key in keys}
    assert words in refused(content, tmp_path, family)
