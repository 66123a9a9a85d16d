"""The registry of networks, and functions to build one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sim2street.models.networks import timm_without_compiler  # noqa: F401  # isort: skip  # before those that use timm
from sim2street.models.labels import CITYSCAPES19, LabelSpace
from sim2street.models.networks import (
    daformer,
    deeplab_v2,
    drn,
    ensemble,
    eomt,
    fcn8s,
    hrda,
    mask2former,
    segformer,
    vfm_uda,
)
from sim2street.models.networks.entry import NetworkEntry, fault_of_entry
from sim2street.models.registry import Registry
from sim2street.models.segmenter import Segmenter

NETWORKS: Final = Registry[NetworkEntry](
    "network",
    "sim2street.networks",
    [file.ENTRY for file in (deeplab_v2, daformer, hrda, segformer, fcn8s, drn, vfm_uda, eomt, mask2former, ensemble)],
    fault=fault_of_entry,
)

INITIALISING: Final = frozenset(
    [
        *(Tensor.normal_, Tensor.uniform_, Tensor.erfinv_, Tensor.clamp_),
        *(nn.init.normal_, nn.init.uniform_, nn.init.trunc_normal_, nn.init.kaiming_normal_, nn.init.kaiming_uniform_),
    ]
)
"""What fills a tensor, the first argument, with random numbers."""


def build(name: str, labels: LabelSpace = CITYSCAPES19, options: Mapping[str, Any] | None = None) -> Segmenter:
    """Build a segmenter with random weights: `build("deeplab_v2", options={"backbone": "resnet18"})`.

    Raises:
        ConfigError: the network or an option is unknown, or a value is out of range.
    """
    network = NETWORKS.find(name)
    return network.build(labels, network.options.parse(options or {}, where=f"network {name}"))


def encoder_name(name: str, options: Mapping[str, Any]) -> str:
    """Name of a network's encoder, such as "MiT-B0 × 0.75" for three quarters of its channels.

    Comparing the metrics of two checkpoints says something about their training only if this is the same.
    """
    network = NETWORKS[name]
    return network.encoder(network.options.parse(options, where=f"network {name}"))


def build_unfilled(name: str, labels: LabelSpace = CITYSCAPES19, options: Mapping[str, Any] | None = None) -> Segmenter:
    """Build a segmenter whose core costs neither memory nor time: its tensors are on the meta device until `fill`.

    Used when weights are read from a file, which avoids drawing millions of random numbers only to overwrite them.

    Raises:
        ConfigError: as `build`.
    """
    with torch.device("meta"), _Uninitialised():
        segmenter = build(name, labels, options)
    # No file contains these, so `fill` would leave them without values.
    segmenter.mean, segmenter.std = segmenter.normalisation.tensors()
    for module in segmenter.core.modules():
        _restore_constants(module)
    return segmenter


class _Uninitialised(TorchFunctionMode):
    """Leaves out random numbers, which do nothing on the meta device but import PyTorch's compiler: a second."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return (args[0] if args else kwargs["tensor"]) if func in INITIALISING else func(*args, **kwargs)


def _restore_constants(module: nn.Module) -> None:
    """Create a module's buffers that are not saved, such as the periods of rotary embeddings, on the CPU."""
    names = [name for name in module._non_persistent_buffers_set if getattr(module, name) is not None]
    for name in names:
        empty = torch.empty_like(getattr(module, name), device="cpu")
        module.register_buffer(name, empty, persistent=False)
    if names:
        cast(Any, module).init_non_persistent_buffers()  # as timm's modules with such buffers have it


def fill(core: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Fill a core from `build_unfilled` with copies of weights, in the core's types, fp32 on the CPU.

    Args:
        core: the core; `weights` must contain each of its tensors with the same shape.
        weights: may share memory or be memory-mapped from a file; fp16 is widened.
    """
    types = {key: value.dtype for key, value in core.state_dict().items()}
    # Copied rather than assigned: a memory-mapped file may be replaced while the network is in use.
    copies = {key: value.to(types[key], copy=True) for key, value in weights.items()}
    core.load_state_dict(copies, strict=True, assign=True)


def is_finite(value: Tensor) -> bool:
    """Whether all numbers of a floating-point tensor are finite, at a thirtieth of the cost of `isfinite().all()`."""
    # Minimum and maximum propagate NaN and reveal infinities without allocating a tensor of that size.
    return value.numel() == 0 or bool(torch.stack(torch.aminmax(value)).isfinite().all())
