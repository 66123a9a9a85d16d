"""The contract of every entry in NETWORKS: any size in, logits of that size out, and the same again from disk."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sim2street.models.errors import ConfigError
from sim2street.models.network_names import NETWORK_NAMES
from sim2street.models.networks import NETWORKS, build, build_unfilled, fill, fusing, is_finite
from sim2street.models.networks.cyclegan import Generator
from sim2street.models.networks.ensemble import EnsembleOptions
from sim2street.models.networks.fusing import ConvNormAct, classified, fused, project
from sim2street.models.networks.hrda import Box, Context, HRDANetwork
from sim2street.models.networks.merging import merge_norms
from sim2street.models.predictor import Predictor
from sim2street.models.segmenter import IMAGENET, Core, Segmenter
from sim2street.models.storage.checkpoint import Checkpoint, CheckpointConfig, Window
from tests.models.test_deeplab_v2 import SLIM

MIT: dict[str, Any] = {"variant": "b0", "width": 0.25, "channels": 16}
OPTIONS: dict[str, dict[str, Any]] = {
    "deeplab_v2": SLIM,
    "daformer": MIT,
    "hrda": {**MIT, "attention_channels": 16, "detail_crop": [32, 64]},
    "segformer": MIT,
    "fcn8s": {"width": 0.05},
    "drn": {"width": 0.25},
    "ensemble": {"network": "daformer", "network_options": MIT, "members": 3},
    "vfm_uda": {"encoder": "vit_tiny_patch16_224", "size": 64},
    "eomt": {"encoder": "vit_tiny_patch16_224", "size": 64, "queries": 8, "query_blocks": 2},
    "mask2former": {
        "encoder": "swin_tiny_patch4_window7_224",
        "width": 32,
        "heads": 2,
        "queries": 8,
        "pixel_layers": 1,
        "pixel_hidden": 32,
        "query_layers": 2,
        "query_hidden": 32,
    },
}


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    segmenter = build(name, options=OPTIONS.get(name, {})).eval()
    config = CheckpointConfig(
        title="Test", method="source_only", network=name, network_options=OPTIONS.get(name, {}), source="x"
    )
    opened = Checkpoint.save(tmp_path / "test", segmenter, config, half=False)
    assert opened.segmenter is opened.segmenter
    assert opened.load() is not opened.segmenter
    for size in ((17, 23), (64, 97)):
        images = torch.rand(2, 3, *size)
        with torch.inference_mode():
            output = segmenter(images)
            assert output.logits.shape == (2, 19, *size)
            assert torch.isfinite(output.logits).all()
            torch.testing.assert_close(opened.segmenter(images).logits, output.logits, rtol=0, atol=0)


@pytest.mark.parametrize(("bias", "trust"), [(0.0, 0.5), (-3.0, 0.047), (3.0, 0.953)])
def test_hrda_begins_with_the_trust_that_it_is_given(bias: float, trust: float) -> None:
    torch.manual_seed(0)
    segmenter = build("hrda", options={**OPTIONS["hrda"], "attention_bias": bias}).eval()
    with torch.inference_mode():
        attention = segmenter.core(torch.rand(1, 3, 64, 96))["attention"]
    assert float(attention.mean()) == pytest.approx(trust, abs=0.01)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_reaches_every_part(name: str) -> None:
    torch.manual_seed(0)
    segmenter = build(name, options=OPTIONS.get(name, {}))
    core = segmenter.core.train()
    outputs = core(torch.randn(2, 3, 64, 96))
    sum(outputs[key].square().sum() for key in ("main", "aux") if key in outputs).backward()  # pyright: ignore[reportAttributeAccessIssue]
    # FCN-8s' skips begin at zero and see their features scaled by 0.01 and less, but they do learn.
    without = [key for key, value in core.named_parameters() if value.requires_grad and value.grad is None]
    # A mask token is seen only where a method hides patches.
    assert not [key for key in without if not key.endswith("mask_token")]
    heads = core.heads()  # pyright: ignore[reportCallIssue]
    assert heads
    assert all(isinstance(head, nn.Module) for head in heads)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_filled_network_is_the_built_one(name: str) -> None:
    """Loading without initialising: same outputs, trainable parts, types and constants; nothing left on meta or shared."""
    built = build(name, options=OPTIONS.get(name, {})).eval()
    weights = built.core.state_dict()
    filled = build_unfilled(name, options=OPTIONS.get(name, {})).eval()
    assert all(value.is_meta for value in filled.core.state_dict().values())
    fill(filled.core, {key: value.double() if value.is_floating_point() else value for key, value in weights.items()})
    tensors = [*filled.parameters(), *filled.buffers()]
    assert not any(value.is_meta for value in tensors)
    assert [value.requires_grad for value in filled.parameters()] == [v.requires_grad for v in built.parameters()]
    assert [value.dtype for value in tensors] == [value.dtype for value in [*built.parameters(), *built.buffers()]]
    assert not {value.data_ptr() for value in weights.values()} & {value.data_ptr() for value in tensors}
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(filled(images).logits, built(images).logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 500, 1000])
def test_one_wrong_number_is_found_wherever_it_is(dtype: torch.dtype, value: float, place: int) -> None:
    numbers = torch.randn(1001).to(dtype)
    assert is_finite(numbers)
    assert is_finite(numbers[:0])
    numbers[place] = value
    assert not is_finite(numbers)


def test_ensembles_are_flat() -> None:
    with pytest.raises(ConfigError, match="cannot be ensembles themselves"):
        build("ensemble", options=EnsembleOptions(network="ensemble").model_dump())
    with pytest.raises(ConfigError, match="no network 'segnet'"):
        build("ensemble", options={"network": "segnet"})


def test_detail_counts_where_attention_says_so() -> None:
    core = build("hrda", options=OPTIONS["hrda"]).core
    assert isinstance(core, HRDANetwork)
    coarse, fine = torch.full((1, 19, 8, 12), 2.0), torch.full((1, 19, 16, 24), 5.0)
    for attention, expected in ((0.0, 2.0), (1.0, 5.0), (0.5, 3.5)):
        fused = core.fuse(Context({}, coarse, torch.full_like(coarse, attention)), fine)
        torch.testing.assert_close(fused, torch.full_like(fine, expected))
    box = Box(16, 48, 32, 64)
    fused = core.fuse(Context({}, coarse, torch.ones_like(coarse)), fine[..., :8, :8], box)
    assert fused[0, 0, 5, 9] == 5  # within, more than half a coarse cell from the window's border
    assert fused[0, 0, 0, 0] == fused[0, 0, 15, 23] == 2


def test_windows_off_the_grid_are_refused() -> None:
    for crop in ([100, 128], [24, 64]):
        with pytest.raises(ConfigError, match="multiples of 8"):
            build("hrda", options={"detail_crop": crop})


def test_translator_wants_multiples_of_four() -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        Generator(width=4, blocks=1)(torch.zeros(1, 3, 30, 32))
    images = Generator(width=4, blocks=1)(torch.rand(1, 3, 32, 48))
    assert images.shape == (1, 3, 32, 48)
    assert images.abs().max() <= 1


class EveryFourth(Core):
    """Says of every fourth pixel what it sees, so that a test can follow the picture."""

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"main": images[:, :1, ::4, ::4].repeat(1, 19, 1, 1) * torch.arange(19).view(1, 19, 1, 1)}


def test_daformers_protocol_by_hand() -> None:
    """OpenCV's bilinear resizing of bytes; logits to the input's size and from there to the photo's."""
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    segmenter = Segmenter(EveryFourth(), build("drn", options={"width": 0.25}).labels, IMAGENET)
    window = Window(short_side=48, resampling="bilinear", upsample_twice=True)
    prediction = Predictor(segmenter, window, device="cpu")(photo)

    resized = cv2.resize(photo, (72, 48), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
    image = (resized - np.array(IMAGENET.mean, np.float32)) / np.array(IMAGENET.std, np.float32)
    logits = EveryFourth()(torch.from_numpy(image).permute(2, 0, 1)[None])["main"]
    for size in ((48, 72), (64, 96)):
        logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    expected = logits.softmax(dim=1)[0].numpy()
    # OpenCV rounds in fixed point: a byte may differ by one, which is 0.017 after normalisation, times 18 in a logit.
    assert np.abs(prediction.probabilities - expected).max() < 0.1
    assert np.abs(prediction.probabilities - expected).mean() < 1e-3
    other = Predictor(segmenter, Window(short_side=48), device="cpu")(photo)
    assert np.abs(other.probabilities - expected).mean() > 1e-2


def test_names_of_networks_are_those_of_the_registry() -> None:
    assert tuple(NETWORKS) == NETWORK_NAMES


@pytest.mark.parametrize("training", [False, True])
def test_a_fuse_before_upsampling_is_the_fuse_after_it(training: bool) -> None:
    """To rounding, in outputs, gradients and the batch norm's running statistics."""
    torch.manual_seed(0)
    projections = nn.ModuleList(nn.Conv2d(dim, 24, 1) for dim in (8, 16, 32))
    fuse = ConvNormAct(3 * 24, 24, 1).train(training)
    twin = copy.deepcopy(fuse)
    features = [torch.randn(2, dim, 26 // stride, 38 // stride) for dim, stride in ((8, 1), (16, 2), (32, 4))]
    shape = features[0].shape
    plain, quick = twin(project(projections, features, shape)), fused(projections, fuse, features, shape)
    torch.testing.assert_close(quick, plain, atol=2e-6, rtol=1e-5)
    seed = torch.randn_like(plain)
    given = [*projections.parameters()]
    grads = torch.autograd.grad(plain, [*given, *twin.parameters()], seed)
    for ours, theirs in zip(torch.autograd.grad(quick, [*given, *fuse.parameters()], seed), grads, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-4)
    for ours, theirs in zip(fuse.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


@torch.no_grad()
def test_maps_that_are_fused_some_rows_at_a_time_are_those_fused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    projections = nn.ModuleList(nn.Conv2d(dim, 24, 1) for dim in (32, 8, 16))
    fuse, classify = ConvNormAct(3 * 24, 24, 1).eval(), nn.Conv2d(24, 5, 1)
    for buffer in (fuse[1].running_mean, fuse[1].running_var):
        buffer.uniform_(0.5, 1.5)
    features = [torch.randn(2, dim, *size) for dim, size in ((32, (4, 7)), (8, (27, 49)), (16, (14, 25)))]
    shape = features[1].shape
    whole = classify(fuse(project(projections, features, shape)))
    monkeypatch.setattr(fusing, "STRIP", 200)  # four rows of 49, the last strip of three
    quick = classified(projections, fuse, nn.Dropout2d(0.5).eval(), classify, features, shape)
    torch.testing.assert_close(quick, whole, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", [*NETWORKS, "lite0", "paper"])
def test_merged_norms_change_no_logits(name: str) -> None:
    """Of every network, an encoder of timm's, and DeepLab-v2 as in the paper, whose norms have seen pictures."""
    others = {
        "lite0": ("daformer", {"encoder": "tf_efficientnet_lite0", "channels": 16, "dilations": [1, 3, 12]}),
        "paper": ("deeplab_v2", {"backbone": "resnet50", "width": 0.25}),
    }
    network, options = others.get(name, (name, OPTIONS.get(name, {})))
    torch.manual_seed(0)
    segmenter = build(network, options=options).double()
    norms = [module for module in segmenter.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        for values, lowest in (
            (norm.weight, 0.5),
            (norm.bias, -0.5),
            (norm.running_mean, -0.5),
            (norm.running_var, 0.5),
        ):
            nn.init.uniform_(values, lowest, lowest + 1)
    merged = merge_norms(copy.deepcopy(segmenter.eval()))
    assert not [module for module in merged.modules() if isinstance(module, nn.BatchNorm2d)]
    images = torch.rand(1, 3, 64, 96, dtype=torch.float64)
    with torch.inference_mode():
        for ours, theirs in ((merged, segmenter), (merged.float(), segmenter.float())):
            given = images.to(ours.mean.dtype)
            expected = theirs(given).logits
            close = 1e-9 if given.dtype == torch.float64 else 2e-4
            torch.testing.assert_close(ours(given).logits, expected, atol=close * float(expected.abs().max()), rtol=0)
            assert float(expected.std()) > 1e-6
