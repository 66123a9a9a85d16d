"""The registry of networks, and how one is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from sim2street.models.labels import CITYSCAPES19, LabelSpace
from sim2street.models.networks import daformer, deeplab_v2, drn, ensemble, eomt, fcn8s, hrda, segformer, vfm_uda
from sim2street.models.networks.entry import NetworkEntry, fault_of_entry
from sim2street.models.registry import Registry
from sim2street.models.segmenter import Segmenter

NETWORKS: Final = Registry[NetworkEntry](
    "network",
    "sim2street.networks",
    [file.ENTRY for file in (deeplab_v2, daformer, hrda, segformer, fcn8s, drn, vfm_uda, eomt, ensemble)],
    fault=fault_of_entry,
)


def build(name: str, labels: LabelSpace = CITYSCAPES19, options: Mapping[str, Any] | None = None) -> Segmenter:
    """Build a segmenter with random weights: `build("deeplab_v2", options={"backbone": "resnet18"})`.

    Raises:
        ConfigError: the network or an option is unknown, or a value is out of range.
    """
    network = NETWORKS.find(name)
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
    for module in segmenter.core.modules():
        _restore_constants(module)
    return segmenter


def _restore_constants(module: nn.Module) -> None:
    """Give a module its own buffers that no file holds, such as the periods of rotary embeddings, on the processor."""
    names = [name for name in module._non_persistent_buffers_set if getattr(module, name) is not None]
    for name in names:
        empty = torch.empty_like(getattr(module, name), device="cpu")
        module.register_buffer(name, empty, persistent=False)
    if names:
        cast(Any, module).init_non_persistent_buffers()  # as timm's modules with such buffers have it


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
