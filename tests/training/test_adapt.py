"""Adapting to photos at test time: what the authors' code computes, what stays, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sim2street.models.errors import ConfigError, PhotoError
from sim2street.models.networks import build
from sim2street.models.photo import Photo
from sim2street.models.predictor import Predictor
from sim2street.models.storage.checkpoint import Checkpoint, Window
from sim2street.models.storage.files import sha256_of
from sim2street.training.adapt import AdaptedCheckpoint, AdaptOptions, Change, adapt, compare, summary
from sim2street.training.cli import main
from sim2street.training.methods.adabn import batch_norms
from tests.app.conftest import save_tiny


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint.open(save_tiny(tmp_path_factory.mktemp("original"), "start", "source_only", "Start"))


@pytest.fixture(scope="module")
def photos() -> list[Photo]:
    generator = np.random.default_rng(0)
    blocks = [generator.integers(0, 256, (4, 6, 3), np.uint8).repeat(16, 0).repeat(16, 1) for _ in range(3)]
    return [Photo(pixels, f"{number}.png", str(number)) for number, pixels in enumerate(blocks)]


def adaptable(checkpoint: Checkpoint) -> Predictor:
    """With its own network, whose batch norms are not merged."""
    return Predictor(checkpoint.load(), checkpoint.config.window, device="cpu")


def test_tent_takes_the_steps_of_the_authors_code(original: Checkpoint, photos: list[Photo]) -> None:
    predictor = adaptable(original)
    adaptation = adapt(predictor, photos, AdaptOptions("tent", passes=2, rate=1e-3))

    reference = original.load().train()
    norms = batch_norms(reference)
    reference.requires_grad_(False)
    for module in reference.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.eval()
    for norm in norms:
        norm.requires_grad_(True)
        norm.train()
        norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None
    affine = [parameter for norm in norms for parameter in norm.parameters()]
    optimiser = torch.optim.Adam(affine, lr=1e-3, betas=(0.9, 0.999), weight_decay=0.0)
    for _ in range(2):
        for photo in photos:
            image = torch.from_numpy(photo.pixels).permute(2, 0, 1)[None].float() / 255
            logits = reference(image).logits
            loss = -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    found = [parameter for norm in batch_norms(predictor.segmenter) for parameter in norm.parameters()]
    before = [parameter for norm in batch_norms(original.load()) for parameter in norm.parameters()]
    for got, expected, start in zip(found, affine, before, strict=True):
        assert torch.allclose(got, expected, atol=2e-5)
        assert not torch.equal(got, start)
    assert adaptation.photos == 3
    assert not adaptation.stopped


def test_adabn_averages_the_statistics_of_the_photos_and_changes_no_weight(
    original: Checkpoint, photos: list[Photo]
) -> None:
    predictor = adaptable(original)
    seen: list[torch.Tensor] = []
    first = batch_norms(predictor.segmenter)[0]
    hook = first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean(dim=(0, 2, 3))))
    adaptation = adapt(predictor, photos, AdaptOptions("adabn"))
    hook.remove()
    assert len(seen) == 3
    assert torch.allclose(first.running_mean, torch.stack(seen).mean(0), atol=1e-5)  # pyright: ignore[reportArgumentType]
    before, after = original.load().core.state_dict(), predictor.segmenter.core.state_dict()
    different = {key for key in before if not torch.equal(before[key], after[key])}
    assert different
    assert different <= {key for key in adaptation.tensors if "running_" in key or "num_batches" in key}


@pytest.mark.parametrize(
    ("entropy", "said"),
    [((0.2, 0.1), "More certain does not mean more accurate"), ((0.1, 0.2), "not become more certain")],
)
def test_the_summary_warns_of_what_happened(entropy: tuple[float, float], said: str) -> None:
    assert said in summary([Change("a.png", entropy, 0.05)])


def test_windows_are_what_the_network_is_shown(original: Checkpoint, photos: list[Photo]) -> None:
    predictor = Predictor(original.load(), Window(crop=(32, 32), stride=(32, 32)), device="cpu")
    groups = list(predictor.shown(photos[0].pixels))
    assert [tuple(group.shape) for group in groups] == [(4, 3, 32, 32), (2, 3, 32, 32)]
    whole = torch.from_numpy(photos[0].pixels).permute(2, 0, 1).float() / 255
    assert torch.equal(groups[0][3], whole[:, 32:64, 0:32])


def test_an_adapted_checkpoint_in_memory_leaves_the_original(original: Checkpoint, photos: list[Photo]) -> None:
    before = Predictor.from_checkpoint(original, device="cpu")
    predictor = adaptable(original)
    adapted = AdaptedCheckpoint(original, adapt(predictor, photos, AdaptOptions("tent", passes=5, rate=0.02)))
    assert (adapted.name, adapted.config.method, adapted.config.target) == ("start_tent", "tent", "photos")
    assert adapted.config.weights_sha256 != original.config.weights_sha256
    after = Predictor.from_checkpoint(adapted, device="cpu")
    changes = compare(before, after, photos)
    assert np.mean([change.entropy[1] for change in changes]) < np.mean([change.entropy[0] for change in changes])
    assert all(0 <= change.changed <= 1 for change in changes)
    again = Predictor.from_checkpoint(original, device="cpu")
    assert [change.changed for change in compare(before, again, photos)] == [0, 0, 0]


def test_when_the_time_is_over_what_was_seen_counts(original: Checkpoint, photos: list[Photo]) -> None:
    adaptation = adapt(adaptable(original), photos, AdaptOptions("tent", passes=3, seconds=0))
    assert adaptation.stopped
    assert adaptation.photos == 1


def test_what_cannot_be_adapted_gets_a_sentence(photos: list[Photo], original: Checkpoint, tmp_path: Path) -> None:
    without = build("fcn8s", options={"width": 0.0625})
    with pytest.raises(ConfigError, match="no batch norm"):
        adapt(Predictor(without, device="cpu"), photos, AdaptOptions("tent"))
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    with pytest.raises(PhotoError, match=r"None of the 1 photos.*bad\.jpg"):
        adapt(adaptable(original), [bad], AdaptOptions("adabn"))
    for wrong in ({"method": "dann"}, {"passes": 0}, {"rate": float("nan")}):
        with pytest.raises(ConfigError):
            AdaptOptions(**wrong)


def test_the_command_writes_a_checkpoint_with_its_card_and_says_before_and_after(
    original: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(1)
    for kind in ("images", "labels"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
    for number in range(2):
        Image.fromarray(generator.integers(0, 256, (48, 64, 3), np.uint8)).save(tmp_path / f"mine/images/{number}.png")
        Image.fromarray(generator.integers(0, 19, (48, 64), np.uint8)).save(tmp_path / f"mine/labels/{number}.png")
    (tmp_path / "mine/images/broken.png").write_bytes(b"")
    out, weights = tmp_path / "out", original.path / "model.safetensors"
    before = sha256_of(weights)
    base = ["adapt", str(original.path), str(tmp_path / "mine" / "images"), "--out", str(out), "--method", "tent"]
    assert main([*base, "--passes", "2"]) == 0
    said = capsys.readouterr()
    assert "broken.png" in said.err
    assert "Start, TENT on 2 photos" in said.out
    assert "to undo, use" in said.out
    assert sha256_of(weights) == before
    written = Checkpoint.open(out)
    assert (written.config.method, written.config.initialisation) == ("tent", "start (source_only)")
    assert "adapted at test time to 2 photos" in (out / "README.md").read_text(encoding="utf-8")

    assert main(base) == 2
    assert "is there already" in capsys.readouterr().err
    (tmp_path / "mine/images/broken.png").unlink()
    base[base.index(str(out))] = str(tmp_path / "again")
    assert main([*base, "--labelled", str(tmp_path / "mine")]) == 0
    assert "mIoU on 2 labelled photos (cityscapes19): " in capsys.readouterr().out
    figures = Checkpoint.open(tmp_path / "again").metrics["folder/mine"]
    assert figures["images"] == 2
    assert figures["weights_sha256"] == sha256_of(tmp_path / "again" / "model.safetensors")
