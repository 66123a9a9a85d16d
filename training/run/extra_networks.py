"""Extra networks: networks besides the segmenter that are kept after their run, such as CyCADA's generators.

`RUN/extra_networks/<name>.safetensors`, fp32. Later stages of a recipe and `sim2street translate` use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from sim2street.models.errors import CheckpointError
from sim2street.models.storage.checkpoint import write_weights
from sim2street.models.storage.files import written_whole
from sim2street.training.renamed import EARLIER_FOLDER

EXTRA_NETWORKS: Final = "extra_networks"


def extra_networks_of(run: Path) -> Path:
    """Return the folder in which a run keeps them, whether or not it exists."""
    earlier = run / EARLIER_FOLDER
    return earlier if earlier.is_dir() and not (run / EXTRA_NETWORKS).is_dir() else run / EXTRA_NETWORKS


def save_extra_networks(networks: Mapping[str, nn.Module], run: Path) -> None:
    """Write networks to the folder of a run, each file atomically."""
    for name, network in networks.items():
        place = run / EXTRA_NETWORKS / f"{name}.safetensors"
        place.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(place) as partial:
            write_weights(network.state_dict(), partial)


def load_extra_networks(networks: Mapping[str, nn.Module], run: Path) -> None:
    """Fill networks from the folder of a run.

    Raises:
        CheckpointError: a file is missing, damaged, or contains a network of another size.
    """
    for name, network in networks.items():
        place = extra_networks_of(run) / f"{name}.safetensors"
        if not place.is_file():
            raise CheckpointError(f"{place} is missing: {run} is not a finished run of a method that trains {name}.")
        try:
            network.load_state_dict(load_file(place), strict=True)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{place} is not a readable safetensors file ({error}).") from error
        except RuntimeError as error:
            raise CheckpointError(
                f"{place} contains a network of another size: {str(error).splitlines()[-1]}"
            ) from error
