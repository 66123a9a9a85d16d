"""VFM-UDA's and EoMT's files -> `sim2street import` -> the authors' numbers; and what is refused of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sim2street.models.errors import CheckpointError, ConfigError
from sim2street.models.importers import import_checkpoint
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.networks import build
from sim2street.models.networks.vfm_uda import VFMUDANetwork, encoder_side, input_size
from sim2street.models.predictor import Predictor
from sim2street.models.segmenter import Segmenter
from sim2street.models.storage.checkpoint import Checkpoint, Window
from tests.conftest import VECTORS, Vectors, normal, weights_by_rule
from tests.models.importers.conftest import Importer

Weights = dict[str, Tensor]


def uniform(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def picture(height: int, width: int, seed: int) -> np.ndarray:
    return (256 * uniform((height, width, 3), seed)).floor().to(torch.uint8).numpy()


@pytest.fixture(scope="module")
def vfm_weights() -> Weights:
    return weights_by_rule("vfmuda_vits14_keys.json")


@pytest.fixture(scope="module")
def eomt_weights() -> Weights:
    return weights_by_rule("eomt_vits16_128_keys.json")


def lightning_file(student: Weights) -> dict[str, Any]:
    """What Lightning saves: student, teacher, optimiser with NumPy numbers, notes."""
    teacher = {key.replace("network.", "network_ema.", 1): value for key, value in student.items()}
    return {
        "epoch": 0,
        "global_step": 40000,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {**student, **teacher},
        "loops": {"fit_loop": {"state_dict": {}, "best": np.float64(77.1)}},
        "callbacks": {},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(40000.0)}}, "seen": np.arange(3)}],
        "lr_schedulers": [{"_last_lr": [0.0]}],
        "MixedPrecision": {"scale": 1024.0},
        "hparams_name": "kwargs",
        "hyper_parameters": {"img_size": 1024},
    }


def at_size(checkpoint: Checkpoint, **options: Any) -> Segmenter:
    """The same weights with other options, such as another size of picture."""
    config = checkpoint.config
    segmenter = build(config.network, options={**config.network_options, **options}).eval()
    segmenter.core.load_state_dict(checkpoint.load().core.state_dict())
    return segmenter


@torch.inference_mode()
@pytest.mark.parametrize(
    ("prefix", "size", "every", "channels"),
    [("interp", 256, (1, 2, 7, 1), 12), pytest.param("native", 471, (3, 5, 17, 5), 24, marks=pytest.mark.slow)],
)
def test_vfm_uda_at_the_sizes_of_the_vectors(
    run_import: Importer, vfm_weights: Weights, prefix: str, size: int, every: tuple[int, ...], channels: int
) -> None:
    checkpoint = run_import("vfm_uda", lightning_file(vfm_weights), file="step40000.ckpt")
    record = checkpoint.config.imported
    assert record is not None
    assert record.left_out == {"teacher (network_ema)": len(vfm_weights), "the mask token a second time": 1}
    assert checkpoint.config.network_options == {"encoder": "vit_small_patch14_dinov2"}

    segmenter = at_size(checkpoint, size=size)
    core = segmenter.core
    assert isinstance(core, VFMUDANetwork)
    outputs = core(normal((1, 3, size, size), 0))
    vectors, grid = Vectors("vfmuda_vits14.npz"), core.side // core.encoder.patch
    tokens, low, high, labels = every
    positions = core.encoder.positions((grid, grid))[..., ::64]
    vectors.check(f"{prefix}_pos_every64th_channel", positions[:, ::11] if prefix == "native" else positions)
    vectors.check(f"{prefix}_tokens_c{channels}", outputs["stage4"][:, ::channels, ::tokens, ::tokens])
    vectors.check(f"{prefix}_logits_low_every{low}", outputs["main"][..., ::low, ::low])
    upsampled = segmenter.upsample(outputs["main"], (size, size))
    vectors.check(f"{prefix}_logits_every{high}", upsampled[..., ::high, ::high])
    name = "argmax_full" if labels == 1 else f"argmax_every{labels}"
    vectors.check(f"{prefix}_{name}", upsampled.argmax(dim=1)[:, ::labels, ::labels])
    if prefix == "interp":
        middle = core.head.upscale[:3](outputs["stage4"])
        vectors.check("interp_upscale_mid_c12", middle[:, ::12, ::2, ::2])
        vectors.check("interp_upscale_out_c12", core.head.upscale(outputs["stage4"])[:, ::12, ::2, ::2])


@pytest.mark.slow
@torch.inference_mode()
def test_vfm_uda_of_the_released_size(run_import: Importer) -> None:
    """The published base network, its logits at a crop of 256 pixels."""
    weights = weights_by_rule("vfmuda_vitb14_keys.json")
    segmenter = at_size(run_import("vfm_uda", {"state_dict": weights}, file="base.ckpt"), size=256)
    assert sum(value.numel() for value in segmenter.parameters()) == 88_392_000
    outputs = segmenter.core(normal((1, 3, 256, 256), 0))
    vectors = Vectors("vfmuda_vitb14.npz")
    vectors.check("interp_tokens_c24", outputs["stage4"][:, ::24])
    vectors.check("interp_logits_low_every2", outputs["main"][..., ::2, ::2])
    upsampled = segmenter.upsample(outputs["main"], (256, 256))
    vectors.check("interp_logits_every7", upsampled[..., ::7, ::7])
    vectors.check("interp_argmax_full", upsampled.argmax(dim=1))


@pytest.mark.slow
def test_vfm_uda_of_the_largest_released_size(run_import: Importer) -> None:
    """The vectors list the keys of the large network; every one is used."""
    weights = weights_by_rule("vfmuda_vitl14_keys.json")
    checkpoint = run_import("vfm_uda", {"state_dict": weights}, file="large.ckpt")
    assert checkpoint.config.network_options == {"encoder": "vit_large_patch14_dinov2"}
    listed = json.loads((VECTORS / "vfmuda_vitl14_keys.json").read_text())
    assert sum(value.numel() for value in checkpoint.load().parameters()) == listed["n_trainable_elements"]


@pytest.mark.slow
@torch.inference_mode()
def test_eomt_of_the_released_size(run_import: Importer) -> None:
    """The published large network at its crop of 1,024 pixels."""
    segmenter = run_import("eomt", weights_by_rule("eomt_vitl16_1024_keys.json"), file="large.bin").segmenter.eval()
    photo, vectors = uniform((1, 3, 1024, 1024), 0), Vectors("eomt_vitl16_1024.npz")
    vectors.check("plain_input_first8", photo.flatten()[:8])
    outputs = segmenter.core(segmenter.normalise(photo))
    tokens, score = outputs["stage4"].flatten(2).transpose(1, 2), outputs["main"].exp()
    for name, got in {
        "query_tokens_every8th_query_every8th_channel": outputs["queries"][:, ::8, ::8],
        "prefix_tokens_every8th_channel": outputs["prefix"][..., ::8],
        "patch_tokens_every80th_every32th_channel": tokens[:, ::80, ::32],
        "class_logits": outputs["classes"],
        "mask_logits_every10th_query_every16": outputs["masks"][:, ::10, ::16, ::16],
        "scores_every32": score[..., ::32, ::32],
        "argmax_every5": score.argmax(dim=1)[:, ::5, ::5],
    }.items():
        vectors.check(f"plain_{name}", got)


def test_epsilons_of_norms_are_the_authors(run_import: Importer, vfm_weights: Weights, eomt_weights: Weights) -> None:
    """The outputs cannot tell 1e-6 from 1e-5, so it is compared."""
    for family, weights, listing in (
        ("vfm_uda", vfm_weights, "vfmuda_vits14_keys.json"),
        ("eomt", eomt_weights, "eomt_vits16_128_keys.json"),
    ):
        core = run_import(family, weights).segmenter.core
        epsilons = [module.eps for module in core.modules() if isinstance(module, torch.nn.LayerNorm)]
        stated = json.loads((VECTORS / listing).read_text())["norm_eps"]
        assert all(key.endswith("eps=1e-06") for key in stated)
        assert epsilons == [1e-6] * sum(map(len, stated.values()))


@torch.inference_mode()
def test_vfm_udas_windows(run_import: Importer, vfm_weights: Weights) -> None:
    checkpoint = run_import("vfm_uda", vfm_weights)
    window = checkpoint.config.window
    assert (window.short_side, window.crop, window.stride) == (1024, (1024, 1024), (512, 512))
    small = window.model_copy(update={"short_side": 128, "crop": (128, 128), "stride": (64, 64)})
    predictor = Predictor(at_size(checkpoint, size=128), small, device="cpu")
    vectors, photo = Vectors("vfmuda_vits14.npz"), picture(100, 170, 0)
    resized = predictor._image(photo, 1.0, False)
    vectors.check("win_resized_every5", (resized[0] * 255).round().to(torch.uint8)[:, ::5, ::5])
    # The authors score at the size of the resized picture.
    prediction = predictor(np.asarray(Image.fromarray(photo).resize((218, 128), Image.Resampling.BILINEAR)))
    vectors.check("win_prob_every6", prediction.probabilities[:, ::6, ::6])
    vectors.check("win_argmax_full", prediction.labels)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("layout", ["authors", "transformers"])
@torch.inference_mode()
def test_eomt(run_import: Importer, eomt_weights: Weights, layout: str, masked: bool) -> None:
    weights = eomt_weights if layout == "authors" else port_of(eomt_weights)
    checkpoint = run_import("eomt", weights)
    assert checkpoint.config.network_options == {
        "encoder": "vit_small_patch14_reg4_dinov2",
        "size": 128,
        "patch": 16,
        "queries": 100,
        "query_blocks": 4,
    }
    segmenter = at_size(checkpoint, masked_attention=masked)
    outputs = segmenter.core(segmenter.normalise(uniform((1, 3, 128, 128), 0)))
    vectors, prefix = Vectors("eomt_vits16_128.npz"), "masked" if masked else "plain"
    tokens = outputs["stage4"].flatten(2).transpose(1, 2)
    score = outputs["main"].exp()
    for name, got in {
        "query_tokens_every8th_query_every8th_channel": outputs["queries"][:, ::8, ::8],
        "prefix_tokens_every8th_channel": outputs["prefix"][..., ::8],
        "patch_tokens_every5th_every16th_channel": tokens[:, ::5, ::16],
        "class_logits": outputs["classes"],
        "mask_logits_every10th_query_every2": outputs["masks"][:, ::10, ::2, ::2],
        "scores_every4": score[..., ::4, ::4],
        "argmax_full": score.argmax(dim=1),
    }.items():
        vectors.check(f"{prefix}_{name}", got)


def port_of(weights: Weights) -> Weights:
    """The same weights under the names of transformers."""
    names = json.loads((VECTORS / "eomt_vits16_128_transformers_map.json").read_text())["map"]
    result: Weights = {}
    for key, value in weights.items():
        name = names[key]
        if isinstance(name, list):
            result.update(zip(name, value.chunk(3), strict=True))
        elif name is not None:
            result[name] = value[0] if key.endswith("pos_embed") else value
    return {**result, "criterion.empty_weight": torch.ones(20)}


@pytest.mark.parametrize(("prefix", "size", "seed"), [("win", (100, 230), 0), ("winone", (90, 90), 1)])
@torch.inference_mode()
def test_eomts_windows(
    run_import: Importer, eomt_weights: Weights, prefix: str, size: tuple[int, int], seed: int
) -> None:
    predictor = Predictor.from_checkpoint(run_import("eomt", eomt_weights), device="cpu")
    vectors, photo = Vectors("eomt_vits16_128.npz"), picture(*size, seed)
    image = predictor._image(photo, 1.0, False)
    vectors.check(f"{prefix}_resized_hw", np.array(image.shape[2:]))
    starts = predictor._places(image.shape[3], 128, 1)
    vectors.check(f"{prefix}_windows_start_end", np.array([(start, start + 128) for start in starts]))
    first = image[0, :, :, starts[0] : starts[0] + 128]
    vectors.check(f"{prefix}_window0_every5", (first * 255).round().to(torch.uint8)[:, ::5, ::5])
    prediction = predictor(photo)
    vectors.check(f"{prefix}_argmax_full", prediction.labels)
    score = torch.nn.functional.interpolate(predictor._logits(image), size=size, mode="bilinear")[0]
    vectors.check(f"{prefix}_scores_every6", score[:, ::6, ::6])
    shares = (score / score.sum(dim=0)).numpy()
    np.testing.assert_allclose(prediction.probabilities, shares, atol=1e-5)


def test_squares_go_to_the_encoders_size_and_no_picture_costs_more() -> None:
    assert [encoder_side(size, 14) for size in (1024, 471, 256, 128)] == [1120, 518, 280, 140]
    assert input_size((500, 500), 1120, 14) == (1120, 1120)
    for height, width in ((64, 97), (17, 1700), (3000, 20), (1, 5000)):
        rows, columns = input_size((height, width), 1120, 14)
        assert rows % 14 == columns % 14 == 0
        assert 14 * 14 <= rows * columns <= 1120 * 1120


def test_other_orders_of_classes_are_put_right(run_import: Importer, eomt_weights: Weights, tmp_path: Path) -> None:
    """Also of a mask classifier, whose last output, none, stays last."""
    plain = run_import("eomt", eomt_weights).segmenter.core.state_dict()["class_head.bias"]
    names = list(reversed(CITYSCAPES19.names))
    again = run_import("eomt", {"state_dict": eomt_weights, "classes": names}).segmenter.core.state_dict()
    assert torch.equal(again["class_head.bias"], torch.cat([plain[:19].flip(0), plain[19:]]))


def changed(weights: Weights, pattern: str, value: Tensor | None = None) -> Weights:
    """Without the tensors whose key matches, or with another value in their place."""
    kept = {key: tensor for key, tensor in weights.items() if value is not None or not re.search(pattern, key)}
    return {key: value if value is not None and re.search(pattern, key) else tensor for key, tensor in kept.items()}


@pytest.mark.parametrize(
    ("family", "pattern", "value", "said"),
    [
        ("eomt", r"encoder\.backbone\.(patch_embed|pos_embed|reg)", None, "differences to DINOv3's own gated"),
        ("eomt", r"backbone\.pos_embed", None, "Files for DINOv3 cannot be imported"),
        ("eomt", r"class_head\.weight", torch.zeros(151, 384), "151 outputs; expected 20"),
        ("eomt", r"attn_mask_probs", torch.zeros(40), "lists 40 blocks with queries, but the encoder has 12"),
        ("eomt", r"upscale\.1\.norm\.bias", None, "missing are upscale.1.norm.bias"),
        ("eomt", r"^network\.q\.weight", None, "lacks its queries"),
        ("vfm_uda", r"encoder\.", None, "the head without its encoder"),
        ("vfm_uda", r"^network\.out\.weight", torch.zeros(150, 96, 1, 1), "150 classes or channels, expected 19"),
        ("vfm_uda", r"encoder\.cls_token", torch.zeros(1, 1, 1536), "this one has 1536"),
        ("vfm_uda", r"blocks\.3\.norm1\.bias", None, "missing are encoder.net.blocks.3.norm1.bias"),
        ("vfm_uda", r"upscale\.6\.bias", torch.full((96,), torch.nan), "NaN or infinite"),
        ("daformer", r"nothing", None, "has the layout of a VFM-UDA file"),
    ],
)
def test_what_is_not_the_network_is_refused(
    vfm_weights: Weights,
    eomt_weights: Weights,
    tmp_path: Path,
    family: str,
    pattern: str,
    value: Tensor | None,
    said: str,
) -> None:
    weights = changed(eomt_weights if family == "eomt" else vfm_weights, pattern, value)
    torch.save(weights, tmp_path / "file.ckpt")
    with pytest.raises(CheckpointError, match=re.escape(said)):
        import_checkpoint(family, [tmp_path / "file.ckpt"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_of_the_teacher_alone_is_refused(vfm_weights: Weights, tmp_path: Path) -> None:
    teacher = {key.replace("network.", "network_ema.", 1): value for key, value in vfm_weights.items()}
    torch.save({"state_dict": teacher}, tmp_path / "teacher.ckpt")
    with pytest.raises(CheckpointError, match=r"but not the student \(network\.\*\)"):
        import_checkpoint("vfm_uda", [tmp_path / "teacher.ckpt"], tmp_path / "out")


@pytest.mark.parametrize(
    "values",
    [
        {"spread": True},
        {"averaging": "scores"},
        {"crop": (64, 64), "stride": (32, 32), "spread": True},
    ],
)
def test_windows_that_contradict_themselves(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"windows are|apply to windows"):
        Window.parse(values, where="window")
