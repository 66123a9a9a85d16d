"""The names of the networks, so that configs can be checked and checkpoints listed without importing PyTorch."""

from __future__ import annotations

from typing import Final

NETWORK_NAMES: Final = (
    "deeplab_v2",
    "daformer",
    "hrda",
    "segformer",
    "fcn8s",
    "drn",
    "vfm_uda",
    "eomt",
    "mask2former",
    "ensemble",
)
"""The keys of `sim2street.models.networks.NETWORKS`, in its order."""
