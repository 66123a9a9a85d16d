"""Where a run's weights start: at random, at ImageNet's, or at another checkpoint's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import timm
from torch import nn

from models.catalog import find_checkpoint
from models.errors import CheckpointError, ConfigError
from models.importers.download import fetch_from_hub
from models.importers.files import read_weights, tensors_of
from models.importers.keys import rename_by
from models.importers.mix_transformer import ENCODER
from models.importers.segformer import from_port
from models.networks.deeplab_v2 import DeepLabV2
from models.networks.hrda import HRDA
from models.networks.mix_transformer import MixTransformer
from models.segmenter import Segmenter

ENCODER_NAME: Final = rename_by(ENCODER)
"""From the authors' key of the encoder to ours; None or a reason for every other key."""


def initialise(segmenter: Segmenter, source: str, options: Mapping[str, Any]) -> None:
    """Fill a segmenter's weights in place.

    Args:
        segmenter: with random weights.
        source: "random" leaves them; "imagenet" loads ImageNet weights into the encoder, timm's of ResNets and
            NVIDIA's of Mix Transformers (needs the network or a cache; NVIDIA's are for non-commercial research); anything else is a checkpoint's name or folder of the same network, for HRDA's also of
            DAFormer's.
        options: the network's options, for the error's sake.

    Raises:
        ConfigError: ImageNet weights do not exist for these options, or cannot be fetched.
        CheckpointError: the checkpoint is missing or does not fit.
    """
    if source == "random":
        return
    if source != "imagenet":
        weights = find_checkpoint(source).load().core.state_dict()
        if isinstance(segmenter.core, HRDA) and not any(key.startswith("attention.") for key in weights):
            # DAFormer's encoder and head under the same names; the attention alone begins at random.
            weights |= {f"attention.{key}": value for key, value in segmenter.core.attention.state_dict().items()}
        try:
            segmenter.core.load_state_dict(weights, strict=True)
        except RuntimeError as error:
            raise ConfigError(f"initialisation {source!r} holds another network: {error}") from error
        return
    core = segmenter.core
    if isinstance(getattr(core, "encoder", None), MixTransformer):
        _load_imagenet_encoder(core, options)
        return
    if not isinstance(core, DeepLabV2) or options.get("width", 1.0) != 1.0:
        raise ConfigError(
            "initialisation imagenet needs a deeplab_v2, daformer, hrda or segformer of width 1; ImageNet weights exist"
            " for no other."
        )
    if options.get("caffe_style", True):
        # Shapes would match and numbers would not: torchvision and timm stride the 3x3 convolution.
        raise ConfigError(
            "initialisation imagenet needs network_options.caffe_style = false: timm's weights stride the 3x3."
        )
    name = options.get("backbone", "resnet101")
    try:
        weights = timm.create_model(name, pretrained=True, num_classes=0, global_pool="").state_dict()
    except Exception as error:  # timm passes on whatever the network layer raises
        raise ConfigError(f"The ImageNet weights of {name} could not be fetched: {error}") from error
    core.backbone.load_state_dict(weights, strict=True)


def _load_imagenet_encoder(core: nn.Module, options: Mapping[str, Any]) -> None:
    """Fill a Mix Transformer with NVIDIA's ImageNet-1k weights from the Hub."""
    if options.get("width", 1.0) != 1.0:
        raise ConfigError(
            "initialisation imagenet needs width 1; ImageNet weights of slim Mix Transformers do not exist."
        )
    weights = from_port(tensors_of(read_weights(fetch_from_hub(f"nvidia/mit-{options.get('variant', 'b5')}"))))
    renamed = {ours: value for key, value in weights.items() if isinstance(ours := ENCODER_NAME(key), str)}
    encoder = {key.removeprefix("encoder."): value for key, value in renamed.items()}
    try:
        core.get_submodule("encoder").load_state_dict(encoder, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"nvidia/mit-{options.get('variant', 'b5')} holds another encoder: {error}") from error
