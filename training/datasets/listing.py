"""List files below a folder: links to folders are followed, and skipped files are recorded with the reason."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sim2street.models.photo import SUFFIXES
from sim2street.models.storage.files import is_litter

LOGGER: Final = logging.getLogger(__name__)
OTHER_PICTURES: Final = frozenset(
    (".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".ppm", ".exr", ".svg")
)
"""Suffixes of pictures that `sim2street.models.photo` does not read."""


@dataclass
class Listing:
    """Finds files and remembers what it skipped.

    Attributes:
        left_out: skipped files and folders, by reason.
    """

    left_out: dict[str, list[Path]] = field(default_factory=dict)

    def files(self, folder: Path) -> list[Path]:
        """All files below `folder`, sorted by path; each folder is listed once, even if several links point to it.

        Hidden files and system files such as .DS_Store are skipped silently; broken links, folders that cannot be opened,
        pipes and devices are recorded as left out.
        """
        found: list[Path] = []
        plain, linked, seen = [folder], list[Path](), set[tuple[int, int]]()
        while plain or linked:  # links last, so that a real folder here keeps its own name
            place = plain.pop() if plain else linked.pop(0)
            try:
                status = place.stat()
                if (status.st_dev, status.st_ino) in seen:
                    self.leave_out(place, "a link to a folder that is already listed")
                    continue
                seen.add((status.st_dev, status.st_ino))
                entries = sorted(os.scandir(place), key=lambda entry: entry.name)
            except OSError as error:
                if place != folder:  # the reader explains a missing root better
                    self.leave_out(place, f"a folder that cannot be opened ({error.strerror})")
                continue
            for entry in entries:
                path = place / entry.name
                if _is_folder(entry) and not entry.name.startswith(".") and not is_litter(entry.name):
                    (linked if entry.is_symlink() else plain).append(path)
                elif self._is_wanted(entry, path):
                    found.append(path)
        return sorted(found)

    def photos(self, folder: Path) -> tuple[Path, ...]:
        """All files below `folder` with a photo's suffix; others are left out."""
        found: list[Path] = []
        for path in self.files(folder):
            if path.suffix.lower() in SUFFIXES:
                found.append(path)
            else:
                suffix = path.suffix.lower()
                self.leave_out(path, f"with the suffix {suffix}, not a photo's" if suffix else "without a suffix")
        return tuple(found)

    def matching(self, folder: Path, suffixes: str | Sequence[str], *, depth: int) -> tuple[Path, ...]:
        """Files whose name ends in one of `suffixes`, ignoring case, `depth` levels below `folder`.

        Other pictures below it are left out.
        """
        suffixes = (suffixes,) if isinstance(suffixes, str) else tuple(suffixes)
        pattern = "/".join(["*"] * (depth - 1) + [" or ".join(f"*{suffix}" for suffix in suffixes)])
        endings = tuple(suffix.lower() for suffix in suffixes)
        found: list[Path] = []
        for path in self.files(folder):
            if path.name.lower().endswith(endings) and len(path.relative_to(folder).parts) == depth:
                found.append(path)
            elif is_picture(path):
                self.leave_out(path, f"not named {pattern} like this data set's photos")
        return tuple(found)

    def leave_out(self, path: Path, reason: str) -> None:
        """Record that `path` was skipped."""
        self.left_out.setdefault(reason, []).append(path)

    def remark(self, root: Path) -> str | None:
        """One sentence about everything that was left out; None if nothing was."""
        if not self.left_out:
            return None
        total = sum(map(len, self.left_out.values()))
        parts = [
            f"{len(paths)} {reason} ({'such as ' if len(paths) > 1 else ''}{os.path.relpath(paths[0], root)})"
            for reason, paths in sorted(self.left_out.items())
        ]
        return f"{total} below {root} {'was' if total == 1 else 'were'} left out: {'; '.join(parts)}."

    def _is_wanted(self, entry: os.DirEntry[str], path: Path) -> bool:
        if is_litter(entry.name):
            return False
        if entry.name.startswith("."):
            if is_picture(path):
                self.leave_out(path, "hidden by the dot at the start of its name")
            return False
        if not path.exists():
            self.leave_out(path, "a broken link")
            return False
        if not path.is_file():
            self.leave_out(path, "neither a file nor a folder")
            return False
        return True


def is_picture(path: Path) -> bool:
    """Whether a file has a picture's suffix, supported or not."""
    return path.suffix.lower() in SUFFIXES or path.suffix.lower() in OTHER_PICTURES


_SAID: Final[set[str]] = set()


def warn_once(sentence: str) -> None:
    """Log a warning (by default to stderr), each one only once per process."""
    if sentence not in _SAID:
        _SAID.add(sentence)
        LOGGER.warning(sentence)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
