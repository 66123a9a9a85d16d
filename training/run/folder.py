"""The folder of a run: the names of its files, and a lock so that only one process at a time writes into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from sim2street.models.errors import Sim2StreetError
from sim2street.models.storage.files import CONFIG, RUN_FOLDER
from sim2street.training.locks import Busy, hold

STATE: Final = "state.pt"
SAMPLES: Final = "samples"
LOCK: Final = ".lock"


class RunFolderError(Sim2StreetError):
    """A folder into which another process is writing."""


def is_finished(run: Path) -> bool:
    """Whether a run, or a stage of one, has its checkpoint."""
    return (run / RUN_FOLDER / CONFIG).exists()


@contextmanager
def sole_use(out: Path) -> Iterator[None]:
    """Lock the folder of a run; a kill releases it, because the system drops the lock with its process.

    Of several processes that train one network, only the first takes the lock. A folder created only for the lock is removed.

    Raises:
        RunFolderError: another process holds the lock.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with hold(out / LOCK, seconds=0):
            try:
                yield
            finally:
                if made and [path.name for path in out.iterdir()] == [LOCK]:
                    (out / LOCK).unlink()
                    with suppress(OSError):  # another process may have started to use it
                        out.rmdir()
    except Busy as error:
        raise RunFolderError(
            f"Another process is writing into {out}. Wait for it, stop it, or choose another --out."
        ) from error
