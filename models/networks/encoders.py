"""Encoders for segmentation heads: the papers' Mix Transformer, or any timm model, including plain vision transformers.

A head only sees `stage1`..`stage4`, maps at strides 4, 8, 16 and 32. `dims` are their channels, and `normalisation` is what
the encoder's weights expect of an image.
"""

from __future__ import annotations

from typing import Any, Final, cast

import timm
from pydantic import Field, model_validator
from timm.layers.conv2d_same import Conv2dSame
from timm.models import FeatureListNet
from torch import Tensor, nn

from sim2street.models.errors import ConfigError
from sim2street.models.networks.entry import with_width
from sim2street.models.networks.mix_transformer import MixTransformer, MixTransformerOptions
from sim2street.models.networks.vision_transformer import (
    Pyramid,
    TuningOptions,
    VisionTransformer,
    is_plain,
    normalisation_of,
    resized,
    to_multiple,
)
from sim2street.models.segmenter import IMAGENET, Normalisation

STAGES: Final = ("stage1", "stage2", "stage3", "stage4")
STRIDES: Final = (4, 8, 16, 32)
"""Pixels per cell of the four stages, as the heads of SegFormer, DAFormer and HRDA expect them."""
TITLES: Final = {f"tf_efficientnet_lite{size}": f"EfficientNet-Lite{size}" for size in range(5)}
"""Models that timm names differently from their authors, with the authors' names."""


class EncoderOptions(MixTransformerOptions, TuningOptions):
    """Options of an encoder; without `encoder`, those of the Mix Transformer."""

    encoder: str = Field(
        default="",
        description="A timm model with feature maps, such as tf_efficientnet_lite0, or a plain vision transformer, such"
        " as vit_base_patch14_dinov2, in place of the Mix Transformer;"
        " `variant`, `width` and `norm_epsilon` apply to the Mix Transformer only.",
    )

    @model_validator(mode="after")
    def _leaves_the_mix_transformer_alone(self) -> EncoderOptions:
        foreign = sorted(self.model_fields_set & {"variant", "width", "norm_epsilon"}) if self.encoder else []
        foreign = [key for key in foreign if getattr(self, key) != type(self).model_fields[key].default]
        if foreign:
            raise ValueError(f"{', '.join(foreign)} belongs to the Mix Transformer, not to {self.encoder}; remove it")
        if self.tuning != "full" and not is_plain(self.encoder):
            raise ValueError(
                f"tuning {self.tuning} needs a vision transformer as encoder, such as vit_base_patch14_dinov2"
            )
        return self


class TimmEncoder(nn.Module):
    """A timm model's feature maps: normalised (B, 3, H, W) -> `stage1`..`stage4`.

    Args:
        name: the model's name, with or without a weight tag.
        drop_path: stochastic depth of the last block.
        strides: wanted pixels per cell of the four stages; a last stage of 8 or 16 dilates the model.

    Attributes:
        dims: channels of the four stages.
        multiple: see `Core.multiple`.

    Raises:
        ConfigError: timm has no such model, it returns no feature maps, or their strides differ.
    """

    def __init__(self, name: str, drop_path: float = 0.0, strides: tuple[int, ...] = STRIDES) -> None:
        super().__init__()
        self.name = name
        self.net = feature_network(name, drop_path, strides[-1])
        found = self.net.feature_info.reduction()
        # Efficient networks have a first map at stride 2 before the four.
        self.chosen = range(len(found) - len(strides), len(found))
        if tuple(found[-len(strides) :]) != strides:
            raise ConfigError(
                f"The encoder {name} has feature maps at strides {', '.join(map(str, found))}; the head needs"
                f" {', '.join(map(str, strides))}. Choose a convolutional or hierarchical model, such as"
                " tf_efficientnet_lite0, convnext_tiny or resnet50."
            )
        channels = self.net.feature_info.channels()
        self.dims = tuple(int(channels[index]) for index in self.chosen)
        # Models ported from TensorFlow, such as tf_efficientnet_lite0, pad a map of even size on one side and one of odd size
        # on both, which shifts what follows by up to half a cell. They would read a photo worse than the same photo
        # stretched by a few pixels.
        self.multiple = strides[-1] if any(isinstance(part, Conv2dSame) for part in self.net.modules()) else 1

    @property
    def normalisation(self) -> Normalisation:
        """What the weights that timm knows for this model expect."""
        return normalisation_of(self.name) or IMAGENET

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The four maps, each (B, dims[i], H/stride, W/stride)."""
        maps = self.net(images)
        return {stage: maps[index] for stage, index in zip(STAGES, self.chosen, strict=True)}


class PyramidEncoder(nn.Module):
    """A plain vision transformer and a pyramid: normalised (B, 3, H, W) -> `stage1`..`stage4` at strides 4 to 32.

    An image whose sides are not multiples of the patch is resized to the nearest ones, and the maps to their strides, so
    heads need not know about patches.

    Args:
        options: with the name of a vision transformer.

    Raises:
        ConfigError: as `VisionTransformer`.
    """

    def __init__(self, options: EncoderOptions) -> None:
        super().__init__()
        self.transformer = VisionTransformer(
            options.encoder, options.drop_path, tuning=options.tuning, rank=options.rank
        )
        self.pyramid = Pyramid(self.transformer.width)
        self.dims = self.pyramid.dims

    @property
    def normalisation(self) -> Normalisation:
        """What the weights that timm knows for this model expect."""
        return normalisation_of(self.transformer.name) or IMAGENET

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The four maps, each (B, dims[i], H/stride, W/stride), rounded up."""
        height, width = images.shape[-2:]
        patch = self.transformer.patch
        tokens = self.transformer(resized(images, (to_multiple(height, patch), to_multiple(width, patch))))
        sizes = [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
        return {
            stage: resized(maps, size) for stage, maps, size in zip(STAGES, self.pyramid(tokens), sizes, strict=True)
        }


Encoder = MixTransformer | TimmEncoder | PyramidEncoder


def build_encoder(options: EncoderOptions) -> Encoder:
    """Build the encoder that the options name, with random weights.

    Raises:
        ConfigError: as `TimmEncoder` and `VisionTransformer`.
    """
    if is_plain(options.encoder):
        return PyramidEncoder(options)
    return TimmEncoder(options.encoder, options.drop_path) if options.encoder else MixTransformer(options)


def dims_of(encoder: Encoder, options: EncoderOptions) -> tuple[int, ...]:
    """Channels of the encoder's four stages."""
    return options.dims if isinstance(encoder, MixTransformer) else encoder.dims


def multiple_of(encoder: Encoder) -> int:
    """Pixels by which the sides of an encoder's images should be divisible, see `Core.multiple`."""
    return encoder.multiple if isinstance(encoder, TimmEncoder) else 1


def fresh_parts(encoder: Encoder) -> tuple[nn.Module, ...]:
    """Parts that pretrained weights do not cover, which learn at the head's rate."""
    return (encoder.pyramid,) if isinstance(encoder, PyramidEncoder) else ()


def layers_of(encoder: Encoder) -> tuple[list[nn.Parameter], ...]:
    """The pretrained parameters from input to output if the encoder is a plain vision transformer; otherwise empty."""
    return encoder.transformer.layers() if isinstance(encoder, PyramidEncoder) else ()


def input_of(encoder: Encoder) -> Normalisation:
    """How an image is normalised for the encoder."""
    return IMAGENET if isinstance(encoder, MixTransformer) else encoder.normalisation


def feature_network(name: str, drop_path: float = 0.0, output_stride: int = 32) -> FeatureListNet:
    """Build a timm model that returns a list of feature maps, with random weights.

    Raises:
        ConfigError: timm has no such model, or it cannot return feature maps at this stride.
    """
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('.')[0][:12]}*")[:4]) if name.isprintable() else ""
        hint = f" Similar names: {near}." if near else ""
        raise ConfigError(f"timm {timm.__version__} has no model {name[:60]!r}; timm.list_models() lists them.{hint}")
    options: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    options |= {} if output_stride == 32 else {"output_stride": output_stride}
    try:
        network = timm.create_model(name, pretrained=False, features_only=True, **options)
    except Exception as error:  # timm passes on anything that the model's constructor raises
        raise ConfigError(
            f"The timm model {name} cannot be an encoder here: {str(error).splitlines()[0] if str(error) else error!r}."
            " The head needs feature maps at four strides; choose a model such as tf_efficientnet_lite0 or resnet50."
        ) from error
    return cast(FeatureListNet, network)


def encoder_title(options: EncoderOptions) -> str:
    """Name of the encoder, such as "MiT-B0 × 0.75" for three quarters of its channels; timm's for most of timm's."""
    return timm_title(options.encoder) or with_width(f"MiT-{options.variant.upper()}", options.width)


def timm_title(name: str) -> str:
    """What authors call a model of timm, or timm's own name; "" for ""."""
    return TITLES.get(name, name)
