"""transformers' Mask2Former -> `sim2street import` -> transformers' own numbers; and what is refused of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

from sim2street.models.errors import CheckpointError
from sim2street.models.importers import import_checkpoint
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.networks.mask2former import Mask2FormerNetwork
from sim2street.models.predictor import Predictor
from sim2street.models.storage.checkpoint import Checkpoint
from tests.conftest import normal

STAGES = ["stage1", "stage2", "stage3", "stage4"]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mask2FormerForUniversalSegmentation, Path]:
    """A network of transformers on Swin-T whose weights are not zero anywhere, and the folder that it saves, as on the Hub."""
    torch.manual_seed(0)
    swin = SwinConfig(embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7, out_features=STAGES)
    config = Mask2FormerConfig(
        backbone_config=swin, feature_size=64, mask_feature_size=64, hidden_dim=64, num_attention_heads=4,
        encoder_layers=2, decoder_layers=5, encoder_feedforward_dim=48, dim_feedforward=80, num_queries=30,
        id2label=dict(enumerate(CITYSCAPES19.names)), num_labels=19,
    )  # fmt: skip
    network = Mask2FormerForUniversalSegmentation(config).eval()
    with torch.no_grad():  # some are initialised with zeros or ones, which would hide a confusion
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        # Otherwise no mask crosses zero, and the masked attention would be told nothing.
        network.model.transformer_module.queries_features.weight.mul_(3)
    folder = tmp_path_factory.mktemp("hub")
    network.save_pretrained(folder)
    return network, folder


@pytest.fixture(scope="module")
def imported(port: tuple[Any, Path], tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    out = tmp_path_factory.mktemp("import") / "mask2former"
    return import_checkpoint("mask2former", [port[1] / "model.safetensors"], out)


@pytest.mark.parametrize("size", [(96, 160), (64, 224), (256, 128)])
@torch.inference_mode()
def test_it_gives_what_transformers_gives(port: tuple[Any, Path], imported: Checkpoint, size: tuple[int, int]) -> None:
    pictures = normal((2, 3, *size), 0)
    theirs = port[0](pictures)
    core = imported.load().core
    assert isinstance(core, Mask2FormerNetwork)
    ours = core(pictures)
    for number, expected in enumerate(port[0].model.pixel_level_module.encoder(pictures).feature_maps, start=1):
        torch.testing.assert_close(ours[f"stage{number}"], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours["classes"], theirs.class_queries_logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours["masks"], theirs.masks_queries_logits, rtol=1e-4, atol=1e-4)
    masks = interpolate(theirs.masks_queries_logits, size=size, mode="bilinear").sigmoid()
    score = torch.einsum("bqk,bqhw->bkhw", theirs.class_queries_logits.softmax(dim=-1)[..., :-1], masks)
    torch.testing.assert_close(ours["main"].exp(), score, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_the_masks_guide_the_attention(port: tuple[Any, Path], imported: Checkpoint) -> None:
    """The comparison above would see a mistake there: some queries see part of the picture, and one sees none of it."""
    core = imported.load().core
    assert isinstance(core, Mask2FormerNetwork)
    _, features = core.pixels(core.encoder(normal((2, 3, 96, 160), 0)))
    outside = core._hidden(core.norm(core.queries.weight.expand(2, -1, -1)), features, (3, 5)).float().mean(dim=2)
    assert bool(((outside > 0) & (outside < 1)).any())
    assert float(outside.max()) < 1, "a query whose mask is empty sees everything"
    with torch.no_grad():
        core.mask_head[4].bias.fill_(0)
        core.mask_head[4].weight.fill_(0)
    features = torch.full_like(features, 1.0)
    core.mask_head[4].bias.data.fill_(-1.0)
    empty = core._hidden(core.queries.weight.expand(2, -1, -1), features, (3, 5))
    assert not bool(empty.any())


def test_other_sizes_are_padded_and_cropped(imported: Checkpoint) -> None:
    core = imported.load().core
    picture = normal((1, 3, 96, 160), 0)
    with torch.inference_mode():
        ours = core(picture[..., :75, :130])["main"]
        padded = torch.zeros_like(picture)
        padded[..., :75, :130] = picture[..., :75, :130]
        assert torch.equal(ours, core(padded)["main"][..., :75, :130])


def test_the_names_of_both_versions_of_transformers_are_read(
    port: tuple[Any, Path], imported: Checkpoint, tmp_path: Path
) -> None:
    """Version 5 names Swin's layers otherwise in memory than in its files, whose names are version 4's."""
    saved, memory = load_file(port[1] / "model.safetensors"), port[0].state_dict()
    assert any(".attention.self.query." in key for key in saved)
    assert any(".attention.q_proj." in key for key in memory)
    save_file({key: value.contiguous() for key, value in memory.items()}, tmp_path / "memory.safetensors")
    again = import_checkpoint("mask2former", [tmp_path / "memory.safetensors"], tmp_path / "out")
    assert again.config.weights_sha256 == imported.config.weights_sha256


def test_what_is_recorded(imported: Checkpoint) -> None:
    config = imported.config
    assert config.network_options == {
        "encoder": "swin_tiny_patch4_window7_224", "width": 64, "heads": 4, "queries": 30,
        "pixel_layers": 2, "pixel_hidden": 48, "query_layers": 4, "query_hidden": 80,
    }  # fmt: skip
    assert (config.title, config.method, config.window.short_side, config.window.crop) == (
        "Mask2Former on Swin-T", "source_only", 1024, None,
    )  # fmt: skip
    assert config.imported is not None
    assert config.imported.left_out["weight of a loss"] == 1


def test_a_photo_can_be_predicted(imported: Checkpoint) -> None:
    photo = (normal((60, 100, 3), 0).sigmoid() * 255).to(torch.uint8).numpy()
    window = imported.config.window.model_copy(update={"short_side": 64})
    prediction = Predictor(imported.load(), window, device="cpu")(photo)
    assert prediction.probabilities.shape == (19, 60, 100)


def test_other_orders_of_classes_are_put_right(port: tuple[Any, Path], imported: Checkpoint, tmp_path: Path) -> None:
    saved = load_file(port[1] / "model.safetensors")
    save_file(saved, tmp_path / "model.safetensors")
    names = dict(enumerate(reversed(CITYSCAPES19.names)))
    (tmp_path / "config.json").write_text(json.dumps({"id2label": names}))
    again = (
        import_checkpoint("mask2former", [tmp_path / "model.safetensors"], tmp_path / "out").load().core.state_dict()
    )
    plain = imported.load().core.state_dict()["class_head.bias"]
    assert torch.equal(again["class_head.bias"], torch.cat([plain[:19].flip(0), plain[19:]]))


@pytest.mark.parametrize(
    ("pattern", "value", "said"),
    [
        ("^class_predictor", torch.zeros(151, 64), "The class head has 151 outputs; expected 20"),
        ("^class_predictor", None, "The file lacks class_predictor.weight"),
        (r"patch_embeddings", None, "on Swin only, not on ResNet"),
        (
            r"layers\.2\.blocks\.5\.",
            None,
            "96 channels and 5 blocks in its third stage; expected those of Swin-T (96, 6)",
        ),
        (r"relative_position_bias_table", torch.zeros(529, 3), "for windows of 12 tokens; the released networks"),
        (r"layers\.1\.blocks\.0\.attention\.self\.value\.weight", None, "an attention's query layer but not"),
        (
            r"blocks\.0\.attention\.self\.key\.bias",
            torch.zeros(7),
            "Query, key and value of an attention differ in shape",
        ),
        (r"hidden_states_norms\.stage2\.bias", None, "missing are encoder.norms.1.bias"),
        (r"sampling_offsets\.bias", torch.full((96,), torch.nan), "NaN or infinite"),
        (r"queries_features", None, "The file lacks model.transformer_module.queries_features.weight"),
    ],
)
def test_what_is_not_the_network_is_refused(
    port: tuple[Any, Path], tmp_path: Path, pattern: str, value: Tensor | None, said: str
) -> None:
    weights = load_file(port[1] / "model.safetensors")
    found = [key for key in weights if re.search(pattern, key)]
    assert found
    for key in found:
        if value is None:
            del weights[key]
        else:
            weights[key] = value.clone()
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=re.escape(said)):
        import_checkpoint("mask2former", [tmp_path / "model.safetensors"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_of_other_families_are_told_apart(port: tuple[Any, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has the layout of a Mask2Former file, not of EoMT"):
        import_checkpoint("eomt", [port[1] / "model.safetensors"], tmp_path / "out")
