"""MiT, DAFormer's head and SegFormer's head against the authors' numbers."""

from __future__ import annotations

import json
import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.labels import CITYSCAPES19
from sim2street.models.networks import build, daformer
from sim2street.models.networks.daformer import DilatedDepthwise
from sim2street.models.networks.fusing import project
from sim2street.models.networks.mix_transformer import VARIANTS, MixTransformer, MixTransformerOptions
from tests.conftest import VECTORS, Vectors, normal, weights_by_rule

ENCODER = {
    r"backbone\.patch_embed(\d)\.proj": "encoder.stages.{0}.embedding.projection",
    r"backbone\.patch_embed(\d)\.norm": "encoder.stages.{0}.embedding.norm",
    r"backbone\.block(\d)\.(\d+)\.norm([12])": "encoder.stages.{0}.blocks.{1}.norm{2}",
    r"backbone\.block(\d)\.(\d+)\.attn\.q": "encoder.stages.{0}.blocks.{1}.attention.query",
    r"backbone\.block(\d)\.(\d+)\.attn\.kv": "encoder.stages.{0}.blocks.{1}.attention.key_value",
    r"backbone\.block(\d)\.(\d+)\.attn\.proj": "encoder.stages.{0}.blocks.{1}.attention.projection",
    r"backbone\.block(\d)\.(\d+)\.attn\.sr": "encoder.stages.{0}.blocks.{1}.attention.reduce",
    r"backbone\.block(\d)\.(\d+)\.attn\.norm": "encoder.stages.{0}.blocks.{1}.attention.reduce_norm",
    r"backbone\.block(\d)\.(\d+)\.mlp\.fc1": "encoder.stages.{0}.blocks.{1}.feed_forward.widen",
    r"backbone\.block(\d)\.(\d+)\.mlp\.dwconv\.dwconv": "encoder.stages.{0}.blocks.{1}.feed_forward.mix",
    r"backbone\.block(\d)\.(\d+)\.mlp\.fc2": "encoder.stages.{0}.blocks.{1}.feed_forward.narrow",
    r"backbone\.norm(\d)": "encoder.stages.{0}.norm",
}
HEAD = {
    "decode_head.conv_seg": "head.classify",
    r"decode_head\.embed_layers\.(\d)\.proj": "head.projections.{head}",
    "decode_head.fuse_layer.bottleneck.conv": "head.fuse.0",
    "decode_head.fuse_layer.bottleneck.bn": "head.fuse.1",
    "decode_head.fuse_layer.aspp_modules.0.conv": "head.branches.0.0",
    "decode_head.fuse_layer.aspp_modules.0.bn": "head.branches.0.1",
    r"decode_head\.fuse_layer\.aspp_modules\.(\d)\.depthwise_conv\.conv": "head.branches.{head}.0.0",
    r"decode_head\.fuse_layer\.aspp_modules\.(\d)\.depthwise_conv\.bn": "head.branches.{head}.0.1",
    r"decode_head\.fuse_layer\.aspp_modules\.(\d)\.pointwise_conv\.conv": "head.branches.{head}.1.0",
    r"decode_head\.fuse_layer\.aspp_modules\.(\d)\.pointwise_conv\.bn": "head.branches.{head}.1.1",
}


def ours(module: str) -> str:
    """Name of an authors' module in our network; written here apart from the importer, so that each checks the other."""
    for pattern, name in {**ENCODER, **HEAD}.items():
        if match := re.fullmatch(pattern, module):
            groups = match.groups()
            stage = [str(int(groups[0]) - 1), *groups[1:]] if groups else []
            return name.format(*stage, head=groups[0] if groups else "")
    raise AssertionError(f"no rule for {module}")


def renamed(weights: dict[str, Tensor], core: nn.Module) -> dict[str, Tensor]:
    shapes = {key: value.shape for key, value in core.state_dict().items()}
    mapped: dict[str, Tensor] = {}
    for key, value in weights.items():
        module, _, last = key.rpartition(".")
        name = f"{ours(module)}.{last}"
        # Linear layers over maps are 1x1 convolutions in our heads.
        mapped[name] = value[..., None, None] if len(shapes[name]) == 4 and value.ndim == 2 else value
    return mapped


@pytest.mark.parametrize("variant", ["b0", pytest.param("b5", marks=pytest.mark.slow)])
def test_network_equals_the_authors(variant: str) -> None:
    core = build("daformer", options={"variant": variant}).core
    core.load_state_dict(renamed(weights_by_rule(f"daformer_mit{variant}_keys.json"), core), strict=True)
    vectors = Vectors(f"daformer_mit{variant}.npz")
    with torch.inference_mode():
        outputs = core.eval()(normal((1, 3, 128, 256), 0))
    for stage in range(1, 5):
        vectors.check(f"stage{stage}_every4th_channel", outputs[f"stage{stage}"][:, ::4])
    vectors.check("logits", outputs["logits"])
    upsampled = F.interpolate(outputs["logits"], size=(128, 256), mode="bilinear", align_corners=False)
    vectors.check("logits_up_every7", upsampled[:, :, ::7, ::7])
    vectors.check("argmax_full", upsampled.argmax(dim=1))


@pytest.mark.parametrize("variant", ["b0", "b5"])
def test_every_norm_has_the_authors_epsilon(variant: str) -> None:
    """A wrong epsilon hides below the vectors' tolerance, so the numbers themselves are compared."""
    listing = json.loads((VECTORS / f"daformer_mit{variant}_keys.json").read_text())["norm_eps"]
    expected = {ours(name): float(kind.split("eps=")[1]) for kind, names in listing.items() for name in names}
    with torch.device("meta"):
        core = build("daformer", options={"variant": variant}).core
    found = {
        name: module.eps for name, module in core.named_modules() if isinstance(module, nn.LayerNorm | nn.BatchNorm2d)
    }
    assert found == expected


def test_attention_sees_everything_it_is_given() -> None:
    """Scaled dot products by hand: softmax(q k / sqrt(d)) v over the reduced map."""
    torch.manual_seed(0)
    encoder = MixTransformer(MixTransformerOptions(variant="b0", width=0.25)).eval()
    attention = encoder.stages[1].blocks[0].attention  # pyright: ignore[reportIndexIssue, reportAttributeAccessIssue]
    maps = torch.randn(1, 8, 8, 16)
    context = attention.reduce_norm(attention.reduce(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)).flatten(1, 2)[0]
    query = attention.query(maps).flatten(1, 2)[0].view(64, 2, 8)
    key, value = attention.key_value(context).split(16, dim=1)
    expected = torch.zeros(64, 2, 8)
    for head in range(2):
        scores = query[:, head] @ key.view(-1, 2, 8)[:, head].T / 8**0.5
        expected[:, head] = scores.softmax(dim=1) @ value.view(-1, 2, 8)[:, head]
    expected = attention.projection(expected.reshape(64, 16)).view(8, 8, 16)
    torch.testing.assert_close(attention(maps)[0], expected)


def test_drop_path_rises_over_all_blocks() -> None:
    with torch.device("meta"):
        encoder = build("daformer", options={"variant": "b5"}).core.encoder
    rates = [block.drop_path.drop_prob for stage in encoder.stages for block in stage.blocks]
    assert len(rates) == sum(VARIANTS["b5"].depths) == 52
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(0.1)
    assert rates == sorted(rates)


@pytest.mark.parametrize("network", ["daformer", "segformer"])
@pytest.mark.parametrize("size", [(17, 23), (64, 97), (96, 160)])
def test_any_size_is_segmented(network: str, size: tuple[int, int]) -> None:
    segmenter = build(network, CITYSCAPES19, {"variant": "b0", "width": 0.25, "channels": 16}).eval()
    output = segmenter(torch.rand(2, 3, *size))
    assert output.logits.shape == (2, 19, *size)
    assert torch.isfinite(output.logits).all()


@pytest.mark.parametrize("dilation", [2, 3, 6, 7, 18])
@pytest.mark.parametrize("size", [(1, 5), (7, 12), (18, 17), (20, 31)])
def test_dilated_depthwise_is_the_plain_convolution(
    dilation: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daformer, "STRIP_VALUES", 300)  # two rows at most
    layer = DilatedDepthwise(5, dilation).double()
    maps = normal((2, 5, *size), 1).double().requires_grad_()
    expected = F.conv2d(maps, layer.weight, padding=dilation, dilation=dilation, groups=5)
    torch.testing.assert_close(layer(maps), expected)
    with torch.no_grad():
        torch.testing.assert_close(layer(maps), expected)
    weight = normal(expected.shape, 2).double()
    ours = torch.autograd.grad((layer(maps) * weight).sum(), (maps, layer.weight))
    theirs = torch.autograd.grad((expected * weight).sum(), (maps, layer.weight))
    torch.testing.assert_close(ours, theirs)


def test_segformer_stacks_from_the_last_stage() -> None:
    core = build("segformer", options={"variant": "b0", "channels": 32}).core
    assert [layer.in_channels for layer in core.head.projections] == [256, 160, 64, 32]
    features = {f"stage{n}": torch.randn(1, d, 16 >> n, 16 >> n) for n, d in enumerate((32, 64, 160, 256), start=1)}
    head = core.head.eval()
    stacked = project(head.projections, [features[f"stage{n}"] for n in (4, 3, 2, 1)], features["stage1"].shape)
    torch.testing.assert_close(head(features), head.classify(head.fuse(stacked)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_inference_gives_the_same_maps_as_training(layout: torch.memory_format) -> None:
    """GELU works in place only where no gradient needs what it overwrites."""
    encoder = MixTransformer(MixTransformerOptions(variant="b0")).eval().to(memory_format=layout)
    images = normal((2, 3, 64, 96), 0).to(memory_format=layout)
    before = images.clone()
    expected = encoder(images)
    with torch.inference_mode():
        for name, maps in encoder(images).items():
            torch.testing.assert_close(maps, expected[name].detach(), rtol=1e-4, atol=1e-5)
    assert torch.equal(images, before)
    expected["stage4"].sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.stages[0].parameters())
