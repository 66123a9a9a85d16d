"""EoMT: a plain vision transformer that is its own mask classifier (Kerssies et al., CVPR 2025, arXiv:2503.19108).

Learned queries join the tokens for the last blocks. Each query then predicts a class, or "no class", and a mask:

    score(c, pixel) = Σ over queries of softmax(class logits)[c] · sigmoid(mask logits)[pixel]

`main` is the logarithm of that score, so its softmax is the score divided by its sum over the classes. This distribution was
not trained: its entropy is comparable to that of another mask classifier, not to that of a per-pixel softmax.
"""

from __future__ import annotations

from typing import Final, cast

import timm
import torch
from pydantic import Field, model_validator
from timm.layers import LayerNorm2d
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer
from torch import Tensor, nn

from sim2street.models.errors import ConfigError
from sim2street.models.labels import LabelSpace
from sim2street.models.networks.entry import NetworkEntry
from sim2street.models.networks.vision_transformer import resized
from sim2street.models.options import Options
from sim2street.models.segmenter import Core, Segmenter

SMALLEST: Final = 1e-12
"""Scores are clamped to this value before the logarithm."""


class EoMTOptions(Options):
    """Options of `eomt`; the defaults are the released Cityscapes network."""

    encoder: str = Field(
        default="vit_large_patch14_reg4_dinov2",
        description="A timm vision transformer whose position embedding is added to patches only.",
    )
    size: int = Field(default=1024, ge=32, le=4096, description="Side of the square images; the grid is fixed to it.")
    patch: int = Field(default=16, ge=4, le=64, description="Side of a patch.")
    queries: int = Field(default=100, ge=1, le=1000, description="Number of proposed masks.")
    query_blocks: int = Field(
        default=4, ge=1, le=64, description="Number of last blocks in which the queries take part."
    )
    masked_attention: bool = Field(
        default=False,
        description="Whether queries attend only to the patches of their current masks; the end of training does without.",
    )

    @model_validator(mode="after")
    def _fits_the_grid(self) -> EoMTOptions:
        if self.size % self.patch:
            near = max(1, round(self.size / self.patch)) * self.patch
            raise ValueError(f"size {self.size} is not a multiple of the patch size {self.patch}; choose {near}")
        return self


class Upscale(nn.Module):
    """Twice the resolution: (B, D, h, w) -> (B, D, 2h, 2w)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.act = nn.GELU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm = LayerNorm2d(width, eps=1e-6)

    def forward(self, maps: Tensor) -> Tensor:
        """Transposed convolution, GELU, depth-wise convolution, norm over channels."""
        return self.norm(self.conv2(self.act(self.conv1(maps))))


class EoMTNetwork(Core):
    """Normalised (B, 3, H, W) -> `stage4`, the patch tokens; class and mask logits of the queries; `main`."""

    has_encoder = False

    def __init__(self, net: TimmVisionTransformer, classes: int, options: EoMTOptions) -> None:
        super().__init__()
        width = int(net.embed_dim)
        self.encoder = net
        self.size = (options.size, options.size)
        side = options.size // options.patch
        self.grid = (side, side)
        self.first = len(net.blocks) - options.query_blocks
        self.masked = options.masked_attention
        self.queries = nn.Embedding(options.queries, width)
        self.class_head = nn.Linear(width, classes + 1)
        self.mask_head = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.upscale = nn.Sequential(Upscale(width), Upscale(width))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Resize images to the fixed grid's size; `main` has that size."""
        net = self.encoder
        tokens = net.norm_pre(net.patch_drop(net._pos_embed(net.patch_embed(resized(images, self.size)))))
        for block in net.blocks[: self.first]:
            tokens = block(tokens)
        tokens = torch.cat([self.queries.weight.expand(len(tokens), -1, -1), tokens], dim=1)
        for block in net.blocks[self.first :]:
            visible = self._visible(tokens) if self.masked else None
            tokens = block(tokens, attn_mask=visible)
        tokens = net.norm(tokens)
        classes, masks = self.propose(tokens)
        return {
            "stage4": self._maps(tokens),
            "prefix": tokens[:, self.queries.num_embeddings : -self.grid[0] * self.grid[1]],
            "queries": tokens[:, : self.queries.num_embeddings],
            "classes": classes,
            "masks": masks,
            "main": scores(classes, resized(masks, self.size)).clamp_min(SMALLEST).log(),
        }

    def propose(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised tokens -> class logits (B, Q, K + 1), the last for "no class", and mask logits (B, Q, 4h, 4w)."""
        queries = tokens[:, : self.queries.num_embeddings]
        masks = torch.einsum("bqd,bdhw->bqhw", self.mask_head(queries), self.upscale(self._maps(tokens)))
        return self.class_head(queries), masks

    def heads(self) -> tuple[nn.Module, ...]:
        """Everything except the encoder."""
        return self.queries, self.class_head, self.mask_head, self.upscale

    def _maps(self, tokens: Tensor) -> Tensor:
        """The patch tokens as (B, D, h, w)."""
        return tokens[:, -self.grid[0] * self.grid[1] :].transpose(1, 2).unflatten(2, self.grid).contiguous()

    def _visible(self, tokens: Tensor) -> Tensor:
        """Which tokens each token attends to, (B, 1, N, N): queries do not see patches outside their current masks."""
        _, masks = self.propose(self.encoder.norm(tokens))
        count, patches = self.queries.num_embeddings, self.grid[0] * self.grid[1]
        visible = torch.ones(len(tokens), 1, tokens.shape[1], tokens.shape[1], dtype=torch.bool, device=tokens.device)
        visible[:, 0, :count, -patches:] = resized(masks, self.grid).flatten(2) > 0
        return visible


def scores(classes: Tensor, masks: Tensor) -> Tensor:
    """Class logits (B, Q, K + 1) and mask logits (B, Q, H, W) -> (B, K, H, W), from 0 to Q."""
    return torch.einsum("bqk,bqhw->bkhw", classes.softmax(dim=-1)[..., :-1], masks.sigmoid())


def eomt(labels: LabelSpace, options: EoMTOptions | None = None) -> Segmenter:
    """Build the segmenter; weights are random until a checkpoint is loaded.

    Raises:
        ConfigError: timm has no such vision transformer, or it has fewer blocks than `query_blocks`.
    """
    options = options or EoMTOptions()
    refused = f"{options.encoder[:60]!r} cannot be EoMT's encoder; expected a timm vision transformer such as"
    example = "vit_base_patch14_reg4_dinov2."
    if not timm.is_model(options.encoder):
        raise ConfigError(f"{refused} {example}")
    try:
        net = timm.create_model(
            options.encoder, pretrained=False, num_classes=0, img_size=options.size, patch_size=options.patch
        )
    except (TypeError, RuntimeError, AssertionError) as error:  # raised by timm's constructors for unknown options
        raise ConfigError(f"{refused} {example} timm says: {error}") from error
    if not isinstance(net, TimmVisionTransformer) or len(net.blocks) < options.query_blocks:
        raise ConfigError(f"{refused} {example}")
    return Segmenter(EoMTNetwork(cast(TimmVisionTransformer, net), labels.count, options), labels)


ENTRY: Final = NetworkEntry(
    name="eomt",
    title="EoMT",
    paper="Kerssies, Cavagnero, Hermans, Norouzi, Averta, Leibe, Dubbelman, de Geus. Your ViT is Secretly an Image"
    " Segmentation Model. CVPR 2025. arXiv:2503.19108",
    encoder=lambda options: options.encoder,
    options=EoMTOptions,
    build=eomt,
    classifies_masks=True,
)
