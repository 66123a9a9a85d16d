"""Batch k is a function of seed and k alone, holds what its settings say, and never a label of the target."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from sim2street.models.errors import ConfigError, DatasetError
from sim2street.models.labels import CAMVID11, CITYSCAPES19, LabelSpace
from sim2street.training.datasets.base import SegmentationDataset
from sim2street.training.datasets.pairs import DomainPairs, PairsConfig
from sim2street.training.datasets.statistics import RareClassSampler, RareClassSampling
from sim2street.training.datasets.transforms import AUGMENTS, RandomCrop, TransformConfig
from sim2street.training.pair import DomainPair

WIDTH, HEIGHT = 64, 48


class Numbered(SegmentationDataset):
    """Photos whose red is their index, green x and blue y; labels repeat x // 8, and a rare class in few places."""

    name = "numbered"

    def __init__(
        self,
        count: int = 10,
        *,
        space: LabelSpace = CITYSCAPES19,
        labelled: bool = True,
        offset: int = 0,
        rare: tuple[int, ...] = (),
        widths: tuple[int, ...] = (WIDTH,),
    ) -> None:
        self.keys = tuple(f"{index}" for index in range(count))
        self.labels = space
        self.labelled = labelled
        self.offset = offset
        self.rare = rare
        self.widths = widths

    @property
    def slug(self) -> str:
        return f"numbered_{len(self)}_{len(self.rare)}"

    def read_photo(self, index: int) -> np.ndarray:
        y, x = np.mgrid[:HEIGHT, : self.widths[index % len(self.widths)]].astype(np.uint8)
        return np.stack([np.full_like(x, index + self.offset), x, y], axis=2)

    def read_labels(self, index: int) -> np.ndarray:
        if not self.labelled:
            raise AssertionError("labels of the target were read")
        labels = self.read_photo(index)[..., 1] // 8
        if index in self.rare:
            labels[10:20, 20:30] = 18
        return labels

    def fingerprint(self) -> str:
        return f"{len(self)}-{self.labels.name}-{self.offset}-{self.rare}"

    def describe(self) -> str:
        return "numbered photos"


def numbers(images: torch.Tensor) -> list[int]:
    """Indices of the photos in a batch."""
    return (images[:, 0, 0, 0] * 255).round().int().tolist()


def equal(first: DomainPair, second: DomainPair) -> bool:
    return (
        torch.equal(first.source_images, second.source_images)
        and torch.equal(first.source_labels, second.source_labels)
        and torch.equal(first.target_images, second.target_images)
        and first.source_members == second.source_members
    )


BUSY = PairsConfig(
    batch=3,
    source=TransformConfig(scale=(0.7, 1.4), crop=(32, 24), cat_max_ratio=0.75, flip=0.5, augment=AUGMENTS["strong"]),
    target=TransformConfig(crop=(40, 32), flip=0.5, augment=AUGMENTS["plain"]),
)
CROPPED = PairsConfig(batch=2, source=TransformConfig(crop=(32, 24), flip=0.5), target=TransformConfig(crop=(40, 32)))
PLAIN = PairsConfig(batch=2)


def build(config: PairsConfig = BUSY, seed: int = 0, **options) -> DomainPairs:
    sources = [(Numbered(10), 3.0), (Numbered(5, space=CAMVID11, offset=100), 1.0)]
    return DomainPairs(sources, Numbered(7, labelled=False, offset=200), config, seed, **options)


def test_shapes_types_and_ranges():
    pair = build()[0]
    assert pair.source_images.shape == (3, 3, 24, 32)
    assert pair.source_labels.shape == (3, 24, 32)
    assert pair.target_images.shape == (3, 3, 32, 40)
    assert pair.source_images.dtype == pair.target_images.dtype == torch.float32
    assert pair.source_labels.dtype == torch.int64
    assert pair.source_images.is_contiguous()
    assert pair.source_images.min() >= 0
    assert pair.source_images.max() <= 1
    assert not any("target_label" in name for name in vars(pair))


def test_labels_lie_on_their_pixels():
    for k in range(10):
        pair = build(CROPPED)[k]
        assert torch.equal(pair.source_labels, (pair.source_images[:, 1] * 255).round().long() // 8)


def test_a_batch_depends_on_seed_and_number_alone():
    forwards = [build()[k] for k in range(4)]
    again = build()
    backwards = [again[k] for k in reversed(range(4))][::-1]
    assert all(map(equal, forwards, backwards))
    assert not equal(forwards[0], forwards[1])
    assert not equal(forwards[0], build(seed=1)[0])


def test_streams_are_equal_for_any_number_of_workers_and_resume():
    alone = list(itertools.islice(build().stream(), 7))
    assert all(equal(pair, build()[k]) for k, pair in enumerate(alone))
    shared = build().stream(workers=2)
    assert all(map(equal, alone, itertools.islice(shared, 7)))
    del shared
    resumed = build().stream(4, workers=1)
    assert all(map(equal, alone[4:], itertools.islice(resumed, 3)))


def test_ranks_share_one_global_stream():
    single = build(PairsConfig(batch=6, source=BUSY.source, target=BUSY.target))[2]
    ranks = [build(rank=rank, ranks=2)[2] for rank in range(2)]
    joined = DomainPair(
        torch.cat([pair.source_images for pair in ranks]),
        torch.cat([pair.source_labels for pair in ranks]),
        torch.cat([pair.target_images for pair in ranks]),
        ranks[0].source_members + ranks[1].source_members,
    )
    assert equal(single, joined)


def test_every_picture_comes_once_before_any_twice():
    target = list(itertools.chain(*(numbers(build(PLAIN)[k].target_images) for k in range(14))))
    for turn in range(4):
        assert sorted(target[7 * turn : 7 * turn + 7]) == list(range(200, 207))
    assert target[:7] != target[7:14]


def test_sources_are_mixed_by_weight_and_carry_their_space():
    pairs = build(PairsConfig(batch=50))
    found = Counter()
    for k in range(8):
        pair = pairs[k]
        for number, space in zip(numbers(pair.source_images), pair.source_members, strict=True):
            assert space == (CAMVID11.members_in(CITYSCAPES19) if number >= 100 else None)
            found[space] += 1
    assert found[None] / 400 == pytest.approx(0.75, abs=0.08)
    never = DomainPairs([(Numbered(3), 1.0), (Numbered(3, offset=100), 0.0)], None, PairsConfig(batch=100))
    assert max(numbers(never[0].source_images)) < 3


def test_the_source_alone_has_empty_targets():
    pair = DomainPairs([(Numbered(), 1.0)], None, CROPPED)[3]
    assert pair.target_images.shape == (0, 3, 24, 32)
    assert pair.target_images.dtype == torch.float32


def test_the_target_does_not_change_with_the_source():
    config = PairsConfig(batch=3, source=TransformConfig(crop=(16, 16)), target=BUSY.target)
    assert torch.equal(build()[5].target_images, build(config)[5].target_images)


def test_rare_classes_are_sought(tmp_path):
    dataset = Numbered(40, rare=(3, 17))
    config = PairsConfig(
        batch=4,
        source=TransformConfig(crop=(16, 16)),
        sampling="rare_class",
        rare_class=RareClassSampling(temperature=0.01, minimum_pixels=50, crop_pixels=40),
    )
    pairs = DomainPairs([(dataset, 1.0)], None, config, cache=tmp_path)
    shown = holding = 0
    for k in range(25):
        pair = pairs[k]
        shown += sum(number in (3, 17) for number in numbers(pair.source_images))
        holding += int(((pair.source_labels == 18).flatten(1).sum(1) > 40).sum())
    sampler = pairs._samplers[0]
    probability = sampler.probabilities[sampler.classes.tolist().index(18)]  # type: ignore[union-attr]
    assert probability > 0.7
    assert shown / 100 == pytest.approx(probability, abs=0.15)
    assert holding > 0.8 * shown
    uniform = DomainPairs([(dataset, 1.0)], None, PairsConfig(batch=40))
    assert sum(number in (3, 17) for number in numbers(uniform[0].source_images)) == 2


def test_crops_are_drawn_until_the_class_is_there(tmp_path, monkeypatch):
    """One crop at least, eleven at most, as the published code counts them."""
    crops = []
    original = RandomCrop.__call__
    monkeypatch.setattr(RandomCrop, "__call__", lambda *a: crops.append(1) or original(*a))
    config = PairsConfig(
        source=TransformConfig(crop=(16, 16)),
        sampling="rare_class",
        rare_class=RareClassSampling(minimum_pixels=50, crop_pixels=40),
    )
    pairs = DomainPairs([(Numbered(4, rare=(1,)), 1.0)], None, config, cache=tmp_path)
    for refusals in (0, 1, 3, 10, 99):
        answers = iter([False] * refusals + [True] * 20)
        monkeypatch.setattr(RareClassSampler, "accepts", lambda *a, answers=answers: next(answers))
        crops.clear()
        pairs[0]
        assert len(crops) == min(refusals, 10) + 1


def test_log_inverse_draws_every_picture(tmp_path):
    config = PairsConfig(batch=60, sampling="rare_class", rare_class=RareClassSampling("log_inverse"))
    pairs = DomainPairs([(Numbered(5, rare=(2,)), 1.0)], None, config, cache=tmp_path)
    found = Counter(numbers(pairs[0].source_images))
    assert set(found) == set(range(5))


def test_photos_of_several_sizes_need_a_crop_or_a_resize():
    sources = [(Numbered(widths=(64, 72)), 1.0)]
    with pytest.raises(ConfigError, match=r"64×48 and 72×48 pixels and cannot be batched; set a resize or crop"):
        DomainPairs(sources, None, PairsConfig(batch=8))[0]
    for transform in (TransformConfig(resize=(32, 24)), TransformConfig(crop=(32, 24))):
        assert DomainPairs(sources, None, PairsConfig(batch=8, source=transform))[0].source_images.shape[2:] == (24, 32)


def test_errors_keep_their_sentence_through_workers():
    stream = DomainPairs([(Numbered(widths=(64, 72)), 1.0)], None, PairsConfig(batch=8)).stream(workers=1)
    with pytest.raises(ConfigError, match=r"^Photos of the source measure"):
        next(stream)


@pytest.mark.parametrize(
    ("sources", "options", "error", "words"),
    [
        ([], {}, ConfigError, "at least one above 0"),
        ([(Numbered(), 0.0)], {}, ConfigError, "at least one above 0"),
        ([(Numbered(), -1.0)], {}, ConfigError, "at least one above 0"),
        ([(Numbered(), 1.0)], {"rank": 2, "ranks": 2}, ConfigError, "expected 0 to 1"),
        ([(Numbered(labelled=False), 1.0)], {}, DatasetError, "cannot be a source"),
    ],
)
def test_impossible_streams_are_refused(sources, options, error, words):
    with pytest.raises(error, match=words):
        DomainPairs(sources, None, PairsConfig(), **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch": 0}, "batch"),
        ({"sampling": "hard"}, "sampling"),
        ({"target": TransformConfig(crop=(8, 8), cat_max_ratio=0.75)}, "it needs labels"),
    ],
)
def test_impossible_settings_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        PairsConfig(**options)


def test_negative_batches_do_not_exist():
    with pytest.raises(IndexError):
        build()[-1]


def test_a_pair_checks_its_shapes():
    images, labels = torch.zeros(2, 3, 4, 6), torch.zeros(2, 4, 6, dtype=torch.int64)
    pair = DomainPair(images, labels, images[:0], (None,) * 2)
    assert torch.equal(pair.to("cpu").source_labels, labels)
    for changed in (
        {"source_labels": labels[:, :3]},
        {"source_labels": labels.int()},
        {"source_images": images[:, :2]},
        {"target_images": images[0]},
        {"source_members": (None,)},
        {"target_images": images.long()},
    ):
        with pytest.raises(ValueError, match=r"."):
            DomainPair(**{**vars(pair), **changed})
