from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.errors import CheckpointError, ConfigError
from models.networks import build
from tests.conftest import weights_by_rule
from tests.models.importers.test_parity import port_v4
from training import initialise as module
from training.initialise import initialise


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A file as NVIDIA publishes Mix Transformers: encoder and ImageNet classifier; the names that were asked for."""
    port = {port_v4(key): value for key, value in weights_by_rule("segformer_mitb0_keys.json").items()}
    encoder = {key: value for key, value in port.items() if key.startswith("segformer.encoder.")}
    save_file({**encoder, "classifier.weight": torch.zeros(1000, 256)}, tmp_path / "model.safetensors")
    asked: list[str] = []

    def fetch(repository: str) -> Path:
        asked.append(repository)
        return tmp_path / "model.safetensors"

    monkeypatch.setattr(module, "fetch_from_hub", fetch)
    return asked


@pytest.mark.parametrize("network", ["daformer", "hrda", "segformer"])
def test_a_mix_transformer_begins_with_imagenets_encoder(hub: list[str], network: str) -> None:
    options = {"variant": "b0", "channels": 16}
    segmenter = build(network, options=options)
    head = {key: value.clone() for key, value in segmenter.core.state_dict().items() if not key.startswith("encoder.")}
    initialise(segmenter, "imagenet", options)
    assert hub == ["nvidia/mit-b0"]
    port = weights_by_rule("segformer_mitb0_keys.json")
    encoder = segmenter.core.get_submodule("encoder").state_dict()
    # Every tensor was filled: what the rule gave has no value in common with a fresh network's.
    fresh = build(network, options=options).core.get_submodule("encoder").state_dict()
    assert not [key for key in encoder if encoder[key].numel() > 1 and torch.equal(encoder[key], fresh[key])]
    first = next(key for key in port if "stages.0" in key and key.endswith("patch_embeddings.proj.weight"))
    assert torch.equal(encoder["stages.0.embedding.projection.weight"], port[first])
    for key, value in head.items():
        assert torch.equal(segmenter.core.state_dict()[key], value), key


def test_imagenet_is_refused_where_it_does_not_exist(hub: list[str]) -> None:
    for network, options in (
        ("daformer", {"variant": "b0", "width": 0.5}),
        ("drn", {}),
        ("deeplab_v2", {"width": 0.5}),
    ):
        with pytest.raises(ConfigError, match="width 1"):
            initialise(build(network, options=options), "imagenet", options)
    with pytest.raises(CheckpointError, match=r"nvidia/mit-b1 holds another encoder"):
        initialise(build("daformer", options={"variant": "b1", "channels": 16}), "imagenet", {"variant": "b1"})
