"""Starts of a run: ImageNet encoders in the layouts that people release, and their refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import save_file
from torch import Tensor

from sim2street.models.errors import CheckpointError, ConfigError
from sim2street.models.networks import build
from sim2street.training.run import initialise as module
from sim2street.training.run.initialise import initialise
from tests.conftest import Vectors, normal, weights_by_rule

B0 = {"variant": "b0"}


@pytest.fixture
def authors_encoder() -> dict[str, Tensor]:
    """`mit_b0.pth` as the authors release it: bare keys and a classifier."""
    weights = weights_by_rule("daformer_mitb0_keys.json")
    encoder = {key.removeprefix("backbone."): value for key, value in weights.items() if key.startswith("backbone.")}
    return {**encoder, "head.weight": torch.zeros(1000, 256), "head.bias": torch.zeros(1000)}


def serve(monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]) -> None:
    def download(repository: str, name: str, **_: object) -> str:
        assert repository == "nvidia/mit-b0"
        if name not in files:
            raise EntryNotFoundError(f"{name} is not there")
        return str(files[name])

    monkeypatch.setattr("sim2street.models.importers.download.hf_hub_download", download)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_the_encoder_is_filled_with_the_authors_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authors_encoder: dict[str, Tensor], name: str
) -> None:
    path = tmp_path / name
    if name.endswith("safetensors"):
        save_file(authors_encoder, path)
    else:
        torch.save(authors_encoder, path)
    serve(monkeypatch, {name: path})
    segmenter = build("daformer", options=B0)
    head = {key: value.clone() for key, value in segmenter.core.head.state_dict().items()}
    initialise(segmenter, "imagenet", B0)
    with torch.inference_mode():
        features = segmenter.core.eval().encode(normal((1, 3, 128, 256), 0))
    Vectors("daformer_mitb0.npz").check("stage4_every4th_channel", features["stage4"][:, ::4])
    assert all(torch.equal(value, head[key]) for key, value in segmenter.core.head.state_dict().items())


def test_a_slim_encoder_has_no_imagenet_weights() -> None:
    options = {"variant": "b0", "width": 0.5}
    with pytest.raises(ConfigError, match="width 1"):
        initialise(build("daformer", options=options), "imagenet", options)


def test_a_foreign_encoder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authors_encoder: dict[str, Tensor]
) -> None:
    authors_encoder["norm5.weight"] = torch.ones(3)
    save_file(authors_encoder, tmp_path / "model.safetensors")
    serve(monkeypatch, {"model.safetensors": tmp_path / "model.safetensors"})
    with pytest.raises(CheckpointError, match=r"norm5\.weight"):
        initialise(build("daformer", options=B0), "imagenet", B0)


def test_no_network_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no route to host")  # as the client says it

    monkeypatch.setattr("sim2street.models.importers.download.hf_hub_download", refuse)
    with pytest.raises(ConfigError, match=r"nvidia/mit-b0 could not be fetched: .*cannot be reached"):
        initialise(build("daformer", options=B0), "imagenet", B0)


@pytest.mark.slow
def test_fcn8s_is_filled_with_a_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model
    donor = create("vgg16", pretrained=False)
    monkeypatch.setattr(module.timm, "create_model", lambda name, pretrained: donor)
    segmenter = build("fcn8s")
    scores = {key: value.clone() for key, value in segmenter.core.state_dict().items() if "score" in key}
    initialise(segmenter, "imagenet", {})
    # Without the padding that FCN-8s adds, its layers are the classifier's up to the last one.
    core, images = segmenter.core.eval(), normal((1, 3, 224, 224), 0)
    with torch.inference_mode():
        torch.testing.assert_close(
            core.vgg_head[:-1](core.vgg(images)), donor.eval().pre_logits(donor.features(images))
        )
    assert all(torch.equal(value, core.state_dict()[key]) for key, value in scores.items())
