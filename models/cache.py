"""Where things lie that can be fetched or computed again, what is there, and how it is removed.

Each kind of thing has a folder below it: `samples` are data sets stored at one size, `statistics` tell how often classes
occur, `weights` are files of the authors. A thing is one file there, several of one name, or a folder.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.files import HALF_WRITTEN, size_of, still_runs

SAMPLES: Final = "samples"
STATISTICS: Final = "statistics"
FETCHED: Final = "weights"


@dataclass(frozen=True)
class CacheEntry:
    """One thing in the cache.

    Args:
        kind: `SAMPLES`, `STATISTICS` or `FETCHED`, as its folder is called.
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
    """Folder for what can be had again: SIM2STREET_CACHE, else ~/.cache/sim2street."""
    return Path(os.environ.get("SIM2STREET_CACHE") or "~/.cache/sim2street").expanduser()


def mark_used(path: Path) -> None:
    """Remember that a file of the cache was used now; a cache that may only be read keeps no such record."""
    try:
        os.utime(path)
    except OSError:
        return


def cache_entries(folder: Path | None = None) -> list[CacheEntry]:
    """All that is in the cache (None: `cache_folder()`), the largest first; sets that are being stored are left out."""
    folder = folder or cache_folder()
    found = [
        _entry(kind, name, paths)
        for kind in (SAMPLES, STATISTICS, FETCHED)
        for name, paths in _things(folder / kind).items()
    ]
    return sorted(found, key=lambda entry: (-entry.size, entry.name))


def _things(folder: Path) -> dict[str, list[Path]]:
    """Paths by the name of what they make up."""
    things: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        half = HALF_WRITTEN.fullmatch(path.name)
        if half is not None:
            if not still_runs(int(half["process"])):
                things.setdefault(f"{half['name']} (half written)", []).append(path)
        elif path.suffix != ".lock":
            things.setdefault(_name_of(path), []).append(path)
    return things


def _name_of(path: Path) -> str:
    if path.is_dir():  # of weights: a digest of the address, in which lies the file
        return ", ".join(sorted(_visible(path))) or path.name
    return re.sub(r"(\.photos|\.labels)?\.np[yz]$", "", path.name)


def _visible(folder: Path) -> Iterator[str]:
    return (item.name for item in folder.iterdir() if not item.name.startswith("."))


def _entry(kind: str, name: str, paths: list[Path]) -> CacheEntry:
    used = [path.stat().st_mtime for path in paths if path.exists()]
    return CacheEntry(kind, name, tuple(paths), sum(map(size_of, paths)), max(used, default=0.0))
