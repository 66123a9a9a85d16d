"""Encoders of timm under every head that takes one, and the refusals of those that fit none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sim2street.models.errors import ConfigError
from sim2street.models.networks import build, encoder_name
from sim2street.models.networks.encoders import EncoderOptions, TimmEncoder, encoder_title, normalisation_of, timm_title
from sim2street.models.predictor import Predictor
from sim2street.models.segmenter import Segmenter
from sim2street.models.storage.checkpoint import Checkpoint, CheckpointConfig

HEADS: dict[str, dict[str, Any]] = {
    "daformer": {"channels": 16, "dilations": [1, 3], "fuse_kernel": 1},
    "hrda": {"channels": 16, "attention_channels": 16, "detail_crop": [32, 64]},
    "segformer": {"channels": 16},
    "deeplab_v2": {"output_stride": 16, "dilations": [2, 4], "auxiliary": False, "detail_channels": 16},
}
ENCODERS = ("tf_efficientnet_lite0", "resnet18", "mobilenetv3_small_050")


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("network", HEADS)
def test_every_head_takes_it_at_any_size_and_from_disk(network: str, encoder: str, tmp_path: Path) -> None:
    options = {**HEADS[network], "encoder": encoder}
    torch.manual_seed(0)
    segmenter = build(network, options=options).eval()
    assert segmenter.normalisation == normalisation_of(encoder)
    assert encoder_name(network, options) == timm_title(encoder)
    config = CheckpointConfig(title="T", method="source_only", network=network, network_options=options, source="x")
    opened = Checkpoint.save(tmp_path / "test", segmenter, config, half=False)
    images = torch.rand(1, 3, 61, 95)
    with torch.inference_mode():
        output = segmenter(images)
        assert output.logits.shape == (1, 19, 61, 95)
        assert set(output.features) == {"stage1", "stage2", "stage3", "stage4"}
        torch.testing.assert_close(opened.segmenter(images).logits, output.logits, rtol=0, atol=0)


@pytest.mark.parametrize("network", HEADS)
def test_gradient_reaches_encoder_and_head(network: str) -> None:
    torch.manual_seed(0)
    segmenter = build(network, options={**HEADS[network], "encoder": "resnet18"}).train()
    segmenter(torch.rand(2, 3, 64, 64)).logits.square().sum().backward()
    trained = [(key, value) for key, value in segmenter.core.named_parameters() if value.requires_grad]
    assert not [key for key, value in trained if value.grad is None]
    assert any("net." in key for key, _ in trained)


def test_the_stages_have_the_strides_that_heads_need() -> None:
    features = TimmEncoder("tf_efficientnet_lite0").eval()(torch.rand(1, 3, 64, 128))
    assert [(64 // value.shape[2], 128 // value.shape[3]) for value in features.values()] == [
        (stride, stride) for stride in (4, 8, 16, 32)
    ]


def test_deeplab_dilates_a_timm_encoder() -> None:
    core = build("deeplab_v2", options={"encoder": "tf_efficientnet_lite0", "output_stride": 8}).core
    assert core.encode(torch.rand(1, 3, 64, 64))["stage4"].shape[-2:] == (8, 8)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"encoder": "efficientnet_lite00"}, "has no model 'efficientnet_lite00'"),
        ({"encoder": "pit_ti_224"}, "feature maps at strides 8, 16, 32; the head needs 4, 8, 16, 32"),
        ({"encoder": "resnet18", "variant": "b0"}, "variant belongs to the Mix Transformer"),
        ({"encoder": "../../etc/passwd"}, "has no model"),
        ({"encoder": "resnet18", "width": 0.5}, "width belongs to the Mix Transformer"),
    ],
)
def test_what_cannot_be_an_encoder_is_refused_in_a_sentence(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build("daformer", options=options)


def test_a_resnet_of_stride_32_is_refused() -> None:
    with pytest.raises(ConfigError, match="output_stride 32 needs a timm encoder"):
        build("deeplab_v2", options={"output_stride": 32})


def test_a_model_that_cannot_be_dilated_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"coat_tiny cannot be an encoder here: .*resnet50"):
        build("deeplab_v2", options={"encoder": "coat_tiny", "output_stride": 8})


def sides_shown(segmenter: Segmenter) -> tuple[int, int]:
    """(width, height) of what a network is shown of a photo of 201x119 pixels."""
    [image] = Predictor(segmenter, device="cpu").shown(np.zeros((119, 201, 3), np.uint8))
    return image.shape[3], image.shape[2]


@pytest.mark.parametrize(
    ("network", "multiple"), [("daformer", 32), ("segformer", 32), ("deeplab_v2", 16), ("hrda", 64)]
)
def test_encoders_that_pad_like_tensorflow_are_shown_sides_that_suit_them(network: str, multiple: int) -> None:
    segmenter = build(network, options={**HEADS[network], "encoder": "tf_efficientnet_lite0"})
    assert segmenter.core.multiple == multiple
    assert sides_shown(segmenter) == (round(201 / multiple) * multiple, round(119 / multiple) * multiple)


@pytest.mark.parametrize("network", HEADS)
def test_other_encoders_are_shown_every_pixel(network: str) -> None:
    assert sides_shown(build(network, options={**HEADS[network], "encoder": "resnet18"})) == (201, 119)
    assert sides_shown(build(network)) == (201, 119)


def test_an_ensemble_rounds_as_its_members_do() -> None:
    options = {"network": "daformer", "network_options": {**HEADS["daformer"], "encoder": "tf_efficientnet_lite0"}}
    assert build("ensemble", options=options).core.multiple == 32


@pytest.mark.parametrize(
    ("options", "title"),
    [
        ({}, "MiT-B5"),
        ({"variant": "b0", "width": 0.75}, "MiT-B0 × 0.75"),
        ({"encoder": "tf_efficientnet_lite0"}, "EfficientNet-Lite0"),
        ({"encoder": "resnet18"}, "resnet18"),
    ],
)
def test_titles(options: dict[str, Any], title: str) -> None:
    assert encoder_title(EncoderOptions(**options)) == title
