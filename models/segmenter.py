"""Segmenter, the one interface of all networks.

A segmenter takes RGB in [0,1] and owns its normalisation, so that a caffe-style BGR network and an ImageNet-style
one look alike from outside. `core` is the bare network on normalised input, for importers and parity tests.

Shapes: B batch, C classes, H x W image, h x w features at the network's own stride.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.errors import ConfigError
from sim2street.models.label_space import LabelSpace


@dataclass(frozen=True)
class Normalisation:
    """What a network expects of its input: `(channels(image) * scale - mean) / std`, per channel in `order`.

    Attributes:
        mean: per channel, in `order`, in units of `scale`.
        std: per channel, in `order`, in units of `scale`.
        scale: factor on an image in [0,1]; 255 for networks that saw bytes.
        order: channel order that the network was trained with.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    scale: float = 1.0
    order: Literal["rgb", "bgr"] = "rgb"

    def tensors(self) -> tuple[Tensor, Tensor]:
        """`mean` and `std`, each (1, 3, 1, 1)."""
        return torch.tensor(self.mean).view(1, 3, 1, 1), torch.tensor(self.std).view(1, 3, 1, 1)


IMAGENET = Normalisation()
CAFFE = Normalisation(mean=(104.00698793, 116.66876762, 122.67891434), std=(1.0, 1.0, 1.0), scale=255.0, order="bgr")
"""Input of the ADVENT and AdaptSegNet networks (both repositories' loaders: BGR bytes minus mean)."""


@dataclass(frozen=True)
class SegmenterOutput:
    """What a segmenter says of a batch.

    Attributes:
        logits: (B, C, H, W) at image size.
        auxiliary: (B, C, H, W) of the auxiliary head at image size, or None where the network has none.
        features: deepest feature maps by name, each (B, D, h, w).
    """

    logits: Tensor
    auxiliary: Tensor | None = None
    features: dict[str, Tensor] = field(default_factory=dict)


class Core(nn.Module):
    """A bare network on normalised input; what a method may ask of it is said here.

    `forward` takes (B, 3, H, W) and returns a dict with `main` (B, C, h, w), with `aux` (B, C, h, w) where there is an
    auxiliary head, and with feature maps `stage1` ... `stage4` (FCN-8s also `fc7`).

    Attributes:
        has_encoder: whether encoder and head are apart, so that `encode` gives the stages without the cost of a head.
        multiple: pixels by which both sides of a photo should be divisible; the predictor rounds them.
    """

    has_encoder: ClassVar[bool] = False
    multiple: int = 1

    @property
    def has_auxiliary(self) -> bool:
        """Whether there is an auxiliary head."""
        return False

    def drop_auxiliary(self) -> None:
        """Leave out the auxiliary head, if there is one, since prediction does not read it."""

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised (B, 3, H, W) -> the feature maps alone.

        Raises:
            ConfigError: the network has no encoder that can be asked by itself.
        """
        raise ConfigError(f"{type(self).__name__} has no encoder that can be used without its head.")

    def heads(self) -> tuple[nn.Module, ...]:
        """The freshly initialised parts, which learn at a multiple of the encoder's rate; none where all learn alike."""
        return ()

    def layers(self) -> tuple[list[nn.Parameter], ...]:
        """The encoder's parameters, layer by layer from the input on, for layer-wise decay; none where it has no order."""
        return ()


class Segmenter(nn.Module):
    """A core network with its label space, normalisation and way of upsampling.

    Args:
        core: the bare network.
        labels: the space of the C classes.
        normalisation: applied to RGB in [0,1].
        align_corners: how logits are upsampled to image size; the authors of the DeepLabV2 line say True, those
            of the transformer line False.
    """

    def __init__(
        self,
        core: Core,
        labels: LabelSpace,
        normalisation: Normalisation = IMAGENET,
        *,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.core = core
        self.labels = labels
        self.normalisation = normalisation
        self.align_corners = align_corners
        self.mean: Tensor
        self.std: Tensor
        # Not part of the weights: a checkpoint rebuilds them from its config.
        for name, value in zip(("mean", "std"), normalisation.tensors(), strict=True):
            self.register_buffer(name, value, persistent=False)

    def normalise(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0,1] -> what `core` expects."""
        if self.normalisation.order == "bgr":
            images = images.flip(1)
        return (images * self.normalisation.scale - self.mean) / self.std

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) RGB in [0,1] -> feature maps `stage1` ... `stage4`, without the cost of a head."""
        return self.core.encode(self.normalise(images))

    def forward(self, images: Tensor) -> SegmenterOutput:
        """(B, 3, H, W) RGB in [0,1] -> logits at image size."""
        size = images.shape[-2:]
        outputs = self.core(self.normalise(images))
        auxiliary = outputs.get("aux")
        return SegmenterOutput(
            logits=self.upsample(outputs["main"], size),
            auxiliary=None if auxiliary is None else self.upsample(auxiliary, size),
            features={name: value for name, value in outputs.items() if name.startswith("stage") or name == "fc7"},
        )

    def upsample(self, logits: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
        """Bilinear to (height, width), the way this network was trained."""
        return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=self.align_corners)
