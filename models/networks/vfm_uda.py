"""VFM-UDA's network: a vision foundation model and a light head (Englert et al., CVPRW 2024, arXiv:2406.09896).

The head upscales the last layer's tokens twice with transposed convolutions and classifies them. After normalisation, each
square crop of `size` pixels is enlarged to 1.1 times that, rounded down to whole patches.
"""

from __future__ import annotations

import math
from typing import Final

from pydantic import Field
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from sim2street.models.labels import LabelSpace
from sim2street.models.networks.entry import NetworkEntry
from sim2street.models.networks.vision_transformer import (
    TuningOptions,
    VisionTransformer,
    normalisation_of,
    resized,
)
from sim2street.models.segmenter import IMAGENET, Core, Segmenter

ENLARGEMENT: Final = 1.1
"""Enlargement of the crop before it is cut into patches."""


class VFMUDANetworkOptions(TuningOptions):
    """Options of `vfm_uda`; the defaults are the paper's larger network."""

    encoder: str = Field(
        default="vit_large_patch14_dinov2",
        description="A vision transformer of timm with learned position embeddings; vit_base_patch14_dinov2 is the"
        " paper's smaller one.",
    )
    size: int = Field(
        default=1024,
        ge=28,
        le=4096,
        description="Side of the square crops in pixels. Every image is resized to about the corresponding area.",
    )
    drop_path: float = Field(default=0.0, ge=0, lt=1, description="Stochastic depth of the last block.")


class LightHead(nn.Module):
    """Tokens (B, D, h, w) -> logits (B, K, 4h, 4w)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.upscale = nn.Sequential(
            nn.ConvTranspose2d(width, width // 2, 2, stride=2, bias=False),
            LayerNorm2d(width // 2, eps=1e-6),
            nn.GELU(),
            nn.ConvTranspose2d(width // 2, width // 4, 2, stride=2, bias=False),
            LayerNorm2d(width // 4, eps=1e-6),
            nn.Conv2d(width // 4, width // 4, 3, padding=1, bias=False),
            LayerNorm2d(width // 4, eps=1e-6),
        )
        self.classify = nn.Conv2d(width // 4, classes, 1, bias=False)
        nn.init.normal_(self.classify.weight, std=0.1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Upscale twice, classify."""
        return self.classify(self.upscale(tokens))


class VFMUDANetwork(Core):
    """Normalised (B, 3, H, W) -> `stage4`, the tokens, and `main` at a stride of 3.2 (patches of 14)."""

    has_encoder = True

    def __init__(self, encoder: VisionTransformer, head: LightHead, size: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.side = max(encoder.patch, encoder_side(size, encoder.patch))

    def encode(self, images: Tensor, hide: float = 0.0) -> dict[str, Tensor]:
        """Only the tokens; `hide` as in `VisionTransformer`."""
        size = input_size((images.shape[-2], images.shape[-1]), self.side, self.encoder.patch)
        return {"stage4": self.encoder(resized(images, size), hide)}

    def forward(self, images: Tensor, hide: float = 0.0) -> dict[str, Tensor]:
        """Tokens and logits at their native strides."""
        features = self.encode(images, hide)
        return {**features, "main": self.head(features["stage4"])}

    def heads(self) -> tuple[nn.Module, ...]:
        """The head, which learns at ten times the encoder's rate."""
        return (self.head,)

    def layers(self) -> tuple[list[nn.Parameter], ...]:
        """The encoder's parameters from input to output."""
        return self.encoder.layers()


def encoder_side(size: int, patch: int) -> int:
    """Side in pixels to which a square crop of `size` is enlarged: 1120 for 1024 and patches of 14."""
    return int(ENLARGEMENT * size / patch) * patch


def input_size(size: tuple[int, int], side: int, patch: int) -> tuple[int, int]:
    """(height, width) at which the encoder sees an image: `side` for squares, the same area at their aspect ratio otherwise.

    The authors only use squares. With the area fixed, no image costs more than a square.
    """
    height, width = size
    shape = math.sqrt(height / width)
    whole = int(side * side // (patch * patch))
    rows = min(whole, max(1, round(side * shape / patch)))
    columns = max(1, min(whole // rows, round(side / shape / patch)))
    return rows * patch, columns * patch


def vfm_uda(labels: LabelSpace, options: VFMUDANetworkOptions | None = None) -> Segmenter:
    """Build the segmenter; weights are random until a checkpoint is loaded.

    Raises:
        ConfigError: as `VisionTransformer`.
    """
    options = options or VFMUDANetworkOptions()
    encoder = VisionTransformer(
        options.encoder, options.drop_path, tuning=options.tuning, rank=options.rank, masks=True
    )
    core = VFMUDANetwork(encoder, LightHead(encoder.width, labels.count), options.size)
    return Segmenter(core, labels, normalisation_of(options.encoder) or IMAGENET, align_corners=False)


ENTRY: Final = NetworkEntry(
    name="vfm_uda",
    title="VFM-UDA",
    paper="Englert, Piva, Kerssies, de Geus, Dubbelman. Exploring the Benefits of Vision Foundation Models for"
    " Unsupervised Domain Adaptation. CVPR Workshops 2024. arXiv:2406.09896",
    encoder=lambda options: options.encoder,
    options=VFMUDANetworkOptions,
    build=vfm_uda,
)
