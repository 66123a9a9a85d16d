"""Which classes a file's outputs represent, if the file or the config beside it names them.

A network with 19 outputs need not have Cityscapes' 19 classes in Cityscapes' order. If names are given they are compared:
another order is corrected, other classes are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from sim2street.models.errors import CheckpointError
from sim2street.models.labels import CITYSCAPES19, SYNTHIA16
from sim2street.models.networks import build_unfilled
from sim2street.models.storage.files import CONFIG

ENTRIES: Final = ("classes", "class_names", "id2label")
"""Keys under which training tools store class names, in any case."""
NOTES: Final = ("meta", "dataset_meta", "hyper_parameters", "config")
"""Entries that may contain such keys, possibly nested."""
PLACEHOLDER: Final = re.compile(r"(label|class)?[ _-]*\d+", re.IGNORECASE)
"""Placeholders for missing names, such as LABEL_7."""
SPELLINGS: Final = {
    "motorbike": "motorcycle",
    "motor": "motorcycle",
    "bike": "bicycle",
    "pavement": "sidewalk",
    "pedestrian": "person",
    "trafficsignal": "trafficlight",
}
"""Other words for Cityscapes' classes, letters only."""
MAX_BYTES: Final = 4 * 2**20


def class_names(content: Mapping[str, Any], path: Path) -> tuple[str, ...] | None:
    """Names of a file's outputs in order; None if none are given.

    Args:
        content: the file's top-level entries.
        path: the file; a `config.json` of transformers may be beside it.

    Raises:
        CheckpointError: the config beside the file cannot be read, or two places name different classes.
    """
    found = {"the file": _named(content), f"{CONFIG} beside it": _named(_config_beside(path))}
    named = {place: names for place, names in found.items() if names is not None}
    if len({_plain(names) for names in named.values()}) > 1:
        raise CheckpointError(
            f"{path.name} and the {CONFIG} beside it name different classes. Move the file into its own folder."
        )
    return next(iter(named.values()), None)


def order_of(names: tuple[str, ...]) -> list[int]:
    """Index of each of Cityscapes' 19 classes among the named outputs.

    Raises:
        CheckpointError: they are other classes.
    """
    ours, theirs = _plain(CITYSCAPES19.names), _plain(names)
    if sorted(ours) == sorted(theirs):
        return [theirs.index(name) for name in ours]
    foreign = [name for name, plain in zip(names, theirs, strict=True) if plain not in ours]
    missing = [name for name, plain in zip(CITYSCAPES19.names, ours, strict=True) if plain not in theirs]
    parts = [f"{_listed(foreign)} {'is' if len(foreign) == 1 else 'are'} not among them"] if foreign else []
    parts += [f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing"] if missing else []
    parts = parts or ["some are duplicated"]
    raise CheckpointError(
        f"The names of its {len(names)} outputs are not Cityscapes' 19 classes: {'; '.join(parts)}. Only networks with"
        " those classes can be imported."
    )


def reordered(
    weights: Mapping[str, Tensor], network: str, options: Mapping[str, Any], order: list[int]
) -> dict[str, Tensor]:
    """Bring the outputs of a network into Cityscapes' order.

    Args:
        weights: all tensors of the network under our names.
        network: key in `NETWORKS`.
        options: the network's options.
        order: from `order_of`.
    """
    if order == sorted(order):
        return dict(weights)
    # A network with fewer classes differs exactly in the dimensions that count classes.
    fewer = build_unfilled(network, SYNTHIA16, options).core.state_dict()
    places = torch.tensor(order)
    result = dict(weights)
    for key, value in weights.items():
        for axis in range(value.ndim):
            beyond = value.shape[axis] - CITYSCAPES19.count  # a mask classifier's "no class" output stays last
            if beyond in (0, 1) and fewer[key].shape[axis] == SYNTHIA16.count + beyond:
                rest = torch.arange(CITYSCAPES19.count, value.shape[axis])
                result[key] = result[key].index_select(axis, torch.cat([places, rest]))
    return result


def _named(content: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The class names stored at this level or below."""
    lowered = {key.lower(): value for key, value in content.items() if isinstance(key, str)}
    for entry in ENTRIES:
        names = _names(lowered.get(entry))
        if names is not None:
            return names
    for note in NOTES:
        inner = lowered.get(note)
        if isinstance(inner, Mapping) and (names := _named(inner)) is not None:
            return names
    return None


def _names(value: Any) -> tuple[str, ...] | None:
    """A list of names, or names by their number, as a tuple; None for anything else and for placeholders."""
    if isinstance(value, Mapping):
        try:
            numbered = {int(key): name for key, name in value.items()}
        except (TypeError, ValueError):
            return None
        value = [numbered[number] for number in sorted(numbered)]
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) for name in value):
        return None
    return None if all(PLACEHOLDER.fullmatch(name) for name in value) else tuple(value)


def _config_beside(path: Path) -> Mapping[str, Any]:
    place = path.with_name(CONFIG)
    if not place.is_file():
        return {}
    try:
        if place.stat().st_size > MAX_BYTES:
            raise ValueError("it is larger than 4 MB")
        content = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{place} may name the classes of {path.name}, but cannot be read ({error}). Fix it, or move the file into its"
            " own folder."
        ) from error
    return content if isinstance(content, dict) else {}


def _plain(names: tuple[str, ...]) -> tuple[str, ...]:
    letters = [re.sub(r"[^a-z]", "", name.lower()) for name in names]
    return tuple(SPELLINGS.get(name, name) for name in letters)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
