from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sim2street.models.labels import CITYSCAPES19
from sim2street.models.networks import build
from sim2street.models.networks.deeplab_v2 import DeepLabV2Options
from tests.conftest import Vectors, normal, weights_by_rule

SLIM = {
    "backbone": "resnet18",
    "width": 0.25,
    "output_stride": 16,
    "dilations": [1, 3],
    "detail_channels": 16,
    "caffe_style": False,
    "train_norm": True,
}


@pytest.mark.slow
def test_resnet101_equals_the_authors_network() -> None:
    """The released key layout, mapped to ours by name, gives the released code's logits."""
    heads = {"layer5": "aux", "layer6": "main"}
    weights = {}
    for key, value in weights_by_rule("advent_deeplabv2_keys.json").items():
        first, _, rest = key.partition(".")
        ours = f"{heads[first]}.{rest.replace('conv2d_list', 'branches')}" if first in heads else f"backbone.{key}"
        weights[ours] = value
    core = build("deeplab_v2").core
    core.load_state_dict(weights, strict=True)
    vectors = Vectors("advent_deeplabv2.npz")
    with torch.inference_mode():
        outputs = core.eval()(normal((1, 3, 161, 321), 0))
    vectors.check("aux", outputs["aux"])
    vectors.check("main", outputs["main"])
    upsampled = F.interpolate(outputs["main"], size=(161, 321), mode="bilinear", align_corners=True)
    vectors.check("main_up_every7", upsampled[:, :, ::7, ::7])
    vectors.check("main_argmax_full", upsampled.argmax(dim=1))


def test_paper_defaults_freeze_batch_norm_affine_but_nothing_else() -> None:
    core = build("deeplab_v2", options={"backbone": "resnet18"}).core
    frozen = {name for name, parameter in core.named_parameters() if not parameter.requires_grad}
    assert frozen
    assert all(".bn" in name or "downsample.1" in name for name in frozen)
    slim = build("deeplab_v2", options=SLIM).core
    assert all(parameter.requires_grad for parameter in slim.parameters())


@pytest.mark.parametrize("output_stride", [8, 16])
def test_output_stride_and_auxiliary(output_stride: int) -> None:
    segmenter = build("deeplab_v2", options={**SLIM, "detail_channels": 0, "output_stride": output_stride}).eval()
    with torch.inference_mode():
        outputs = segmenter.core(torch.zeros(1, 3, 64, 96))
    assert outputs["main"].shape == (1, 19, 64 // output_stride, 96 // output_stride)
    assert outputs["aux"].shape == outputs["main"].shape
    assert segmenter(torch.zeros(1, 3, 64, 96)).logits.shape == (1, 19, 64, 96)


def test_caffe_input_is_bgr_bytes_minus_mean() -> None:
    segmenter = build("deeplab_v2", CITYSCAPES19, {"backbone": "resnet18"})
    red = torch.zeros(1, 3, 2, 2)
    red[:, 0] = 1
    normalised = segmenter.normalise(red)[0, :, 0, 0]
    assert normalised.tolist() == pytest.approx([-104.00698793, -116.66876762, 255 - 122.67891434], abs=1e-4)


def test_defaults_are_the_papers() -> None:
    options = DeepLabV2Options()
    assert (options.backbone, options.output_stride, options.dilations) == ("resnet101", 8, (6, 12, 18, 24))
    assert options.auxiliary
    assert options.caffe_style
    assert not options.train_norm
    assert options.detail_channels == 0
