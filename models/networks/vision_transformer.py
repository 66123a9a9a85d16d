"""Plain timm vision transformers as encoders: one map of tokens, from which a pyramid makes four (arXiv:2010.11929).

DINOv2 (Oquab et al., 2023, arXiv:2304.07193), DINOv3 (Siméoni et al., 2025, arXiv:2508.10104) and every other model of
timm's files `vision_transformer` and `eva` can be chosen. Learned position embeddings are resampled as in DINOv2's code,
not as in timm, because VFM-UDA's weights were trained that way; rotary embeddings are timm's.

The encoder can be fully trained, frozen, or adapted by low-rank updates of the attention's matrices (LoRA).
"""

from __future__ import annotations

import math
from typing import Final, Literal, cast

import timm
import torch
from pydantic import Field
from timm.layers import LayerNorm2d
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.errors import ConfigError
from sim2street.models.options import Options
from sim2street.models.segmenter import Normalisation

FILES: Final = ("timm.models.vision_transformer", "timm.models.eva")
"""timm's modules with plain vision transformers."""
OFFSET: Final = 0.1
"""Added to the target grid before dividing by the stored one, as in DINOv2's code; it shifts the sampling positions."""

Tuning = Literal["full", "frozen", "low_rank"]


class TuningOptions(Options):
    """How much of a vision transformer is trained; other encoders are always fully trained."""

    tuning: Tuning = Field(
        default="full",
        description="For a vision transformer: full trains all of it, frozen nothing, low_rank small updates of the"
        " attention's matrices (LoRA). For rates per layer, see optimisers.segmenter.layer_decay.",
    )
    rank: int = Field(default=16, ge=1, le=1024, description="Rank of the low-rank updates.")


class LowRankLinear(nn.Linear):
    """A frozen linear layer plus a learned low-rank update, W x + B A x (Hu et al., ICLR 2022, arXiv:2106.09685, Eq. 3).

    Weight and bias keep their names, so pretrained files fit. B starts at zero, and so does the update.

    Args:
        base: the layer whose weight and bias are used and frozen.
        rank: columns of B, rows of A.
    """

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__(base.in_features, base.out_features, bias=base.bias is not None)
        self.weight, self.bias = base.weight, base.bias
        self.requires_grad_(False)
        self.down = nn.Parameter(torch.empty(rank, base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, input: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return super().forward(input) + F.linear(F.linear(input, self.down), self.up)


class VisionTransformer(nn.Module):
    """A plain vision transformer of timm: normalised (B, 3, H, W) -> patch tokens after the last norm, (B, D, h, w).

    Args:
        name: the model's name in timm, with or without a weight tag.
        drop_path: stochastic depth of the last block.
        tuning: see `TuningOptions`.
        rank: see `TuningOptions`.
        masks: whether there is a learned mask token for hidden patches.

    Raises:
        ConfigError: timm has no such model, it is not a plain vision transformer, or it cannot be tuned that way.
    """

    def __init__(
        self, name: str, drop_path: float = 0.0, *, tuning: Tuning = "full", rank: int = 16, masks: bool = False
    ) -> None:
        super().__init__()
        if not is_plain(name):
            raise ConfigError(
                f"{name[:60]!r} is not a plain timm vision transformer; expected a name such as"
                " vit_base_patch14_dinov2, vit_base_patch16_dinov3 or vit_tiny_patch16_224."
            )
        self.name = name
        self.net = cast(
            TimmVisionTransformer | Eva,
            timm.create_model(
                name, pretrained=False, num_classes=0, global_pool="", dynamic_img_size=True, drop_path_rate=drop_path
            ),
        )
        self.width = int(self.net.embed_dim)
        self.patch = cast(tuple[int, int], self.net.patch_embed.patch_size)[0]
        self.mask_token = nn.Parameter(torch.zeros(1, self.width)) if masks else None
        if masks and not isinstance(self.net, TimmVisionTransformer):
            raise ConfigError(f"{name} has no learned position embedding, so its patches cannot be hidden here.")
        self._tune(tuning, rank)

    def _tune(self, tuning: Tuning, rank: int) -> None:
        if tuning == "full":
            return
        self.requires_grad_(False)
        if tuning == "frozen":
            return
        for block in self.net.blocks:
            attention = cast(nn.Module, block.attn)
            if (
                not isinstance(getattr(attention, "qkv", None), nn.Linear)
                or getattr(attention, "q_bias", None) is not None
            ):
                raise ConfigError(
                    f"{self.name} has separate attention matrices, which tuning low_rank does not support. Choose the"
                    " model without _qkvb in its name, or the tuning full or frozen."
                )
            attention.qkv = LowRankLinear(cast(nn.Linear, attention.qkv), rank)
            attention.proj = LowRankLinear(cast(nn.Linear, attention.proj), rank)

    def forward(self, images: Tensor, hide: float = 0.0) -> Tensor:
        """Encode images whose sides are multiples of the patch.

        Args:
            images: (B, 3, H, W), normalised.
            hide: share of the patches that the mask token replaces, drawn independently.

        Raises:
            ConfigError: a side is not a multiple of the patch.
        """
        height, width = images.shape[-2:]
        if height % self.patch or width % self.patch:
            raise ConfigError(
                f"{self.name} cuts images into patches of {self.patch}x{self.patch} pixels, but this one measures"
                f" {width}x{height}. Resize it to multiples of {self.patch}, such as"
                f" {'x'.join(str(to_multiple(side, self.patch)) for side in (width, height))}."
            )
        grid = height // self.patch, width // self.patch
        tokens = self._tokens(images, grid, hide)[:, self.net.num_prefix_tokens :]
        return tokens.transpose(1, 2).unflatten(2, grid).contiguous()

    def _tokens(self, images: Tensor, grid: tuple[int, int], hide: float) -> Tensor:
        """All tokens after the last norm, (B, prefix + h w, D)."""
        net = self.net
        if not isinstance(net, TimmVisionTransformer):
            return net.forward_features(images)
        tokens = net.patch_embed(images).flatten(1, 2)
        if hide:
            assert self.mask_token is not None, "the network was built without a mask token"
            tokens, _ = hide_tokens(tokens, self.mask_token, hide)
        return net.norm(net.blocks(net.norm_pre(net.patch_drop(self._placed(tokens, grid)))))

    def _placed(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Patch tokens with class and register tokens in front and positions added."""
        net = cast(TimmVisionTransformer, self.net)
        prefix = [each.expand(len(tokens), -1, -1) for each in (net.cls_token, net.reg_token) if each is not None]
        if net.pos_embed is None:
            return torch.cat([*prefix, tokens], dim=1)
        positions = self.positions(grid).to(tokens.dtype)
        if net.no_embed_class:
            return net.pos_drop(torch.cat([*prefix, tokens + positions], dim=1))
        return net.pos_drop(torch.cat([*prefix, tokens], dim=1) + positions)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """The position embedding for a grid of (h, w) patches, (1, prefix + h w, D); prefix tokens have theirs first."""
        net = cast(TimmVisionTransformer, self.net)
        stored = cast(Tensor, net.pos_embed)
        native = cast(tuple[int, int], net.patch_embed.grid_size)
        if grid == tuple(native):
            return stored
        prefix = 0 if net.no_embed_class else net.num_prefix_tokens
        maps = stored[:, prefix:].transpose(1, 2).unflatten(2, native)
        factors = [(wanted + OFFSET) / side for wanted, side in zip(grid, native, strict=True)]
        resampled = F.interpolate(maps.float(), scale_factor=factors, mode="bicubic").flatten(2).transpose(1, 2)
        return torch.cat([stored[:, :prefix], resampled.to(stored.dtype)], dim=1)

    @property
    def added(self) -> frozenset[str]:
        """Keys of `net` that timm's model does not have."""
        return frozenset(
            f"{name}.{part}"
            for name, module in self.net.named_modules()
            if isinstance(module, LowRankLinear)
            for part in ("down", "up")
        )

    def layers(self) -> tuple[list[nn.Parameter], ...]:
        """Parameters from the input to the output: the embeddings, each block, what follows; for layer-wise decay."""
        blocks = [list(block.parameters()) for block in self.net.blocks]
        in_blocks = {id(parameter) for block in blocks for parameter in block}
        behind = list(self.net.norm.parameters())
        known = in_blocks | {id(parameter) for parameter in behind}
        return [parameter for parameter in self.parameters() if id(parameter) not in known], *blocks, behind


class Pyramid(nn.Module):
    """One map of tokens -> maps at 4, 2, 1 and 1/2 times its resolution (ViTDet, Li et al., ECCV 2022, arXiv:2203.16527).

    Args:
        width: channels D of the tokens; the maps have D/4, D/2, D and D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dims = (width // 4, width // 2, width, width)
        self.fourth = nn.Sequential(
            nn.ConvTranspose2d(width, width // 2, 2, stride=2),
            LayerNorm2d(width // 2, eps=1e-6),
            nn.GELU(),
            nn.ConvTranspose2d(width // 2, width // 4, 2, stride=2),
        )
        self.eighth = nn.ConvTranspose2d(width, width // 2, 2, stride=2)

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """(B, D, h, w) -> four maps, the largest first."""
        return [self.fourth(tokens), self.eighth(tokens), tokens, F.max_pool2d(tokens, 2, ceil_mode=True)]


def hide_tokens(tokens: Tensor, mask_token: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Replace patch tokens (B, N, D) by the mask token (1, D), each with probability `share`.

    Returns:
        The tokens, and which of them are hidden, (B, N) bool.
    """
    hidden = torch.rand(tokens.shape[:2], device=tokens.device) < share
    return torch.where(hidden[..., None], mask_token.to(tokens.dtype)[None], tokens), hidden


def is_plain(name: str) -> bool:
    """Whether timm has a plain vision transformer of this name."""
    return timm.is_model(name) and timm.model_entrypoint(name.split(".")[0]).__module__ in FILES


def to_multiple(side: int, patch: int) -> int:
    """The multiple of the patch nearest to a side, at least one patch."""
    return max(1, round(side / patch)) * patch


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, D, H, W) -> bilinear to (height, width), without aligned corners or antialiasing; unchanged at that size."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


def normalisation_of(name: str) -> Normalisation | None:
    """Mean and standard deviation with which timm's weights of a model were trained; None if timm does not know."""
    config = timm.get_pretrained_cfg(name)
    if config is None or config.mean is None or config.std is None:
        return None
    mean, std = tuple(map(float, config.mean)), tuple(map(float, config.std))
    return Normalisation(mean=cast(tuple[float, float, float], mean), std=cast(tuple[float, float, float], std))
