"""A step keeps to its device: every method on fake CUDA tensors, which have a shape, a type and a device and no values.

PyTorch refuses operations on fake tensors of several devices as a graphics card would, and needs none for it. Where a
step asks for a value, it gets one made up. Backward passes are not taken: they follow the devices of the forward ones.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from sim2street.training.methods.base import Method
from sim2street.training.methods.parts.image_pool import ImagePool
from sim2street.training.pair import DomainPair
from tests.training.methods.test_methods import VARIANTS, make

aten = torch.ops.aten
SOME = 5
"""How many elements a mask is taken to choose."""


class MadeUp(TorchDispatchMode):
    """Values for what asks for them: a number, how many there are, which ones."""

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        first = args[0] if args else None
        if func is aten._local_scalar_dense.default:
            return True if first.dtype is torch.bool else 1 if not first.dtype.is_floating_point else 0.75
        if func is aten._unique2.default:
            return first.new_empty(SOME), first.new_empty(0), first.new_empty(0)
        if func is aten.nonzero.default:
            return first.new_empty((SOME, first.dim()), dtype=torch.int64)
        if func is aten.bincount.default:
            return first.new_empty(args[2] if len(args) > 2 else (kwargs or {}).get("minlength", 0))
        if func is aten.index.Tensor and args[1][0] is not None and args[1][0].dtype is torch.bool:
            mask = args[1][0]
            assert mask.device == first.device
            return first.new_empty((SOME, *first.shape[mask.dim() :]))
        return func(*args, **(kwargs or {}))


def move(method: Method) -> None:
    """What `method.to("cuda")` does, for fake tensors."""

    def moved(tensor: Tensor) -> Tensor:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cuda")

    for module in method.modules():
        if isinstance(module, ImagePool):
            module.images = torch.empty(0)  # the pool itself goes where its images come from
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(moved(parameter), parameter.requires_grad))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, moved(buffer))


def noise() -> DomainPair:
    """On the fake card."""
    size = (2, 3, 64, 96)
    labels = torch.randint(0, 19, (2, 64, 96), device="cuda")
    images = torch.rand(size, device="cuda"), torch.rand(size, device="cuda")
    return DomainPair(images[0], labels, images[1], (None, None))


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_a_step_keeps_to_its_device(name: str, options: dict[str, Any]) -> None:
    method = make(name, options)
    with FakeTensorMode(allow_non_fake_inputs=False), MadeUp():
        move(method)
        for step in range(2):
            method.train()
            for update in method.step(noise()):
                assert {loss.device.type for loss in update.losses.values()} <= {"cuda"}
            method.after_step(step)
        kept = [*method.parameters(), *method.buffers()]
        assert {value.device.type for value in kept} == {"cuda"}


def test_what_lies_elsewhere_is_found() -> None:
    method = make("source_only", {})
    with FakeTensorMode(allow_non_fake_inputs=False), MadeUp():
        move(method)
        pair = noise()
        astray = DomainPair(pair.source_images, pair.source_labels.cpu(), pair.target_images, pair.source_members)
        with pytest.raises(RuntimeError, match="device"):
            list(method.train().step(astray))
