from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sim2street.models.errors import ConfigError
from sim2street.models.networks import build
from sim2street.models.networks.hrda import Box, HRDANetwork
from sim2street.models.storage.checkpoint import Checkpoint, CheckpointConfig
from sim2street.training.datasets.transforms import TransformConfig, margin_mask
from sim2street.training.methods import build_method, hrda
from sim2street.training.methods.adabn import batch_norms
from sim2street.training.methods.daformer import DAFormer
from sim2street.training.methods.hrda import HRDA, random_window
from sim2street.training.methods.losses import weighted_cross_entropy
from sim2street.training.methods.mic import MIC, block_mask
from sim2street.training.methods.parts.pseudo_labels import pseudo_label
from sim2street.training.pair import DomainPair
from sim2street.training.run.initialise import initialise
from tests.training.methods.test_methods import NETWORK, TWICE, losses_of, make, make_pair

QUIET = {"distance": "none", "jitter": 0.0}


def test_windows_are_on_the_grid_and_reach_every_corner() -> None:
    torch.manual_seed(0)
    boxes = [random_window(64, 96, (32, 48)) for _ in range(200)]
    assert {box.top for box in boxes} == {0, 8, 16, 24, 32}
    assert {box.left for box in boxes} == {0, 8, 16, 24, 32, 40, 48}
    assert {(box.bottom - box.top, box.right - box.left) for box in boxes} == {(32, 48)}
    assert random_window(64, 96, (512, 512)) == Box(0, 64, 0, 96)


def test_hrda_terms_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """0.9 of the fused and 0.1 of the detail's cross-entropy, fused at stride 4 with the attention of the window alone."""
    box = Box(16, 48, 40, 88)
    monkeypatch.setattr(hrda, "random_window", lambda height, width, crop: box)
    method = make("hrda", QUIET).eval()
    pair = make_pair()
    found = losses_of(method, pair)
    core = method.segmenter.core
    assert isinstance(core, HRDANetwork)
    with torch.no_grad():
        images = method.segmenter.normalise(pair.source_images)
        context = core.context(images)
        detail = core.detail(images[..., 16:48, 40:88])
        double = {"scale_factor": 2, "mode": "bilinear", "align_corners": False}
        attention = torch.zeros_like(context.attention)
        attention[..., 2:6, 5:11] = context.attention[..., 2:6, 5:11]  # 8 pixels a cell
        placed = torch.zeros(2, 19, 16, 24)
        placed[..., 4:12, 10:22] = detail  # 4 pixels a cell
        resize = torch.nn.functional.interpolate
        fused = resize((1 - attention) * context.logits, **double) + resize(attention, **double) * placed

        def loss(logits: torch.Tensor, labels: torch.Tensor) -> float:
            logits = resize(logits, size=labels.shape[1:], mode="bilinear", align_corners=False)
            picked = logits.log_softmax(1).gather(1, labels.clamp(max=18)[:, None])[:, 0]
            return -((picked * (labels != 255)).sum() / labels.numel()).item()

        assert found["segmentation"].item() == pytest.approx(0.9 * loss(fused, pair.source_labels), rel=1e-4)
        window = pair.source_labels[:, 16:48, 40:88]
        assert found["segmentation/detail"].item() == pytest.approx(0.1 * loss(detail, window), rel=1e-4)
    assert set(found) == {"segmentation", "segmentation/detail", "self_training", "self_training/detail"}


def test_hrdas_teacher_looks_through_all_windows() -> None:
    method = make("hrda", QUIET).eval()
    assert isinstance(method, HRDA)
    pair = make_pair()
    core = method.teacher.segmenter.core
    assert isinstance(core, HRDANetwork)
    assert len(core.boxes(64, 96)) == 9
    with torch.no_grad():
        images = method.segmenter.normalise(pair.target_images)
        fused = core.fuse(core.context(images), core.detail_windows(images))
        expected = method.segmenter.upsample(fused, (64, 96))
    found = method.teacher(pair.target_images).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(method.pseudo_labels(pair).labels, found.softmax(dim=1).argmax(dim=1))


def test_hrdas_distance_is_of_the_context() -> None:
    method = make("hrda", {"distance": "rendered", "distance_stage": "stage1", "jitter": 0.0}).eval()
    assert isinstance(method, HRDA)
    assert method.anchor is not None
    with torch.no_grad():
        for parameter in method.segmenter.parameters():
            parameter.mul_(1.05)
    pair = make_pair()
    with torch.no_grad():
        shrunk = torch.nn.functional.interpolate(
            method.segmenter.normalise(pair.source_images), scale_factor=0.5, mode="bilinear", align_corners=False
        )
        cores = method.segmenter.core, method.anchor.core
        features = [core.encoder(shrunk)["stage1"] for core in cores if isinstance(core, HRDANetwork)]
        distance = (features[0] - features[1]).norm(dim=1)
    assert distance.shape == (2, 8, 12)  # stride 4 of the half: 8 pixels a cell
    cells = torch.zeros(2, 8, 12, dtype=torch.bool)
    cells[:, :, 6:] = True
    found = losses_of(method, pair)["feature_distance"]
    assert found.item() == pytest.approx(0.005 * distance[cells].mean().item(), rel=1e-4)


def test_hrda_refuses_other_networks_and_odd_crops() -> None:
    with pytest.raises(ConfigError, match="needs a network with context and detail"):
        build_method("hrda", build("deeplab_v2", options=NETWORK))
    pair = make_pair()
    odd = DomainPair(
        pair.source_images[..., :90], pair.source_labels[..., :90], pair.target_images[..., :90], pair.source_members
    )
    with pytest.raises(ConfigError, match="multiples of 8 pixels; found 90x64"):
        list(make("hrda", QUIET).step(odd))


def test_blocks_are_hidden_whole_and_most_of_them() -> None:
    torch.manual_seed(0)
    keep = block_mask(torch.zeros(8, 3, 1024, 1024), 64, 0.7)
    assert keep.shape == (8, 1, 1024, 1024)
    cells = keep.view(8, 1, 16, 64, 16, 64)
    assert torch.equal(cells.all(dim=5).all(dim=3), cells.any(dim=5).any(dim=3)), "a block is kept or hidden as a whole"
    assert keep.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert block_mask(torch.zeros(1, 3, 32, 48), 64, 0.7).shape == (1, 1, 32, 48)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_hidden_pixels_are_zero_for_the_network(order: str) -> None:
    network = NETWORK if order == "rgb" else {"backbone": "resnet18", "width": 0.25}
    method = build_method("mic", build("deeplab_v2", options=network), {**QUIET, "mask_block": 16})
    assert isinstance(method, MIC)
    assert method.segmenter.normalisation.order == order
    torch.manual_seed(3)
    images = torch.rand(2, 3, 64, 96)
    seen = method.segmenter.normalise(method.masked(images))
    hidden = seen.abs().amax(dim=1) < 1e-4
    assert 0.4 < hidden.float().mean() < 0.95
    kept = ~hidden[:, None].expand_as(seen)
    assert torch.equal(seen[kept], method.segmenter.normalise(images)[kept])


def test_masked_loss_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The teacher's labels and weight of the unmasked image, on what is left of it; over all pixels, weight 1."""
    monkeypatch.setattr("sim2street.training.methods.mic.augment", lambda images, strength: images)
    pair = make_pair()
    with torch.no_grad():
        logits = make("mic", QUIET).eval().segmenter(pair.target_images).logits
    threshold = logits.softmax(dim=1).amax(dim=1).median().item()  # half of the pixels are confident
    method = make("mic", {**QUIET, "mask_block": 16, "threshold": threshold}).eval()
    assert isinstance(method, MIC)
    torch.manual_seed(7)
    found = losses_of(method, pair)
    torch.manual_seed(7)
    updates = method.step(pair)
    next(updates), next(updates)  # the same draws up to the mask
    with torch.no_grad():
        masked = method.masked(pair.target_images)
        pseudo = pseudo_label(method.teacher(pair.target_images).logits, threshold)
        expected = weighted_cross_entropy(method.segmenter(masked).logits, pseudo.labels, pseudo.weights)
    assert pseudo.quality.item() == pytest.approx(0.5, abs=0.01)
    assert found["masked"].item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("counted", [True, False])
def test_masked_images_can_be_left_out_of_the_statistics(counted: bool) -> None:
    pair = make_pair()
    method = make("mic", {**QUIET, "mask_block": 16, "masked_statistics": counted}).train()
    norms = batch_norms(method.segmenter)
    momenta = [norm.momentum for norm in norms]
    updates = method.step(pair)
    for _ in range(2):  # the source images and the mixed ones
        next(updates)
    before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    assert "masked" in next(updates).losses
    changed = [not torch.equal(mean, norm.running_mean) for (mean, _), norm in zip(before, norms, strict=True)]
    spread = [not torch.equal(var, norm.running_var) for (_, var), norm in zip(before, norms, strict=True)]
    assert changed == spread == [counted] * len(norms)
    assert [norm.momentum for norm in norms] == momenta


def test_mic_keeps_what_is_below_it() -> None:
    """Without the mask's weight MIC's losses are DAFormer's, or HRDA's on its network."""
    pair = make_pair()
    for base, detail in (("daformer", {}), ("hrda", {"detail_weight": 0.1})):
        margins = {} if detail else {"ignore_top": 0, "ignore_bottom": 0}
        torch.manual_seed(1)
        below = make(base, {**QUIET, **margins, **detail} if base == "hrda" else {**QUIET, **margins}).eval()
        torch.manual_seed(2)
        expected = losses_of(below, pair)
        above = make("mic", {**QUIET, **detail, "mask_weight": 0.0}).eval()
        above.load_state_dict(below.state_dict(), strict=True)
        torch.manual_seed(2)
        found = losses_of(above, pair)
        for term, value in expected.items():
            torch.testing.assert_close(found[term], value)
        assert {term for term in found.keys() - expected.keys() if not found[term]} == found.keys() - expected.keys()
        assert isinstance(above, DAFormer)


def test_margins_of_the_whole_photo_take_the_weight_away() -> None:
    pair = make_pair()
    valid = torch.ones(2, 64, 96, dtype=torch.bool)
    valid[1, :20] = False
    masked = DomainPair(pair.source_images, pair.source_labels, pair.target_images, pair.source_members, valid)
    method = make("hrda", {**QUIET, "threshold": 1e-3}).eval()
    assert isinstance(method, HRDA)
    pseudo = method.pseudo_labels(masked)
    assert pseudo.quality == 1
    assert torch.equal(pseudo.weights, valid.float())
    with pytest.raises(ValueError, match="mask of"):
        DomainPair(pair.source_images, pair.source_labels, pair.target_images, pair.source_members, valid[:, :8])


def test_hrda_starts_from_daformers_checkpoint(tmp_path: Path) -> None:
    """Encoder and head are taken over; the attention alone is as it was."""
    options = {key: value for key, value in TWICE.items() if key not in ("attention_channels", "detail_crop")}
    start = build("daformer", options=options)
    details = CheckpointConfig(
        title="Start", method="source_only", network="daformer", network_options=options, source="x"
    )
    Checkpoint.save(tmp_path / "start", start, details, half=False)
    segmenter = build("hrda", options=TWICE)
    attention = {
        key: value.clone() for key, value in segmenter.core.state_dict().items() if key.startswith("attention")
    }
    initialise(segmenter, str(tmp_path / "start"), TWICE)
    after = segmenter.core.state_dict()
    for key, value in start.core.state_dict().items():
        assert torch.equal(after[key], value), key
    for key, value in attention.items():
        assert torch.equal(after[key], value), key
    with pytest.raises(ConfigError, match="has weights of another network"):
        initialise(build("hrda", options={**TWICE, "channels": 24}), str(tmp_path / "start"), TWICE)


def test_target_margins_travel_with_crop_and_flip() -> None:
    mask = margin_mask((6, 8, 3), (1, 2, 3, 0))
    assert mask[1:4, 3:].max() == 0
    assert int((mask == 255).sum()) == 48 - 15
    assert margin_mask((4, 4, 3), (9, 9, 0, 0)).min() == 255
    geometry = TransformConfig(crop=(8, 8), flip=1.0).build_geometry()
    _, moved = geometry(np.zeros((6, 8, 3), np.uint8), mask, np.random.default_rng(0))
    assert moved is not None
    assert moved[6:].min() == 255, "padding is not trusted either"
    assert moved[1:4, :5].max() == 0
    assert moved[:, 5:].min() == 255
