"""The registry of networks: a name, its typed options, and the function that builds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from sim2street.models.errors import ConfigError
from sim2street.models.labels import CITYSCAPES19, LabelSpace
from sim2street.models.networks.daformer import DAFormerNetworkOptions, daformer
from sim2street.models.networks.deeplab_v2 import DeepLabV2Options, deeplab_v2
from sim2street.models.networks.drn import DRNOptions, drn
from sim2street.models.networks.encoders import EncoderOptions
from sim2street.models.networks.ensemble import EnsembleOptions, ensemble
from sim2street.models.networks.fcn8s import FCN8sOptions, fcn8s
from sim2street.models.networks.hrda import HRDANetworkOptions, hrda
from sim2street.models.networks.segformer import SegFormerOptions, segformer
from sim2street.models.options import Options
from sim2street.models.segmenter import Segmenter


@dataclass(frozen=True)
class Network:
    """One entry of `NETWORKS`.

    Attributes:
        title: as people write it.
        encoder: options -> what its features come from, such as "ResNet-101", a reduced width included.
        options: everything that can be chosen; the defaults are the paper's.
        build: label space and options -> segmenter with random weights.
    """

    title: str
    encoder: Callable[[Any], str]
    options: type[Options]
    build: Callable[[LabelSpace, Any], Segmenter]


def _ensemble(labels: LabelSpace, options: EnsembleOptions) -> Segmenter:
    if options.network == "ensemble":
        raise ConfigError("An ensemble is made of other networks, not of ensembles.")
    return ensemble([build(options.network, labels, options.network_options) for _ in range(options.members)])


def _width(options: Any) -> str:
    return "" if options.width == 1 else f" × {options.width:g}"


def _resnet(options: DeepLabV2Options) -> str:
    return options.encoder or f"ResNet-{options.backbone.removeprefix('resnet')}{_width(options)}"


def _encoder(options: EncoderOptions) -> str:
    return options.encoder or f"MiT-{options.variant.upper()}{_width(options)}"


NETWORKS: Final[dict[str, Network]] = {
    "deeplab_v2": Network("DeepLab-v2", _resnet, DeepLabV2Options, deeplab_v2),
    "daformer": Network("DAFormer", _encoder, DAFormerNetworkOptions, daformer),
    "hrda": Network("HRDA", _encoder, HRDANetworkOptions, hrda),
    "segformer": Network("SegFormer", _encoder, SegFormerOptions, segformer),
    "fcn8s": Network("FCN-8s", lambda options: f"VGG-16{_width(options)}", FCN8sOptions, fcn8s),
    "drn": Network("DRN-C-26", lambda options: f"DRN-C-26{_width(options)}", DRNOptions, drn),
    "ensemble": Network(
        "Ensemble",
        lambda options: encoder_name(options.network, options.network_options),
        EnsembleOptions,
        _ensemble,
    ),
}


def build(name: str, labels: LabelSpace = CITYSCAPES19, options: Mapping[str, Any] | None = None) -> Segmenter:
    """Build a segmenter with random weights: `build("deeplab_v2", options={"backbone": "resnet18"})`.

    Raises:
        ConfigError: the network or an option is unknown, or a value is out of range.
    """
    if name not in NETWORKS:
        raise ConfigError(f"There is no network {name!r}; known are {', '.join(NETWORKS)}.")
    network = NETWORKS[name]
    return network.build(labels, network.options.parse(options or {}, where=f"network {name}"))


def encoder_name(name: str, options: Mapping[str, Any]) -> str:
    """What a network's features come from, such as "MiT-B0 × 0.75": three quarters of its channels.

    Figures of two checkpoints tell their trainings apart only where this is the same.
    """
    network = NETWORKS[name]
    return network.encoder(network.options.parse(options, where=f"network {name}"))


def build_unfilled(name: str, labels: LabelSpace = CITYSCAPES19, options: Mapping[str, Any] | None = None) -> Segmenter:
    """Build a segmenter whose core takes neither memory nor time: its tensors are on the meta device until `fill`.

    For weights that are read from a file, so that millions of random numbers need not be drawn only to be written over.

    Raises:
        ConfigError: as `build`.
    """
    with torch.device("meta"):
        segmenter = build(name, labels, options)
    # No file holds these, so `fill` would leave them without values.
    segmenter.mean, segmenter.std = segmenter.normalisation.tensors()
    return segmenter


def fill(core: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a core of `build_unfilled` its weights: copies in the types that the core has, fp32 on the CPU.

    Args:
        core: every tensor of it is named in `weights` and has that shape.
        weights: may share memory with each other or lie in a file that is mapped; fp16 is widened.
    """
    types = {key: value.dtype for key, value in core.state_dict().items()}
    # Copied although assigning would do: a file that is mapped may be replaced while the network lives.
    copies = {key: value.to(types[key], copy=True) for key, value in weights.items()}
    core.load_state_dict(copies, strict=True, assign=True)


def is_finite(value: Tensor) -> bool:
    """Whether no number of a floating-point tensor is NaN or infinite, at a thirtieth of the cost of `isfinite().all()`."""
    # NaN is passed on by both extremes, and infinity is one of them; nothing of the tensor's size is allocated.
    return value.numel() == 0 or bool(torch.stack(torch.aminmax(value)).isfinite().all())
