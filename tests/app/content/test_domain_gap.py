"""The gap between two domains: figures worked out by hand, and a network that reads two sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sim2street.app.content import domain_gap
from sim2street.app.content.background import Task
from sim2street.app.content.domain_gap import (
    DomainReading,
    Moments,
    batch_norm_shifts,
    first_networks,
    gap_between,
    mean_entropy,
    principal_plane,
    proxy_distance,
    read_domain,
    stored_reading,
)
from sim2street.app.content.engine import Engine
from sim2street.app.content.labelled_sets import LabelledSet
from sim2street.models.errors import UnreadableError
from sim2street.models.storage.checkpoint import Checkpoint
from tests.app.conftest import save_tiny_pair
from tests.app.content.test_error_analysis import Blocks


def reading(features: np.ndarray, *, mean: float = 0.0, sure: bool = True) -> DomainReading:
    entropy = np.zeros(domain_gap.BINS)
    entropy[0 if sure else -1] = 1
    picture = np.arange(len(features)) % domain_gap.PICTURES
    return DomainReading(entropy, features.astype(np.float32), picture, [np.full(4, mean)], [np.full(4, 2.0)])


@pytest.mark.parametrize("miou", [0.1, 0.9])
def test_a_page_begins_with_the_network_that_adaptation_served_best(miou: float, tmp_path: Path) -> None:
    known = [Checkpoint.open(path) for path in sorted(save_tiny_pair(tmp_path).iterdir())]
    advent, source_only = known
    scored = {"street_scenes/fog": {"miou": miou}}
    other = Checkpoint(advent.path, advent.config.model_copy(update={"method": "daformer"}), metrics=scored)
    advent = Checkpoint(advent.path, advent.config, metrics={"street_scenes/fog": {"miou": 0.5}})
    best = other if miou > 0.5 else advent
    assert first_networks([source_only, advent, other]) == (source_only, best)
    assert first_networks([advent]) == (advent, advent)


def test_the_proxy_distance_ends_where_it_should() -> None:
    random = np.random.default_rng(0)
    same = random.normal(size=(384, 8))
    other = random.normal(size=(384, 8))
    far = other + np.array([20, *[0] * 7])
    assert proxy_distance(reading(same), reading(far)) == pytest.approx(2)
    assert proxy_distance(reading(same), reading(other)) < 0.35  # twice the deviation of chance
    constant = np.ones((64, 8))
    assert proxy_distance(reading(constant), reading(constant)) == pytest.approx(0)


def test_it_is_not_fooled_by_what_pictures_have_of_their_own() -> None:
    # Every picture has a feature of its own, which tells nothing of the others of its domain.
    picture = np.arange(384) % domain_gap.PICTURES
    source = np.eye(2 * domain_gap.PICTURES)[picture]
    target = np.eye(2 * domain_gap.PICTURES)[picture + domain_gap.PICTURES]
    assert proxy_distance(reading(source), reading(target)) < 0.1


def test_the_plane_holds_the_largest_variance() -> None:
    features = np.zeros((100, 5), np.float32)
    features[:, 3] = np.linspace(-10, 10, 100)
    features[:, 1] = np.tile([1, -1], 50)
    plane, explained = principal_plane(features)
    assert explained == pytest.approx(1)
    assert np.abs(plane[:, 0]) == pytest.approx(np.abs(features[:, 3] - features[:, 3].mean()), abs=0.2)
    assert principal_plane(np.ones((10, 5), np.float32))[1] == 0


def test_shifts_are_in_deviations_of_the_source() -> None:
    near, far = reading(np.zeros((8, 2))), reading(np.zeros((8, 2)), mean=3.0)
    assert batch_norm_shifts(near, far) == [pytest.approx(1.5)]


def test_words_name_both_networks() -> None:
    random = np.random.default_rng(0)
    same, far = random.normal(size=(384, 4)), random.normal(size=(384, 4)) + 20
    before = gap_between(reading(same), reading(far, sure=False))
    after = gap_between(reading(same), reading(random.normal(size=(384, 4))))
    words = domain_gap.in_words(before, after)
    assert "closer together" in words
    assert "from 2.00 to 0." in words
    assert "entropy on the target goes from 0.98 to 0.02" in words
    assert "further apart" in domain_gap.in_words(after, before)
    assert "as separable as before" in domain_gap.in_words(before, before)
    assert mean_entropy(before.target) == pytest.approx(1, abs=0.02)


def test_moments_are_those_of_all_passes() -> None:
    norm = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).eval()
    moments, seen = Moments(), []
    norm[0].register_forward_hook(lambda _module, _inputs, output: seen.append(output.detach()))
    for seed in range(3):
        with moments.gathered(norm), torch.no_grad():
            norm(torch.randn(1, 1, 4, 4 + seed, generator=torch.Generator().manual_seed(seed)))
    norm(torch.full((1, 1, 4, 4), 100.0))  # outside the block: not counted
    values = torch.cat([each.flatten(2) for each in seen[:3]], dim=2)[0].double()
    means, deviations = moments.result()
    np.testing.assert_allclose(means[0], values.mean(dim=1), atol=1e-6)
    np.testing.assert_allclose(deviations[0], values.std(dim=1, unbiased=False), atol=1e-6)


class Larger(Blocks):
    """The same, large enough for a network."""

    def read_photo(self, index: int) -> np.ndarray:
        return np.random.default_rng(index).integers(0, 255, (64, 96, 3), np.uint8)

    def read_labels(self, index: int) -> np.ndarray:
        return np.zeros((64, 96), np.uint8)


def test_a_network_reads_a_domain_and_it_is_found_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_checkpoints: Path
) -> None:
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
    checkpoint = Checkpoint.open(tiny_checkpoints / "tiny_advent")
    labelled, task = LabelledSet("blocks/val", "Blocks val", Larger()), Task(4)
    assert stored_reading(labelled, checkpoint) is None
    domain_gap._read_missing(Engine(), [(labelled, checkpoint)], task)
    assert task.done == 4
    found = stored_reading(labelled, checkpoint)
    assert found is not None
    assert found.entropy.sum() == pytest.approx(1)
    assert set(found.picture) == {0, 1, 2, 3}
    assert len(found.features) == len(found.picture) == 4 * min(domain_gap.POSITIONS, 4 * 6)  # at a stride of 16
    layers = [module for module in checkpoint.load().modules() if isinstance(module, nn.BatchNorm2d)]
    assert [len(mean) for mean in found.means] == [layer.num_features for layer in layers]
    again = read_domain(Engine(), labelled, checkpoint, Task(4))
    np.testing.assert_allclose(again.features, found.features, atol=1e-5)
    (stored,) = (tmp_path / "cache" / "gaps").iterdir()
    stored.write_bytes(b"damaged")
    assert stored_reading(labelled, checkpoint) is None


def test_a_cache_that_cannot_be_written_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_checkpoints: Path
) -> None:
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path))
    (tmp_path / "gaps").write_text("a file")
    checkpoint = Checkpoint.open(tiny_checkpoints / "tiny_advent")
    with pytest.raises(UnreadableError, match=r"cannot be stored .* Set SIM2STREET_CACHE"):
        domain_gap._read_missing(Engine(), [(LabelledSet("blocks/val", "Blocks val", Larger()), checkpoint)], Task(4))
