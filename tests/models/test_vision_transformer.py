"""Plain vision transformers: under every head, resampled positions, hidden patches, and how much of them is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from sim2street.models.errors import ConfigError
from sim2street.models.networks import build, build_unfilled, fill
from sim2street.models.networks.encoders import PyramidEncoder
from sim2street.models.networks.vision_transformer import LowRankLinear, VisionTransformer, hide_tokens
from sim2street.models.segmenter import Segmenter
from sim2street.models.storage.checkpoint import Checkpoint, CheckpointConfig
from sim2street.training.config import OptimiserConfig
from sim2street.training.run import pretrained
from sim2street.training.run.initialise import initialise
from sim2street.training.run.optimisers import _optimiser, layer_shares
from tests.conftest import Vectors, normal

TINY = "vit_tiny_patch16_224"
ROTARY = "vit_tiny_patch16_dinov3_qkvb"
HEADS: dict[str, dict[str, Any]] = {
    "daformer": {"channels": 16, "dilations": [1, 3], "fuse_kernel": 1},
    "hrda": {"channels": 16, "attention_channels": 16, "detail_crop": [32, 64]},
    "segformer": {"channels": 16},
}


def tiny(network: str = "segformer", encoder: str = TINY, **options: Any) -> Segmenter:
    torch.manual_seed(0)
    return build(network, options={**HEADS.get(network, {}), "encoder": encoder, **options})


@pytest.mark.parametrize(("network", "encoder"), [*((name, TINY) for name in HEADS), ("daformer", ROTARY)])
def test_every_head_takes_it_at_any_size_and_from_disk(network: str, encoder: str, tmp_path: Path) -> None:
    segmenter = tiny(network, encoder).eval()
    options = {**HEADS[network], "encoder": encoder}
    config = CheckpointConfig(title="T", method="source_only", network=network, network_options=options, source="x")
    opened = Checkpoint.save(tmp_path / "test", segmenter, config, half=False)
    images = torch.rand(1, 3, 61, 95)
    with torch.inference_mode():
        logits = segmenter(images).logits
        assert logits.shape == (1, 19, 61, 95)
        torch.testing.assert_close(opened.segmenter(images).logits, logits, rtol=0, atol=0)


@pytest.mark.parametrize("encoder", [TINY, "vit_small_patch14_dinov2", ROTARY])
def test_the_stages_have_the_strides_that_heads_need(encoder: str) -> None:
    module = tiny(encoder=encoder).core.get_submodule("encoder").eval()
    assert isinstance(module, PyramidEncoder)
    with torch.inference_mode():
        maps = module(torch.rand(1, 3, 72, 96))
    sizes = [tuple(value.shape[2:]) for value in maps.values()]
    assert sizes == [(18, 24), (9, 12), (5, 6), (3, 3)]
    assert [value.shape[1] for value in maps.values()] == list(module.dims)


def test_at_its_own_size_it_is_timms() -> None:
    """There positions are as stored, so that timm's own answer is what is expected."""
    encoder = VisionTransformer(TINY).eval()
    theirs = timm.create_model(TINY, pretrained=False, num_classes=0).eval()
    theirs.load_state_dict(encoder.net.state_dict())
    images = normal((1, 3, 224, 224), 0)
    with torch.inference_mode():
        expected = theirs.forward_features(images)[:, 1:].transpose(1, 2).unflatten(2, (14, 14))
        torch.testing.assert_close(encoder(images), expected)


def test_hidden_patches_are_the_authors() -> None:
    vectors = Vectors("vfmuda_ops.npz")
    torch.manual_seed(107)
    tokens, hidden = hide_tokens(normal((2, 25, 8), 108), normal((1, 8), 106), 0.7)
    vectors.check("tok_masked", hidden.to(torch.uint8))
    vectors.check("tok_out", tokens)


def test_hiding_changes_tokens_and_teaches_the_mask_token() -> None:
    segmenter = tiny("vfm_uda", size=64)
    images = normal((2, 3, 64, 64), 0)
    plain, hidden = segmenter.core(images)["main"], segmenter.core(images, hide=0.7)["main"]
    assert not torch.allclose(plain, hidden)
    hidden.square().sum().backward()
    gradient = segmenter.core.get_parameter("encoder.mask_token").grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_a_size_between_patches_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"patches of 16x16 pixels, but this one measures 100x64.*such as 96x64"):
        VisionTransformer(TINY)(torch.zeros(1, 3, 64, 100))
    with pytest.raises(ConfigError, match="not a multiple of the patch size 16; choose 96"):
        build("eomt", options={"encoder": TINY, "size": 100})


@pytest.mark.parametrize(
    ("network", "options", "said"),
    [
        ("vfm_uda", {"encoder": "resnet18"}, "is not a plain timm vision transformer"),
        ("vfm_uda", {"encoder": "vit_small_patch16_dinov3"}, "its patches cannot be hidden"),
        ("eomt", {"encoder": "resnet18", "size": 64}, "cannot be EoMT's encoder"),
        ("eomt", {"encoder": "vit_none", "size": 64}, "cannot be EoMT's encoder"),
        ("eomt", {"encoder": TINY, "size": 64, "query_blocks": 13}, "cannot be EoMT's encoder"),
        ("segformer", {"tuning": "frozen"}, "needs a vision transformer"),
        ("segformer", {"encoder": "resnet18", "tuning": "low_rank"}, "needs a vision transformer"),
        ("segformer", {"encoder": ROTARY, "tuning": "low_rank"}, "has separate attention matrices"),
    ],
)
def test_what_does_not_go_together_is_refused(network: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(network, options=options)


@pytest.mark.parametrize("network", ["segformer", "vfm_uda"])
@pytest.mark.parametrize("tuning", ["full", "frozen", "low_rank"])
def test_what_is_trained(network: str, tuning: str) -> None:
    segmenter = tiny(network, tuning=tuning, rank=4, **({"size": 64} if network == "vfm_uda" else {}))
    segmenter(torch.rand(2, 3, 64, 64)).logits.square().sum().backward()
    parameters = dict(segmenter.core.named_parameters())
    of_transformer = {key: value for key, value in parameters.items() if ".net." in key}
    trained = {key for key, value in of_transformer.items() if value.requires_grad}
    if tuning == "low_rank":
        assert trained == {
            f"{key.removesuffix('down')}{part}" for key in trained if key.endswith("down") for part in ("down", "up")
        }
        assert len(trained) == 12 * 2 * 2
    else:
        assert trained == (of_transformer.keys() if tuning == "full" else set())
    learning = [key for key, value in parameters.items() if value.requires_grad and "mask_token" not in key]
    assert all(parameters[key].grad is not None for key in learning)
    assert any(key.startswith("head.") for key in learning)


def test_low_rank_begins_as_the_plain_layer_and_keeps_its_keys() -> None:
    base = torch.nn.Linear(6, 9)
    layer = LowRankLinear(base, 2)
    inputs = normal((4, 6), 0)
    torch.testing.assert_close(layer(inputs), base(inputs))
    assert set(layer.state_dict()) == {"weight", "bias", "down", "up"}
    with torch.no_grad():
        layer.up.normal_()
    torch.testing.assert_close(layer(inputs), inputs @ (layer.weight + layer.up @ layer.down).T + layer.bias)


@pytest.mark.parametrize("encoder", [TINY, ROTARY, "vit_small_patch16_dinov3"])
def test_without_initialising_it_is_the_same(encoder: str) -> None:
    built = tiny(encoder=encoder).eval()
    filled = build_unfilled("segformer", options={**HEADS["segformer"], "encoder": encoder}).eval()
    fill(filled.core, built.core.state_dict())
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(filled(images).logits, built(images).logits)


def test_rates_fall_from_the_head_to_the_input() -> None:
    segmenter = tiny("vfm_uda", size=64)
    config = OptimiserConfig(kind="adamw", rate=1e-4, head_factor=10, layer_decay=0.5)
    groups = _optimiser(config, segmenter).param_groups
    factors = {id(parameter): group["factor"] for group in groups for parameter in group["params"]}
    named = dict(segmenter.core.named_parameters())
    assert len(factors) == len(named)
    for key, power in {
        "encoder.net.patch_embed.proj.weight": 13,
        "encoder.mask_token": 13,
        "encoder.net.blocks.0.attn.qkv.weight": 12,
        "encoder.net.blocks.11.mlp.fc2.bias": 1,
        "encoder.net.norm.weight": 0,
    }.items():
        assert factors[id(named[key])] == pytest.approx(0.5**power)
    assert factors[id(named["head.classify.weight"])] == 10


def test_layer_decay_needs_layers() -> None:
    with pytest.raises(
        ConfigError, match=r"layer_decay is 0\.9, but this network's encoder is not a sequence of layers"
    ):
        layer_shares(build("segformer", options={"variant": "b0", "width": 0.25, "channels": 16}), 0.9)


def test_a_licence_with_conditions_is_said_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {**HEADS["segformer"], "encoder": "vit_small_patch16_dinov3.lvd1689m"}
    create, asked = timm.create_model, []

    def fetching(name: str, *, pretrained: bool = False, **others: Any) -> torch.nn.Module:
        asked.extend([name] if pretrained else [])
        return create(name, pretrained=False, **others)

    monkeypatch.setattr(timm, "create_model", fetching)
    segmenter = build("segformer", options=options)
    monkeypatch.delenv(pretrained.ACCEPTED, raising=False)
    with pytest.raises(ConfigError, match=r"under the licence 'dinov3-license'.*Nothing was fetched.*=dinov3-license"):
        initialise(segmenter, "imagenet", options)
    assert not asked
    monkeypatch.setenv(pretrained.ACCEPTED, "other, dinov3-license")
    initialise(segmenter, "imagenet", options)
    assert asked == ["vit_small_patch16_dinov3.lvd1689m"]


@pytest.mark.parametrize("tuning", ["full", "low_rank"])
def test_pretrained_weights_fill_the_transformer_alone(tuning: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    weights = timm.create_model(TINY, pretrained=False).state_dict()
    monkeypatch.setattr(pretrained, "_weights_of_hub", lambda name: weights)
    options = {**HEADS["segformer"], "encoder": TINY, "tuning": tuning}
    segmenter = build("segformer", options=options)
    head = {key: value.clone() for key, value in segmenter.core.state_dict().items() if key.startswith("head.")}
    initialise(segmenter, "imagenet", options)
    filled = segmenter.core.state_dict()
    prefix = "encoder.transformer.net."
    taken = {key.removeprefix(prefix) for key in filled if key.startswith(prefix)} & weights.keys()
    assert len(taken) == len(weights) - 2  # but for ImageNet's classifier
    assert all(torch.equal(filled[f"{prefix}{key}"], weights[key]) for key in taken)
    assert all(torch.equal(filled[key], value) for key, value in head.items())
    np.testing.assert_equal(any(key.endswith(".up") for key in filled), tuning == "low_rank")
