"""Files: names of a checkpoint's files, where things are kept, and how to write them completely or not at all.

Imports nothing heavy, so that the job runner and `sim2street jobs` start quickly.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sim2street import IS_CHECKOUT, ROOT
from sim2street.models.errors import UnreadableError

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
METRICS: Final = "metrics.json"
CARD: Final = "README.md"
RUN_FOLDER: Final = "checkpoint"
"""Name of the checkpoint within the folder of a training run."""
PROGRESS: Final = "progress.jsonl"
"""Name of the journal there."""
RUNS_VARIABLE: Final = "SIM2STREET_RUNS"
"""Environment variable: where jobs, promoted checkpoints and the admin's settings are kept."""
UNPAIRED: Final = "backslashreplace"
"""How to write bytes of a file name that are not UTF-8: as JSON escapes, which read back as the same name."""
HALF_WRITTEN: Final = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)\.partial")
"""Name of a file or folder while a process is writing it, as made by `partial_of`."""

LARGEST_JSON: Final = 4 * 2**20
"""Largest accepted size in bytes of a record, config or table; ours have thousands."""

LITTER: Final = frozenset(
    (
        "__macosx", ".ds_store", ".localized", ".spotlight-v100", ".fseventsd", ".trashes", "thumbs.db", "ehthumbs.db",
        "desktop.ini", "$recycle.bin", "system volume information", "@eadir", ".directory", ".thumbnails",
        ".ipynb_checkpoints",
    )
)  # fmt: skip
"""Files that systems and tools leave beside the user's files, in lower case."""


def is_litter(name: str) -> bool:
    """Whether a system or tool left a file or folder of this name: `._photo.jpg`, `__MACOSX`, `Thumbs.db`."""
    return name.startswith("._") or name.lower() in LITTER


def visible(folder: Path, pattern: str = "*") -> list[Path]:
    """Entries of `folder` that match a pattern, sorted by name; hidden entries and litter are skipped."""
    found = folder.glob(pattern) if folder.is_dir() else ()
    return sorted(path for path in found if not path.name.startswith(".") and not is_litter(path.name))


def runs_folder() -> Path:
    """Where jobs and their results are kept: SIM2STREET_RUNS, or `runs` in the checkout or, without one, the current folder."""
    named = os.environ.get(RUNS_VARIABLE)
    if named:
        return Path(named).absolute()
    return (ROOT if IS_CHECKOUT else Path.cwd()) / "runs"


def promoted_folder() -> Path:
    """Checkpoints that an admin has added to the catalog."""
    return runs_folder() / "promoted"


def partial_of(path: Path) -> Path:
    """Temporary path beside `path`, where this process writes its replacement."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def remove_left_behind(path: Path) -> None:
    """Remove partial files and folders that writers of `path` left when they were killed; they can be gigabytes."""
    for item in path.parent.iterdir():
        match = HALF_WRITTEN.fullmatch(item.name)
        if match is None or match["name"] != path.name or still_runs(int(match["process"])):
            continue
        if item.is_dir():
            shutil.rmtree(item, ignore_errors=True)
        else:
            item.unlink(missing_ok=True)


def still_runs(process: int) -> bool:
    """Whether a process with this id exists; True if the system cannot tell."""
    if process == 0:  # would ask about this process's own group
        return False
    if os.name != "posix":  # elsewhere signal 0 would interrupt the process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's process
        return True
    return True


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`: the file written there replaces `path` at the end, or is removed on an error."""
    partial = partial_of(path)
    try:
        with failures_naming(path):
            yield partial
            give_usual_mode(partial)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def failures_naming(path: Path) -> Iterator[None]:
    """Within the block, a write that fails names `path`: a full disk names no file, and a partial file means nothing to the user."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).startswith(str(partial_of(path))):
            error.filename, error.filename2 = str(path), None
        raise


def give_usual_mode(path: Path) -> None:
    """Give a file the mode that the umask allows; safetensors makes its files readable by their owner only."""
    mask = os.umask(0)
    os.umask(mask)
    if path.is_file():
        path.chmod(0o666 & ~mask)


def read_regular(path: Path, limit: int) -> bytes:
    """Read a file from an untrusted source; a pipe, a device or a folder is refused without blocking.

    Raises:
        UnreadableError: it is missing, not a file, not permitted, or larger than `limit` bytes.
    """
    try:
        # Without O_NONBLOCK, opening a pipe would block before it could be recognised.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError(f"{path} cannot be read: expected a file, found a pipe, a device or a folder.")
            data = file.read(limit + 1)
    except OSError as error:
        raise UnreadableError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(data) > limit:
        raise UnreadableError(f"{path} is larger than {in_units(limit)}, the limit for such a file.")
    return data


def read_json(path: Path) -> Any:
    """Read a JSON file from an untrusted source.

    Raises:
        UnreadableError: as `read_regular`, or it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(read_regular(path, LARGEST_JSON).decode("utf-8"))
    except RecursionError as error:
        raise UnreadableError(f"{path} cannot be read: it is nested too deeply.") from error
    except ValueError as error:
        raise UnreadableError(f"{path} cannot be read: it is not JSON ({error}).") from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically: readers never see a partial file."""
    with written_whole(path) as partial:
        partial.write_bytes(data)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; files that vanish meanwhile count as 0."""
    total = 0
    for item in path.rglob("*") if path.is_dir() else [path]:
        try:
            total += item.lstat().st_size if item.is_file() else 0
        except OSError:
            continue
    return total


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def in_units(size: float) -> str:
    """A readable size in decimal units: 640 bytes, 47 MB, 1.4 GB."""
    units = ("bytes", "kB", "MB", "GB", "TB")
    power = min((len(str(round(size))) - 1) // 3, len(units) - 1)
    value = size / 1000**power
    return f"{value:.{1 if power and value < 9.95 else 0}f} {units[power]}"


def replace_folder(new: Path, place: Path) -> None:
    """Move folder `new` to `place`.

    A kill leaves either the old folder or the new one in place. Only a kill between the two renames leaves neither; then the
    old one is kept beside its place as `.NAME.old`, and the next call restores it.
    """
    for item in new.iterdir():
        with item.open("rb") as file:
            os.fsync(file.fileno())
    old = place.parent / f".{place.name}.old"
    if old.exists():
        shutil.rmtree(old) if place.exists() else old.rename(place)
    if not place.exists():
        new.rename(place)
        return
    place.rename(old)
    new.rename(place)
    shutil.rmtree(old)


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically: a reader or a kill sees the old file or the new one.

    For a symbolic link, the file it points to is replaced; a device or a pipe is written to.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not support.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8", errors=UNPAIRED)
        return
    with written_whole(path.resolve()) as partial, partial.open("w", encoding="utf-8", errors=UNPAIRED) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
