"""The cache of data that can be downloaded or computed again: its location, its contents, and how to remove them.

Each kind of entry has its own folder: `samples` has data sets stored at one size, `statistics` class frequencies,
`analyses` the evaluations of checkpoints on sets, `gaps` the comparisons of two domains, `weights` the authors' files. Only
entries with names that this project gives are ever listed or removed, because the folder may contain other files.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sim2street.models.errors import ConfigError
from sim2street.models.storage.files import HALF_WRITTEN, size_of, still_runs

SAMPLES: Final = "samples"
STATISTICS: Final = "statistics"
ANALYSES: Final = "analyses"
GAPS: Final = "gaps"
FETCHED: Final = "weights"
OWN_NAMES: Final = {
    SAMPLES: re.compile(r"([\w.+-]+)\.(photos|labels)\.npy"),
    STATISTICS: re.compile(r"([\w.+-]+)\.npz"),
    ANALYSES: re.compile(r"([\w.+-]+)\.npz"),
    GAPS: re.compile(r"([\w.+-]+)\.npz"),
    FETCHED: re.compile(r"([0-9a-f]{12})"),
}
"""By kind: pattern of the names of an entry's files or folder; the group is what they have in common."""


@dataclass(frozen=True)
class CacheEntry:
    """One entry of the cache.

    Args:
        kind: a key of `OWN_NAMES`, which is also the name of its folder.
        name: a data set's settings, size and digest, or a file's name.
        paths: its files or its folder.
        size: bytes on disk.
        used: time of its last use, in seconds since 1970.
    """

    kind: str
    name: str
    paths: tuple[Path, ...]
    size: int
    used: float

    def days_unused(self) -> float:
        """Days since its last use; 0 if the clock was set back."""
        return max(0.0, time.time() - self.used) / 86400

    def remove(self) -> None:
        """Remove it. Processes with open files can still read them; the entry is made or downloaded again when needed.

        Raises:
            OSError: it belongs to another user, or is in use on a system that locks open files.
        """
        for path in self.paths:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def cache_folder() -> Path:
    """The cache's folder: SIM2STREET_CACHE, or ~/.cache/sim2street if not set.

    Raises:
        ConfigError: it is not a folder, or it names the home of an unknown user.
    """
    named = os.environ.get("SIM2STREET_CACHE") or "~/.cache/sim2street"
    try:
        folder = Path(named).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{named} cannot be the cache folder: {error}. Set SIM2STREET_CACHE to a folder.") from error
    if folder.exists() and not folder.is_dir():
        raise ConfigError(
            f"{folder} cannot be the cache folder, because it is a file. Set SIM2STREET_CACHE to a folder."
        )
    return folder


def mark_used(path: Path) -> None:
    """Record that a file of the cache was used now; in a read-only cache this has no effect."""
    try:
        os.utime(path)
    except OSError:
        return


def cache_entries() -> list[CacheEntry]:
    """All entries of the cache, largest first.

    Sets being stored, files being downloaded, links and other files are left out.
    """
    folder = cache_folder()
    found = [_entry(kind, name, paths) for kind in OWN_NAMES for name, paths in _things(folder / kind, kind)]
    return sorted(found, key=lambda entry: (-entry.size, entry.name))


def remove_entries(entries: Iterable[CacheEntry]) -> tuple[list[CacheEntry], list[str]]:
    """Remove entries; return those that were removed, and for each of the others the reason why it was kept."""
    removed: list[CacheEntry] = []
    stayed: list[str] = []
    for entry in entries:
        try:
            entry.remove()
        except OSError as error:
            stayed.append(f"{entry.name} could not be removed: {error.strerror or error}.")
        else:
            removed.append(entry)
    return removed, stayed


def _things(folder: Path, kind: str) -> Iterator[tuple[str, list[Path]]]:
    """Name and paths of each entry of a kind."""
    things: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        half = HALF_WRITTEN.fullmatch(path.name)
        own = OWN_NAMES[kind].fullmatch(half["name"] if half else path.name)
        if own is None or path.is_symlink() or path.is_dir() != (kind == FETCHED):
            continue
        if half and still_runs(int(half["process"])):
            continue
        things.setdefault(f"{half['name']} (half written)" if half else own[1], []).append(path)
    for name, paths in things.items():
        if kind != FETCHED:
            yield name, paths
        elif not _is_held(folder / f"{name}.lock"):
            inside = sorted(path.name for path in paths[0].iterdir())
            yield ", ".join(inside) or f"{name} (empty)", paths


def _is_held(lock: Path) -> bool:
    """Whether a process holds the lock of a download."""
    if not lock.exists():
        return False
    from huggingface_hub.utils import WeakFileLock

    try:
        with WeakFileLock(lock, timeout=0.1):
            return False
    except TimeoutError:
        return True
    except OSError:  # another user's folder, where nothing can be removed anyway
        return False


def _entry(kind: str, name: str, paths: list[Path]) -> CacheEntry:
    files = [*paths, *(item for path in paths if path.is_dir() for item in path.rglob("*"))]
    used = [file.lstat().st_mtime for file in files if file.is_file()]
    return CacheEntry(kind, name, tuple(paths), sum(map(size_of, paths)), max(used, default=0.0))
