"""The initial weights of a run: random, ImageNet weights, or another checkpoint's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import timm
from torch import Tensor

from sim2street.models.errors import CheckpointError, ConfigError
from sim2street.models.importers.download import fetch_from_hub
from sim2street.models.importers.reading import read_weights, tensors_of
from sim2street.models.importers.segformer import FILES_OF_PORT, encoder_of
from sim2street.models.networks.deeplab_v2 import DeepLabV2
from sim2street.models.networks.fcn8s import FCN8s
from sim2street.models.networks.hrda import HRDANetwork
from sim2street.models.networks.mix_transformer import MixTransformer
from sim2street.models.segmenter import Segmenter
from sim2street.models.storage.catalog import find_checkpoint
from sim2street.training.run.pretrained import PretrainedEncoder, fill_timm_encoder, repository_of

MIT_REPOSITORY: Final = "nvidia/mit-{variant}"
"""ImageNet encoders of SegFormer's authors on the Hub; NVIDIA's licence, non-commercial research."""
VGG: Final = "vgg16"


def initialise(segmenter: Segmenter, source: str, options: Mapping[str, Any]) -> None:
    """Fill a segmenter's weights in place.

    Args:
        segmenter: with random weights.
        source: "random" leaves them; "imagenet" loads ImageNet weights into the encoder: timm's, or the authors' into a
            Mix Transformer (from the Hub, its cache or, for those in `PACKAGES`, an installed package); anything else is the
            name or folder of a checkpoint with the same network, or with DAFormer's for HRDA's.
        options: the network's options.

    Raises:
        ConfigError: there are no ImageNet weights for these options, or they cannot be fetched.
        CheckpointError: the checkpoint is missing or does not fit.
    """
    if source == "random":
        return
    if source == "imagenet":
        if (timm_encoder := timm_encoder_of(segmenter)) is not None:
            fill_timm_encoder(timm_encoder)
            return
        encoder = getattr(segmenter.core, "encoder", None)
        repository = imagenet_repository(segmenter, options)
        if isinstance(encoder, MixTransformer):
            fill_mix_transformer(encoder, repository)
        elif isinstance(segmenter.core, FCN8s):
            fill_vgg(segmenter.core)
        else:
            fill_resnet(segmenter, options.get("backbone", "resnet101"))
        return
    fill_from(segmenter, find_checkpoint(source).load().core.state_dict(), source)


def fill_from(segmenter: Segmenter, weights: Mapping[str, Tensor], source: str) -> None:
    """Load the weights of another segmenter's core; on the meta device, only check whether they fit.

    Args:
        segmenter: the segmenter to fill.
        weights: state dict of a core, on the same device.
        source: name of the weights, for errors.

    Raises:
        ConfigError: they belong to another network.
    """
    if isinstance(segmenter.core, HRDANetwork) and not any(key.startswith("attention.") for key in weights):
        # DAFormer's encoder and head have the same names; only the attention starts from random weights.
        own = segmenter.core.attention.state_dict().items()
        weights = {**weights, **{f"attention.{key}": value for key, value in own}}
    try:
        segmenter.core.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise ConfigError(f"initialisation {source!r} has weights of another network: {error}") from error


def imagenet_repository(segmenter: Segmenter, options: Mapping[str, Any]) -> str:
    """Repository on the Hub with the ImageNet weights for this network; does not access the network.

    Args:
        segmenter: with any weights; may be on the meta device.
        options: the network's options.

    Raises:
        ConfigError: there are no ImageNet weights for these options.
    """
    core = segmenter.core
    if (timm_encoder := timm_encoder_of(segmenter)) is not None:
        return repository_of(timm_encoder.name)
    if isinstance(getattr(core, "encoder", None), MixTransformer):
        if options.get("width", 1.0) != 1.0:
            raise ConfigError(
                "initialisation imagenet needs a Mix Transformer of width 1; there are no ImageNet weights for other widths."
            )
        return MIT_REPOSITORY.format(variant=options.get("variant", "b5"))
    if not isinstance(core, DeepLabV2 | FCN8s) or options.get("width", 1.0) != 1.0:
        raise ConfigError(
            "initialisation imagenet needs a network of width 1; there are no ImageNet weights for other widths."
        )
    if isinstance(core, DeepLabV2) and options.get("caffe_style", True):
        # Shapes would match but results would not: torchvision and timm stride the 3x3 convolution.
        raise ConfigError(
            "initialisation imagenet needs network_options.caffe_style = false: timm's weights stride the 3x3."
        )
    name = VGG if isinstance(core, FCN8s) else options.get("backbone", "resnet101")
    return repository_of(name)


def timm_encoder_of(segmenter: Segmenter) -> PretrainedEncoder | None:
    """The network's encoder, if it is a timm model."""
    return next((module for module in segmenter.core.modules() if isinstance(module, PretrainedEncoder)), None)


def fill_mix_transformer(encoder: MixTransformer, repository: str) -> None:
    """Load the authors' ImageNet encoder from the Hub or its cache."""
    try:
        path = fetch_from_hub(repository, FILES_OF_PORT)
    except CheckpointError as error:
        raise ConfigError(f"The ImageNet weights {repository} could not be fetched: {error}") from error
    encoder.load_state_dict(encoder_of(tensors_of(read_weights(path)), encoder), strict=True)


def fill_vgg(core: FCN8s) -> None:
    """Load timm's ImageNet VGG-16, whose fully connected layers are already convolutions; the score layers stay unchanged."""
    try:
        weights = timm.create_model(VGG, pretrained=True).state_dict()
    except Exception as error:  # timm passes on whatever the network layer raises
        raise ConfigError(f"The ImageNet weights of {VGG} could not be fetched: {error}") from error
    prefixes = {"features.": "vgg.", "pre_logits.fc1.": "vgg_head.0.", "pre_logits.fc2.": "vgg_head.3."}
    filled = {
        ours + key.removeprefix(theirs): value
        for theirs, ours in prefixes.items()
        for key, value in weights.items()
        if key.startswith(theirs)
    }
    # Not covered by ImageNet weights: the classifiers and the fixed upsampling.
    own = {key: value for key, value in core.state_dict().items() if key not in filled and not key.startswith("vgg.")}
    core.load_state_dict({**own, **filled}, strict=True)


def fill_resnet(segmenter: Segmenter, name: str) -> None:
    """Load timm's ImageNet weights of the ResNet called `name` into a DeepLab-v2."""
    try:
        weights = timm.create_model(name, pretrained=True, num_classes=0, global_pool="").state_dict()
    except Exception as error:  # timm passes on whatever the network layer raises
        raise ConfigError(f"The ImageNet weights of {name} could not be fetched: {error}") from error
    segmenter.core.get_submodule("backbone").load_state_dict(weights, strict=True)
