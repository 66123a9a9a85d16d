"""Where things lie that can be fetched or computed again, what is there, and how it is removed.

Each kind of thing has a folder below it: `samples` are data sets stored at one size, `statistics` tell how often classes
occur, `analyses` what a checkpoint read on a set, `gaps` how two domains compare, `weights` are files of the authors. Only what has a name that this project gives is ever listed or removed: the
folder may be one that holds other things too.
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
"""By kind: names of the files, or of the folder, that one thing is made of; the group is what they have in common."""


@dataclass(frozen=True)
class CacheEntry:
    """One thing in the cache.

    Args:
        kind: a key of `OWN_NAMES`, as its folder is called.
        name: what it is: a data set's settings, size and digest; a file's name.
        paths: the files or the folder that it is made of.
        size: bytes on disk.
        used: when it was used last, in seconds since 1970.
    """

    kind: str
    name: str
    paths: tuple[Path, ...]
    size: int
    used: float

    def days_unused(self) -> float:
        """Days since it was used last; 0 where the clock was set back."""
        return max(0.0, time.time() - self.used) / 86400

    def remove(self) -> None:
        """Remove it. Who has its files open, reads on; what is removed is made or fetched anew when it is needed.

        Raises:
            OSError: somebody else's, or in use on a system that locks open files.
        """
        for path in self.paths:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Folder for what can be had again: SIM2STREET_CACHE, else ~/.cache/sim2street.

    Raises:
        ConfigError: it is no folder, or the home that it names is nobody's.
    """
    named = os.environ.get("SIM2STREET_CACHE") or "~/.cache/sim2street"
    try:
        folder = Path(named).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"The cache cannot lie in {named}: {error}. Set SIM2STREET_CACHE to a folder.") from error
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"The cache cannot lie in {folder}, which is a file. Set SIM2STREET_CACHE to a folder.")
    return folder


def mark_used(path: Path) -> None:
    """Remember that a file of the cache was used now; a cache that may only be read keeps no such record."""
    try:
        os.utime(path)
    except OSError:
        return


def cache_entries() -> list[CacheEntry]:
    """All that is in the cache, the largest first.

    Left out are sets that are being stored and files that are being fetched, links, and whatever else lies there.
    """
    folder = cache_folder()
    found = [_entry(kind, name, paths) for kind in OWN_NAMES for name, paths in _things(folder / kind, kind)]
    return sorted(found, key=lambda entry: (-entry.size, entry.name))


def remove_entries(entries: Iterable[CacheEntry]) -> tuple[list[CacheEntry], list[str]]:
    """Remove what can be removed; return that, and for each of the others a sentence on why it stayed."""
    removed: list[CacheEntry] = []
    stayed: list[str] = []
    for entry in entries:
        try:
            entry.remove()
        except OSError as error:
            stayed.append(f"kept {entry.name}: {error.strerror or error}.")
        else:
            removed.append(entry)
    return removed, stayed


def _things(folder: Path, kind: str) -> Iterator[tuple[str, list[Path]]]:
    """Name and paths of each thing of a kind."""
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
    except OSError:  # somebody else's folder, in which nothing can be removed either
        return False


def _entry(kind: str, name: str, paths: list[Path]) -> CacheEntry:
    files = [*paths, *(item for path in paths if path.is_dir() for item in path.rglob("*"))]
    used = [file.lstat().st_mtime for file in files if file.is_file()]
    return CacheEntry(kind, name, tuple(paths), sum(map(size_of, paths)), max(used, default=0.0))
