"""The names of the networks, for whoever checks a config or lists checkpoints without waiting for PyTorch."""

from __future__ import annotations

from typing import Final, Literal, get_args

NetworkName = Literal["deeplab_v2", "daformer", "hrda", "segformer", "fcn8s", "drn", "ensemble"]
"""A key of `models.networks.NETWORKS`."""

NETWORK_NAMES: Final[tuple[NetworkName, ...]] = get_args(NetworkName)
