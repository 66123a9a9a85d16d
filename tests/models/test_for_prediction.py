"""Layers that take others' places for prediction: same outputs, whatever the size, and nothing in their place elsewhere."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn
from torch.nn import functional as F

from sim2street.models.networks import NETWORKS, build, mix_transformer, onednn
from sim2street.models.networks.for_prediction import for_prediction
from sim2street.models.networks.fusing import ConvNormAct
from sim2street.models.networks.onednn import IS_BUILT_IN, Linear, Packed, PointwiseConv2d
from sim2street.models.networks.winograd import CHANNELS, FEWEST, WinogradConv2d, convolved, suits, transformed
from tests.models.test_networks import OPTIONS

CPU = torch.device("cpu")


@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("shape", [(1, 16, 24, 40), (2, 5, 33, 65), (1, 3, 1, 1), (1, 7, 3, 200), (3, 4, 8, 9)])
def test_winograd_computes_the_convolution(shape: tuple[int, int, int, int], dilation: int) -> None:
    """Of maps smaller than a tile, of sides that no tile divides, of batches, and with every dilation."""
    torch.manual_seed(0)
    maps = torch.randn(shape, dtype=torch.float64)
    layer = nn.Conv2d(shape[1], 6, 3, padding=dilation, dilation=dilation).double()
    with torch.inference_mode():
        found = convolved(maps, tuple(transformed(layer.weight)), 6, layer.bias, dilation)
        torch.testing.assert_close(found, layer(maps), atol=1e-12, rtol=0)


def test_winograd_in_single_precision_is_close_enough() -> None:
    """The transforms cost two digits of seven."""
    torch.manual_seed(0)
    layer = nn.Conv2d(CHANNELS[0], CHANNELS[1], 3, padding=1)
    maps = torch.randn(1, CHANNELS[0], 40, 72).relu()
    with torch.inference_mode():
        exact = copy.deepcopy(layer).double()(maps.double())
        found = WinogradConv2d(layer)(maps)
    assert 0 < float((found - exact).abs().max() / exact.std()) < 2e-4


def test_winograd_convolves_by_definition_where_it_does_not_pay() -> None:
    """Few tiles, gradients and bf16."""
    layer = nn.Conv2d(CHANNELS[0], CHANNELS[1], 3, padding=1)
    quick = WinogradConv2d(layer)
    quick.products = tuple(Packed(torch.full_like(each, float("nan"))) for each in transformed(layer.weight))
    few, many = torch.randn(1, CHANNELS[0], 8, 8), torch.randn(1, CHANNELS[0], 40, 40)
    assert 8 * 8 // 16 < FEWEST <= 40 * 40 // 16
    with torch.inference_mode():
        torch.testing.assert_close(quick(few), layer(few))
        assert quick(many).isnan().all()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(quick(many), layer(many))
    quick(many).sum().backward()
    assert layer.weight.grad is not None
    assert not layer.weight.grad.isnan().any()


@pytest.mark.parametrize(
    "changed",
    [
        {"kernel_size": 5, "padding": 2},
        {"stride": 2},
        {"padding": 0},
        {"dilation": (1, 2), "padding": (1, 2)},
        {"groups": 2},
        {"padding_mode": "reflect"},
        {"in_channels": CHANNELS[0] - 1},
        {"out_channels": CHANNELS[1] - 1},
    ],
)
def test_convolutions_that_winograd_leaves_alone(changed: dict[str, object]) -> None:
    """Each differs in one way from one that it takes over."""
    settings = {"in_channels": CHANNELS[0], "out_channels": CHANNELS[1], "kernel_size": 3, "padding": 1}
    assert suits(nn.Conv2d(**settings))  # pyright: ignore[reportArgumentType]
    assert not suits(nn.Conv2d(**{**settings, **changed}))  # pyright: ignore[reportArgumentType]


@pytest.mark.skipif(not IS_BUILT_IN, reason="this PyTorch has no oneDNN")
@pytest.mark.parametrize("bias", [True, False])
def test_products_by_onednn(bias: bool) -> None:
    """Linear layers and 1x1 convolutions, of maps in either order of memory."""
    torch.manual_seed(0)
    layer, convolution = nn.Linear(24, 40, bias=bias), nn.Conv2d(24, 40, 1, bias=bias)
    maps = torch.randn(2, 24, 5, 7)
    with torch.inference_mode():
        rows = maps.permute(0, 2, 3, 1)
        torch.testing.assert_close(Linear(layer)(rows), layer(rows))
        for given in (maps, maps.to(memory_format=torch.channels_last)):
            torch.testing.assert_close(PointwiseConv2d(convolution)(given), convolution(given))
    assert Linear(layer)(rows).requires_grad


@pytest.mark.skipif(not IS_BUILT_IN, reason="this PyTorch has no oneDNN")
@pytest.mark.parametrize(
    ("kernel", "settings"),
    [
        (2, {"stride": 2}),
        (3, {"stride": 2, "padding": 1}),
        (7, {"stride": 4, "padding": 3}),
        (3, {"padding": 1, "groups": 8}),
        (3, {"padding": (2, 4), "dilation": (2, 4), "bias": False}),
        ((1, 3), {"stride": (2, 1), "padding": (0, 1), "groups": 2}),
    ],
)
def test_convolutions_by_onednn(kernel: int | tuple[int, int], settings: dict[str, Any]) -> None:
    """Of any kind, of maps of any size and in either order of memory; a copy shares the weights."""
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 16, kernel, **settings)
    quick = copy.deepcopy(onednn.Conv2d(layer))
    for size in ((2, 8, 21, 34), (1, 8, 8, 9), (1, 8, 150, 200)):
        maps = torch.randn(size)
        for given in (maps, maps.to(memory_format=torch.channels_last)):
            with torch.inference_mode():
                torch.testing.assert_close(quick(given), layer(given))
    torch.testing.assert_close(quick(maps), layer(maps))
    assert quick(maps).requires_grad


@pytest.mark.skipif(not IS_BUILT_IN, reason="this PyTorch has no oneDNN")
@pytest.mark.parametrize("size", [(8, 12), (7, 12), (8, 5), (2, 2), (1, 1)])
@pytest.mark.parametrize(("kernel", "groups"), [(3, 1), (3, 6), (5, 6), (7, 2)])
def test_convolutions_that_halve_maps_as_tensorflow_does(kernel: int, groups: int, size: tuple[int, int]) -> None:
    layer: Any = Conv2dSame(6, 12, kernel, stride=2, groups=groups)
    assert onednn.halves(layer)
    maps = torch.randn(2, 6, *size)
    with torch.inference_mode():
        found = onednn.HalvingConv2d(layer)(maps)
        torch.testing.assert_close(found, layer(maps))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, stride=2, padding=1),
        Conv2dSame(4, 4, 3, stride=1),
        Conv2dSame(4, 4, 3, stride=2, dilation=2),
        Conv2dSame(4, 4, (3, 5), stride=2),
        Conv2dSame(4, 4, 2, stride=2),
    ],
)
def test_convolutions_that_are_left_as_they_are(layer: nn.Conv2d) -> None:
    assert not onednn.halves(layer)


def test_shortcuts_are_added_to_products() -> None:
    """The layer's input and the shortcut stay as they were; with gradients the sum is PyTorch's."""
    torch.manual_seed(0)
    layer = nn.Linear(24, 40)
    maps, shortcut = torch.randn(2, 5, 7, 24), torch.randn(2, 5, 7, 40)
    before = maps.clone(), shortcut.clone()
    with torch.inference_mode():
        expected = shortcut + layer(maps)
        torch.testing.assert_close(onednn.added(Linear(layer), maps, shortcut), expected)
        torch.testing.assert_close(onednn.added(layer, maps, shortcut), expected, atol=0, rtol=0)
    assert torch.equal(maps, before[0])
    assert torch.equal(shortcut, before[1])
    assert onednn.added(Linear(layer), maps, shortcut).requires_grad


@pytest.mark.skipif(not IS_BUILT_IN, reason="this PyTorch has no oneDNN")
@pytest.mark.parametrize("strip", [1, 3 * 7 * 4 * 12, 2**19])
@pytest.mark.parametrize(("heads", "size"), [(1, (10, 7)), (3, (10, 7)), (3, (1, 1)), (2, (1, 9))])
@pytest.mark.parametrize("length", [1, 1e3, 1e19])
def test_attention(
    monkeypatch: pytest.MonkeyPatch, heads: int, size: tuple[int, int], strip: int, length: float
) -> None:
    """Of any number of heads and images, in strips of any height, with scores of any size; what is given stays as it was."""
    torch.manual_seed(0)
    monkeypatch.setattr(onednn, "STRIP", strip)
    query, key_value = torch.randn(2, *size, heads * 8), torch.randn(2, 3, 4, heads * 16)
    query *= length
    key, value = (part.flatten(1, 2).unflatten(-1, (heads, -1)).transpose(1, 2) for part in key_value.chunk(2, dim=-1))
    queries = query.flatten(1, 2).unflatten(-1, (heads, -1)).transpose(1, 2)
    expected = F.scaled_dot_product_attention(queries, key, value).transpose(1, 2).reshape(query.shape)
    before = query.clone(), key_value.clone()
    with torch.inference_mode():
        tolerance = 1e-5 if length == 1 else 1e-3  # products of hundreds have fewer decimal places
        torch.testing.assert_close(onednn.attention(query, key_value, heads), expected, atol=tolerance, rtol=tolerance)
    assert torch.equal(query, before[0])
    assert torch.equal(key_value, before[1])


@pytest.mark.parametrize("rows", [1, 4, 11])
def test_wide_maps_in_strips(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Strips see the rows beside them: the result is that of the whole map, for several images and a last strip that is shorter."""
    torch.manual_seed(0)
    layer, norm = mix_transformer.FeedForward(8).eval(), nn.LayerNorm(8)
    maps = torch.randn(2, 11, 6, 8)
    before = maps.clone()
    expected = maps + layer(norm(maps))
    monkeypatch.setattr(mix_transformer, "STRIP", rows * 4 * 6 * 32)
    strips = count_calls(layer.widen)
    for in_strips, calls in ((1, 2 * -(-11 // rows)), (2**60, 1)):
        monkeypatch.setattr(mix_transformer, "IN_STRIPS", in_strips)
        strips.clear()
        with torch.inference_mode():
            torch.testing.assert_close(layer.added(norm, maps), expected)
        assert len(strips) == calls
    assert torch.equal(maps, before)


def count_calls(layer: nn.Module) -> list[torch.Size]:
    """The shapes that a layer is given, as they come."""
    shapes: list[torch.Size] = []
    layer.register_forward_hook(lambda _, given, __: shapes.append(given[0].shape))
    return shapes


@pytest.mark.parametrize("name", [*NETWORKS, "lite0", "wide", "paper"])
def test_networks_predict_the_same(name: str) -> None:
    """Every network, EfficientNet-Lite, a head wide enough for Winograd, and DeepLab-v2 with its shifted products."""
    others = {
        "lite0": ("daformer", {"encoder": "tf_efficientnet_lite0", "channels": 16, "dilations": [1, 3, 12]}),
        "wide": ("daformer", {"variant": "b0", "channels": 96}),
        "paper": ("deeplab_v2", {"backbone": "resnet50"}),
    }
    network, options = others.get(name, (name, OPTIONS.get(name, {})))
    torch.manual_seed(0)
    segmenter = build(network, options=options).eval()
    quick = for_prediction(copy.deepcopy(segmenter), CPU)
    quick.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    images = torch.rand(2, 3, 192, 256)
    with torch.inference_mode():
        expected, found = segmenter(images), quick(images)
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-4 * float(expected.logits.abs().max()), rtol=0)
    assert float(expected.logits.std()) > 1e-6
    assert found.auxiliary is None
    layers = {type(module) for module in quick.modules()}
    assert nn.Linear not in layers
    assert nn.Conv2d not in layers
    assert (WinogradConv2d in layers) >= (name in ("wide", "paper"))


@pytest.mark.skipif(not IS_BUILT_IN, reason="this PyTorch has no oneDNN")
@pytest.mark.parametrize(("name", "heads"), [("segformer", 1), ("daformer", 1), ("hrda", 2)])
def test_projections_are_merged_once(name: str, heads: int) -> None:
    """For prediction, in each 1x1 fuse; not in a network that may be trained."""
    segmenter = build(name, options={"variant": "b0", "channels": 16}).eval()
    for expected in (0, heads):
        fuses = [module for module in segmenter.modules() if isinstance(module, ConvNormAct)]
        assert sum(fuse.layers is not None for fuse in fuses) == expected
        for_prediction(segmenter, CPU)


def test_an_accelerator_keeps_its_layers() -> None:
    """Only norms are merged for it."""
    segmenter = build("segformer", options={"variant": "b0", "channels": 16}).eval()
    layers = {type(module) for module in for_prediction(segmenter, torch.device("cuda")).modules()}
    assert nn.Linear in layers
    assert not layers & {Linear, PointwiseConv2d, WinogradConv2d}
