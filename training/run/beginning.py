"""What a run started with: its settings and, for every data set, its folder and a fingerprint of its files.

It is kept with the state, so that a resumed run cannot silently continue with something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch

from sim2street.training.config import DatasetConfig, RunConfig
from sim2street.training.datasets.base import FolderDataset
from sim2street.training.run.folder import STATE
from sim2street.training.selection import open_originals

KEY: Final = "began"
"""Its key in a saved state."""


def beginning(config: RunConfig) -> dict[str, Any]:
    """Record settings and data of a run, including all stages; opens every data set but reads no image.

    Raises:
        DatasetError: files are missing.
    """
    stages = config.resolve_stages() if config.stages else {"": config}
    data: dict[str, dict[str, Any]] = {}
    for stage, part in stages.items():
        for name, item, labelled in _data_sets(part):
            name = f"{stage}: {name}" if stage else name
            same = sum(other.partition(" #")[0] == name for other in data)
            data[f"{name} #{same + 1}" if same else name] = _record(item, labelled)
    return {"config": config.model_dump(mode="json"), "data": data, "changes": []}


def recorded(out: Path) -> dict[str, Any] | None:
    """What the run in a folder started with; None if its state is damaged or from a version without such a record."""
    states = [path for path in (out / STATE, *out.glob(f"*/{STATE}")) if path.is_file()]
    if not states:
        return None
    latest = max(states, key=lambda path: path.stat().st_mtime_ns)
    try:
        # Memory-mapped, because only a few lines of a state of gigabytes are needed.
        return torch.load(latest, map_location="cpu", weights_only=True, mmap=True).get(KEY)
    except Exception:  # torch may raise anything for a damaged file; resuming reports the problem
        return None


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describe every difference between two records, one clause each.

    A moved folder with the same files is not a difference.
    """
    found = list(_settings(before["config"], now["config"], ""))
    for name, was in before["data"].items():
        item = now["data"].get(name)
        if item is None or item["fingerprint"] == was["fingerprint"]:
            continue  # a set that is gone is a changed setting
        if was["root"] is None:
            found.append(f"this version renders {name} differently")
        elif was["pictures"] != item["pictures"]:
            found.append(
                f"{name} had {was['pictures']} images in {was['root']} and now has {item['pictures']} in {item['root']}"
            )
        else:
            found.append(
                f"{name} has as many images in {item['root']} as it had in {was['root']}, but names, sizes or modification"
                " times of its files differ"
            )
    return found


def _data_sets(config: RunConfig) -> Iterator[tuple[str, DatasetConfig, bool]]:
    """Name, selection and whether its labels are read."""
    roles = [("source", item, True) for item in config.sources]
    roles += [] if config.target is None else [("target", config.target, False)]
    roles += [("evaluation", item, True) for item in config.evaluations]
    for role, item, labelled in roles:
        yield f"{role} {item.label}", item, labelled


def _record(item: DatasetConfig, labelled: bool) -> dict[str, Any]:
    dataset = open_originals(item, labelled=labelled)
    root = str(dataset.root.absolute()) if isinstance(dataset, FolderDataset) else None
    return {"root": root, "pictures": len(dataset), "fingerprint": dataset.fingerprint()}


def _settings(before: Any, now: Any, key: str) -> Iterator[str]:
    """Name the settings that differ, by their dotted keys; roots are compared by their contents."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*before, *now]):
            if name != "root":
                yield from _settings(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for place, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _settings(one, other, f"{key}.{place}")
    elif before != now:
        yield f"{key} was {_short(before)} and is now {_short(now)}"


def _short(value: Any) -> str:
    text = "unset" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
