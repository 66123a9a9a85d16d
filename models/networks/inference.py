"""How a network is being computed, so that it may choose a quicker way by the size of its maps."""

from __future__ import annotations

import torch
from torch import Tensor


def is_recorded() -> bool:
    """Whether PyTorch is writing down a graph: Python's choices by size would hold for one size only."""
    return torch.jit.is_tracing() or torch.compiler.is_exporting()


def on_processor(maps: Tensor) -> bool:
    """Whether maps are predicted from in fp32 on a processor, rather than trained on, recorded, or computed in bf16."""
    return in_fp32_on_processor(maps) and not torch.is_grad_enabled()


def in_fp32_on_processor(maps: Tensor) -> bool:
    """Whether maps are computed in fp32 on a processor, and not recorded."""
    return (
        maps.device.type == "cpu"
        and maps.dtype == torch.float32
        and not is_recorded()
        and not torch.is_autocast_enabled("cpu")
    )
