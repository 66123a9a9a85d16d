"""Catalog of available checkpoints: shipped, in the user's folders, and pinned on the Hub by the Spacefile.

A broken one is listed with the reason, and the others still work. Command line, pages and evaluation all use it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sim2street.models.errors import CheckpointError, ConfigError, did_you_mean
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.downloads import DOWNLOADS, Download, fetch_hosted
from sim2street.models.storage.files import CONFIG, PROGRESS, RUN_FOLDER, WEIGHTS, is_litter, promoted_folder
from sim2street.models.storage.hub import download_checkpoint, is_repository
from sim2street.models.storage.spacefile import DEFAULT as SPACEFILE
from sim2street.models.storage.spacefile import read_spacefile

SHIPPED: Final = Path(__file__).parent.parent / "shipped"
FOLDERS_VARIABLE: Final = "SIM2STREET_CHECKPOINTS"
"""Environment variable: checkpoints, runs, or folders that contain them, separated as in PATH."""


@dataclass(frozen=True)
class CatalogEntry:
    """A checkpoint, or the reason why a folder is not one.

    Attributes:
        name: name of the folder or of the repository.
        checkpoint: None if it cannot be opened (yet).
        error: the reason why not, otherwise None.
        download: progress of its download, while it is being fetched.
    """

    name: str
    checkpoint: Checkpoint | None
    error: str | None = None
    download: Download | None = None


def catalog(*, wait: bool = True) -> list[CatalogEntry]:
    """Open every checkpoint that can be found; of two with the same name the first wins.

    Args:
        wait: fetch those on the Hub first; pages do not wait, and get entries with a `download`.
    """
    places, unreadable = _survey()
    entries = [_entry(name, path) for name, path in places.items()] + unreadable
    entries += _hosted(places, wait)
    missing = [folder for folder in _own_folders() if not folder.is_dir()]
    absent = f"The folder does not exist; {FOLDERS_VARIABLE} names it."
    return entries + [CatalogEntry(str(folder), None, absent) for folder in missing]


def find_checkpoint(source: str) -> Checkpoint:
    """Open a checkpoint by its name in the catalog, by its folder, or by its repository id on the Hub.

    A folder on disk takes precedence over the Hub, so `runs/mine` is never looked up elsewhere.

    Raises:
        CheckpointError: it does not exist, or cannot be opened.
    """
    path = Path(source)
    if path.is_dir():
        if (found := _checkpoint_within(path)) is None and (path / PROGRESS).exists():
            raise CheckpointError(
                f"{source} is an unfinished run, which has no checkpoint yet. Finish it with: sim2street train --resume {source}"
            )
        return Checkpoint.open(found or path)
    places, _ = _survey()
    if source in places:
        return Checkpoint.open(places[source])
    # `runs/mistyped` also looks like owner/name; if the owner is a local folder, a path was meant.
    if is_repository(source) and not path.parent.is_dir():
        try:
            return download_checkpoint(source)
        except CheckpointError as error:  # a mistyped folder looks like a repository
            raise CheckpointError(f"There is no folder {source}. {error}") from error
    raise CheckpointError(
        f"There is no checkpoint {source!r}; expected a folder, a name that `sim2street checkpoints` lists, or owner/name on"
        f" the Hub.{did_you_mean(source, places)}"
    )


def _hosted(places: dict[str, Path], wait: bool) -> list[CatalogEntry]:
    """The Spacefile's repositories, except those whose folder exists locally."""
    if not SPACEFILE.exists():  # installed without the repository around it
        return []
    try:
        spacefile = read_spacefile(SPACEFILE)
    except ConfigError as error:
        return [CatalogEntry(SPACEFILE.name, None, str(error))]
    entries, taken = [], set(places)
    for model in spacefile.models:
        if model.source is None or model.repository is None:
            continue
        name = model.repository.rpartition("/")[2]
        if name in taken or (model.path or "").rpartition("/")[2] in places:
            continue
        taken.add(name)
        if wait:
            try:
                entries.append(CatalogEntry(name, fetch_hosted(model.source)))
            except CheckpointError as error:
                entries.append(CatalogEntry(name, None, str(error)))
            continue
        state = DOWNLOADS.ask(model.source)
        on_its_way = state.checkpoint is None and state.failure is None
        reason = f"Downloading from {model.repository} on the Hub." if on_its_way else state.failure
        entries.append(CatalogEntry(name, state.checkpoint, reason, state if on_its_way else None))
    return entries


def _survey() -> tuple[dict[str, Path], list[CatalogEntry]]:
    """Checkpoint folders by name (shipped, then the user's folders and those in them, then promoted ones), and unreadable ones."""
    places: dict[str, Path] = {}
    unreadable: list[CatalogEntry] = []
    for folder in [SHIPPED, *_own_folders(), promoted_folder()]:
        try:
            candidates = [folder, *sorted(folder.iterdir())] if folder.is_dir() else []
        except OSError as error:
            unreadable.append(CatalogEntry(str(folder), None, f"{folder} cannot be listed: {error.strerror}."))
            continue
        for candidate in candidates:
            if candidate.name.startswith(".") or is_litter(candidate.name):
                continue
            try:
                path = _checkpoint_within(candidate)
            except OSError as error:
                unreadable.append(CatalogEntry(candidate.name, None, f"{candidate} cannot be read: {error.strerror}."))
                continue
            if path is not None:
                run = path.parent if path.name == RUN_FOLDER else path
                places.setdefault(run.resolve().name, path)
    return places, unreadable


def _checkpoint_within(folder: Path) -> Path | None:
    """The folder itself if it looks like a checkpoint, its `checkpoint` if it is a finished run, otherwise None."""
    finished = folder / RUN_FOLDER
    if finished.is_dir():
        return finished
    # An unfinished run has a config.json too, but also its progress.
    is_run = (folder / PROGRESS).exists()
    means_to_be = (folder / CONFIG).exists() or (folder / WEIGHTS).exists()
    return folder if means_to_be and not is_run else None


def _own_folders() -> list[Path]:
    return [Path(part) for part in os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep) if part]


def _entry(name: str, path: Path) -> CatalogEntry:
    try:
        return CatalogEntry(name, Checkpoint.open(path))
    except CheckpointError as error:
        return CatalogEntry(name, None, str(error))
