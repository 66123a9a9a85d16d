"""Weights in the authors' layout -> `sim2street import` -> the authors' numbers."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sim2street.models.networks import build
from sim2street.models.networks.cyclegan import Generator, PatchGAN
from sim2street.models.networks.discriminators import FeatureDiscriminator
from sim2street.models.networks.fcn8s import BilinearUpsampling
from sim2street.models.networks.hrda import Box, HRDANetwork
from tests.conftest import Vectors, normal, weights_by_rule
from tests.models.importers.conftest import Importer, mmcv_file


@torch.inference_mode()
def outputs_of(core: torch.nn.Module, *size: int) -> dict[str, Tensor]:
    return core(normal((1, 3, *size), 0))


@pytest.mark.slow
def test_advent(run_import: Importer) -> None:
    checkpoint = run_import("advent", weights_by_rule("advent_deeplabv2_keys.json"))
    outputs = outputs_of(checkpoint.segmenter.core, 161, 321)
    vectors = Vectors("advent_deeplabv2.npz")
    vectors.check("aux", outputs["aux"])
    vectors.check("main", outputs["main"])
    upsampled = checkpoint.segmenter.upsample(outputs["main"], (161, 321))
    vectors.check("main_up_every7", upsampled[:, :, ::7, ::7])
    vectors.check("main_argmax_full", upsampled.argmax(dim=1))


@pytest.mark.slow
def test_adaptsegnet_counts_two_branches(run_import: Importer) -> None:
    checkpoint = run_import("adaptsegnet", weights_by_rule("advent_deeplabv2_keys.json"))
    outputs = outputs_of(checkpoint.segmenter.core, 99, 131)  # sides that exercise the ceil-mode pooling
    vectors = Vectors("adaptsegnet_deeplabv2.npz")
    vectors.check("aux", outputs["aux"])
    vectors.check("main", outputs["main"])
    record = checkpoint.config.imported
    assert record is not None
    assert record.protocol.branches == (6, 12)
    assert sum(record.left_out.values()) == 8


@pytest.mark.slow
def test_cycada_drn(run_import: Importer) -> None:
    segmenter = run_import("cycada", weights_by_rule("cycada_drn26_keys.json")).segmenter
    outputs = outputs_of(segmenter.core, 101, 157)
    vectors = Vectors("cycada_drn26.npz")
    vectors.check("main", outputs["main"])
    vectors.check("main_up_every7", segmenter.upsample(outputs["main"], (101, 157))[:, :, ::7, ::7])
    vectors.check("stage4_every8th_channel", outputs["stage4"][:, ::8])
    vectors.check("stage8_every64th_channel", outputs["stage8"][:, ::64])


@pytest.mark.slow
def test_cycada_fcn8s(run_import: Importer) -> None:
    outputs = outputs_of(run_import("cycada", weights_by_rule("cycada_fcn8s_keys.json")).segmenter.core, 53, 75)
    vectors = Vectors("cycada_fcn8s.npz")
    vectors.check("main_every3", outputs["main"][:, :, ::3, ::3])
    vectors.check("fc7_every16th_channel", outputs["fc7"][:, ::16])
    vectors.check("pool4_every32nd_channel", outputs["stage4"][:, ::32])


def test_fresh_upsampling_is_bilinear() -> None:
    """Away from the border the fixed kernel interpolates as PyTorch does without aligned corners."""
    scores = normal((1, 3, 5, 6), 0)
    for factor in (2, 8):
        ours = BilinearUpsampling(3, factor)(scores)
        margin = factor // 2
        theirs = F.interpolate(scores, scale_factor=float(factor), mode="bilinear", align_corners=False)
        inner = slice(factor, -factor)
        torch.testing.assert_close(
            ours[..., margin:-margin, margin:-margin][..., inner, inner], theirs[..., inner, inner]
        )


@pytest.mark.parametrize("variant", ["b0", pytest.param("b5", marks=pytest.mark.slow)])
def test_daformer(run_import: Importer, variant: str) -> None:
    weights = weights_by_rule(f"daformer_mit{variant}_keys.json")
    checkpoint = run_import("daformer", mmcv_file(weights))
    assert checkpoint.config.network_options["variant"] == variant
    outputs = outputs_of(checkpoint.segmenter.core, 128, 256)
    vectors = Vectors(f"daformer_mit{variant}.npz")
    for stage in range(1, 5):
        vectors.check(f"stage{stage}_every4th_channel", outputs[f"stage{stage}"][:, ::4])
    vectors.check("logits", outputs["logits"])
    upsampled = checkpoint.segmenter.upsample(outputs["main"], (128, 256))
    vectors.check("logits_up_every7", upsampled[:, :, ::7, ::7])
    vectors.check("argmax_full", upsampled.argmax(dim=1))


@pytest.mark.parametrize("family", ["hrda", "mic"])
def test_hrda(run_import: Importer, family: str) -> None:
    checkpoint = run_import(family, mmcv_file(weights_by_rule("hrda_mitb0_keys.json")))
    assert checkpoint.config.method == family
    outputs = outputs_of(checkpoint.segmenter.core, 192, 328)
    vectors = Vectors("hrda_mitb0.npz")
    for name in ("logits", "context", "attention"):
        vectors.check(f"{name}_every5th_channel", outputs[name][:, ::5])


@pytest.fixture(scope="module")
def hrda_of_small_windows() -> HRDANetwork:
    """HRDA whose windows of 128 pixels overlap in a picture of 192x328."""
    from sim2street.models.importers.hrda import rename
    from sim2street.models.importers.keys import translate

    core = build("hrda", options={"variant": "b0", "detail_crop": [128, 128]}).core
    assert isinstance(core, HRDANetwork)
    match = translate(weights_by_rule("hrda_mitb0_keys.json"), rename, core, title="HRDA")
    core.load_state_dict(match.weights)
    return core.eval()


def test_hrda_averages_overlapping_windows(hrda_of_small_windows: HRDANetwork) -> None:
    outputs = outputs_of(hrda_of_small_windows, 192, 328)
    vectors = Vectors("hrda_mitb0.npz")
    vectors.check("detail_windows_of_128_every5th_channel", outputs["detail"][:, ::5])
    vectors.check("logits_windows_of_128_every5th_channel", outputs["logits"][:, ::5])
    # At the border the last window is moved back: 192 = 128 + 64, and 328 leaves 8 pixels after three steps.
    assert len(hrda_of_small_windows.boxes(192, 328)) == 2 * 5


@torch.inference_mode()
def test_hrda_fuses_one_window_as_in_training(hrda_of_small_windows: HRDANetwork) -> None:
    core = hrda_of_small_windows
    images = normal((1, 3, 192, 328), 0)
    box = Box(32, 160, 104, 232)
    fused = core.fuse(core.context(images), core.detail(box.of(images)), box)
    Vectors("hrda_mitb0.npz").check("logits_one_window_every5th_channel", fused[:, ::5])


def port_v4(key: str) -> str:
    """Name of a tensor in transformers 4 and on the Hub, from its name in memory in transformers 5."""
    key = re.sub(r"stages\.(\d)\.blocks\.(\d+)\.", r"encoder.block.\1.\2.", key)
    key = re.sub(r"stages\.(\d)\.patch_embeddings\.", r"encoder.patch_embeddings.\1.", key)
    key = re.sub(r"stages\.(\d)\.layer_norm\.", r"encoder.layer_norm.\1.", key)
    key = re.sub(r"linear_projections\.(\d)\.", r"linear_c.\1.", key)
    for new, old in {
        "layernorm_before": "layer_norm_1",
        "layernorm_after": "layer_norm_2",
        "attention.q_proj": "attention.self.query",
        "attention.k_proj": "attention.self.key",
        "attention.v_proj": "attention.self.value",
        "attention.o_proj": "attention.output.dense",
        "attention.sequence_reduction.sequence_reduction": "attention.self.sr",
        "attention.sequence_reduction.layer_norm": "attention.self.layer_norm",
        "mlp.fc1": "mlp.dense1",
        "mlp.fc2": "mlp.dense2",
    }.items():
        key = key.replace(new, old)
    return key


@pytest.mark.parametrize("version", [4, 5])
def test_segformer_of_transformers(run_import: Importer, version: int) -> None:
    weights = weights_by_rule("segformer_mitb0_keys.json")
    if version == 4:
        weights = {port_v4(key): value for key, value in weights.items()}
    checkpoint = run_import("segformer", weights)
    assert checkpoint.config.network_options == {"variant": "b0", "channels": 256}
    segmenter = build("segformer", options={**checkpoint.config.network_options, "norm_epsilon": 1e-5}).eval()
    segmenter.core.load_state_dict(checkpoint.segmenter.core.state_dict())
    Vectors("segformer_mitb0.npz").check("logits_at_epsilon_1e5", outputs_of(segmenter.core, 97, 163)["logits"])


def test_segformer_in_the_authors_layout_equals_that_of_transformers(run_import: Importer) -> None:
    """The rule gives other values for other names, so the authors' file is made out of the port's tensors."""
    port = weights_by_rule("segformer_mitb0_keys.json")
    ours = run_import("segformer", port).segmenter.core.state_dict()
    theirs: dict[str, Tensor] = {"decode_head.conv_seg.weight": torch.zeros(19, 256, 1, 1)}
    for key, value in port.items():
        for pattern, name in {
            r"decode_head\.linear_fuse\.(\w+)": r"decode_head.linear_fuse.conv.\1",
            r"decode_head\.batch_norm\.(\w+)": r"decode_head.linear_fuse.bn.\1",
            r"decode_head\.classifier\.(\w+)": r"decode_head.linear_pred.\1",
        }.items():
            if re.fullmatch(pattern, key):
                theirs[re.sub(pattern, name, key)] = value
    for stage in range(4):
        for last in ("weight", "bias"):
            theirs[f"decode_head.linear_c{stage + 1}.proj.{last}"] = port[
                f"decode_head.linear_projections.{stage}.proj.{last}"
            ]
    encoder = {key: value for key, value in weights_by_rule("daformer_mitb0_keys.json").items() if "backbone" in key}
    again = run_import("segformer", mmcv_file({**encoder, **theirs}, adapting=False)).segmenter.core.state_dict()
    heads = [key for key in ours if key.startswith("head.")]
    assert heads
    for key in heads:
        torch.testing.assert_close(again[key], ours[key], rtol=0, atol=0)


def test_segformer_of_daformers_repository_stacks_from_the_first_stage(
    run_import: Importer, daformer_weights: dict[str, Tensor]
) -> None:
    """Their head by hand on the encoder's features, which the vectors hold: linear layers, stages 1 to 4, 1x1, norm."""
    weights = {key: value for key, value in daformer_weights.items() if key.startswith("backbone.")}
    for index, dim in enumerate((32, 64, 160, 256)):
        weights[f"decode_head.linear_c.{index}.proj.weight"] = normal((48, dim), index) / dim**0.5
        weights[f"decode_head.linear_c.{index}.proj.bias"] = normal((48,), index)
    weights["decode_head.linear_fuse.conv.weight"] = normal((48, 4 * 48, 1, 1), 4) / 14
    for number, name in enumerate(("weight", "bias", "running_mean", "running_var")):
        weights[f"decode_head.linear_fuse.bn.{name}"] = normal((48,), 5 + number).abs() + 0.5
    for name in ("linear_pred", "conv_seg"):
        weights[f"decode_head.{name}.weight"] = normal((19, 48, 1, 1), 9) / 7
        weights[f"decode_head.{name}.bias"] = normal((19,), 10)

    checkpoint = run_import("daformer", mmcv_file(weights))
    assert checkpoint.config.network == "segformer"
    assert checkpoint.config.window.short_side == 512  # DAFormer's protocol, not SegFormer's windows
    outputs = outputs_of(checkpoint.segmenter.core, 97, 163)
    maps = []
    for index in range(4):
        feature = outputs[f"stage{index + 1}"].permute(0, 2, 3, 1)
        linear = [weights[f"decode_head.linear_c.{index}.proj.{last}"] for last in ("weight", "bias")]
        maps.append(F.interpolate(F.linear(feature, *linear).permute(0, 3, 1, 2), size=(25, 41), mode="bilinear"))
    fused = F.conv2d(torch.cat(maps, dim=1), weights["decode_head.linear_fuse.conv.weight"])
    mean, variance, scale, shift = (
        weights[f"decode_head.linear_fuse.bn.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
    )
    fused = F.relu(F.batch_norm(fused, mean, variance, scale, shift))
    expected = F.conv2d(fused, weights["decode_head.linear_pred.weight"], weights["decode_head.linear_pred.bias"])
    torch.testing.assert_close(outputs["logits"], expected, rtol=1e-4, atol=1e-4)

    again = run_import("segformer", mmcv_file(weights, adapting=False))
    assert again.config.weights_sha256 == checkpoint.config.weights_sha256


def test_generator_and_discriminators() -> None:
    """No family of segmenters holds them; their keys are the authors' own."""
    for name, network, images, key in (
        ("cyclegan_generator", Generator(), normal((1, 3, 60, 92), 0).clamp(-1, 1), "translated_every2"),
        ("cyclegan_discriminator", PatchGAN(), normal((1, 3, 131, 203), 0).clamp(-1, 1), "scores"),
        ("cycada_discriminator", FeatureDiscriminator(19), normal((1, 19, 13, 17), 1), "verdict"),
    ):
        network.load_state_dict(weights_by_rule(f"{name}_keys.json"), strict=True)
        with torch.inference_mode():
            result = network.eval()(images)
        Vectors(f"{name}.npz").check(key, result[:, :, ::2, ::2] if key.endswith("every2") else result)


def test_averaged_logits(run_import: Importer, daformer_weights: dict[str, Tensor], tmp_path) -> None:
    """Two files of one network: `main` is the mean of what each says."""
    from sim2street.models.storage.checkpoint import Checkpoint
    from sim2street.training.cli import main

    other = {key: value * 0.9 if value.is_floating_point() else value for key, value in daformer_weights.items()}
    alone = [
        outputs_of(run_import("daformer", weights).segmenter.core, 40, 64) for weights in (daformer_weights, other)
    ]
    files = [str(tmp_path / name) for name in ("first.pth", "second.pth")]
    for file, weights in zip(files, (daformer_weights, other), strict=True):
        torch.save(weights, file)
    assert main(["import", "daformer", *files, "--ensemble", "--out", str(tmp_path / "both")]) == 0
    both = Checkpoint.open(tmp_path / "both")
    expected = (alone[0]["main"] + alone[1]["main"]) / 2
    torch.testing.assert_close(outputs_of(both.segmenter.core, 40, 64)["main"], expected, rtol=1e-5, atol=1e-6)
    assert both.config.imported is not None
    assert both.config.imported.protocol.averaging == "logits of the members"
    assert [file.name for file in both.config.imported.files] == ["first.pth", "second.pth"]
