"""Catalog: which checkpoints there are. The shipped ones first, then those in folders of the person's own.

A broken one is listed with its reason while the others work. Command line, pages and evaluation all ask here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.checkpoint import CONFIG, Checkpoint
from models.errors import CheckpointError
from models.hub import download_checkpoint, is_repository

SHIPPED: Final = Path(__file__).parent / "shipped"
FOLDERS_VARIABLE: Final = "SIM2STREET_CHECKPOINTS"
"""Environment variable: folders that hold checkpoint folders, separated as PATH is."""


@dataclass(frozen=True)
class CatalogEntry:
    """A checkpoint, or the reason why a folder is none.

    Attributes:
        name: name of the folder.
        checkpoint: None where it cannot be opened.
        error: the sentence that says why, else None.
    """

    name: str
    checkpoint: Checkpoint | None
    error: str | None = None


def catalog() -> list[CatalogEntry]:
    """Open every checkpoint that can be found; of two with one name the first wins."""
    found: dict[str, CatalogEntry] = {}
    for folder in _folders():
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_dir() and not path.name.startswith((".", "_")) and path.name not in found:
                found[path.name] = _entry(path)
    return list(found.values())


def find_checkpoint(source: str) -> Checkpoint:
    """Open a checkpoint by its name in the catalog, by its folder, or by its repository id on the Hub.

    What exists on disk wins over the Hub, so that a folder `runs/mine` is never looked for elsewhere.

    Raises:
        CheckpointError: there is none, or it cannot be opened.
    """
    if (Path(source) / CONFIG).exists():
        return Checkpoint.open(source)
    for folder in _folders():
        if "/" not in source and (folder / source).is_dir():
            return Checkpoint.open(folder / source)
    if Path(source).is_dir():
        return Checkpoint.open(source)
    if is_repository(source):
        return Checkpoint.open(download_checkpoint(source))
    names = ", ".join(entry.name for entry in catalog()) or "none"
    raise CheckpointError(
        f"There is no checkpoint {source!r}: neither a folder, nor owner/name on the Hub, nor a name in the catalog ({names})."
    )


def _folders() -> list[Path]:
    own = os.environ.get(FOLDERS_VARIABLE, "")
    return [SHIPPED, *(Path(part) for part in own.split(os.pathsep) if part)]


def _entry(path: Path) -> CatalogEntry:
    try:
        return CatalogEntry(path.name, Checkpoint.open(path))
    except CheckpointError as error:
        return CatalogEntry(path.name, None, str(error))
