"""JobStore: one folder per job, changed under a lock, readable by any process at any time.

<runs>/jobs/<id>/job.json      the record, replaced atomically
                 recipe.json   the resolved recipe as submitted; later edits of the recipe do not reach it
                 log.txt       the trainer's output, capped
                 pulse.json    the runner's latest check of the trainer
                 activity.json what the trainer does besides its steps
                 run/          the run: state, progress, samples, checkpoint
<runs>/jobs/.trash/<id>/       deleted, until the trash is emptied
<runs>/promoted/<name>/        checkpoints that the catalog shows
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sim2street.models.errors import Sim2StreetError, UnreadableError
from sim2street.models.storage.files import (
    RUN_FOLDER,
    promoted_folder,
    read_json,
    replace_folder,
    runs_folder,
    size_of,
    visible,
    write_json,
)
from sim2street.training.activity import Activity, clear, read_activity
from sim2street.training.jobs.record import IDENTIFIER, Job, JobError, JobState, check_identifier
from sim2street.training.locks import Busy, hold

if TYPE_CHECKING:
    from sim2street.models.storage.checkpoint import Checkpoint
    from sim2street.training.config import RunConfig

JOB: Final = "job.json"
RECIPE: Final = "recipe.json"
LOG: Final = "log.txt"
PULSE: Final = "pulse.json"
ACTIVITY: Final = "activity.json"
RUN: Final = "run"
TRASH: Final = ".trash"


class JobStore:
    """The jobs below one folder.

    Args:
        folder: by default `jobs` in `sim2street.models.storage.files.runs_folder()`; created with the first job.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or runs_folder() / "jobs").absolute()
        self._known: dict[Path, tuple[tuple[int, int], Job]] = {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock: no other process changes a record within the block.

        Raises:
            JobError: another process has held the lock for too long.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with hold(self.folder / ".lock", seconds=20):
                yield
        except Busy as error:
            raise JobError(f"{self.folder} has been in use by another process for 20 seconds; try again.") from error

    def place(self, job: str) -> Path:
        """Folder of a job."""
        return self.folder / check_identifier(job)

    def run(self, job: str) -> Path:
        """Folder of its run."""
        return self.place(job) / RUN

    def create(self, config: RunConfig, **values: Any) -> Job:
        """Queue a job for `config`; `values` are fields of `Job`, including `id` for one whose record was lost.

        Raises:
            ConfigError: a value is wrong.
            JobError: a job with that id exists.
        """
        with self.locked():
            identifier = values.pop("id", None) or f"{self._next_number():04d}-{config.name or config.method}"
            given = {"title": config.title, "recipe": config.name, "steps": config.total_steps}
            job = Job.parse({"id": identifier, "submitted_at": round(time.time(), 1), **given, **values}, where="job")
            if self.place(identifier).exists():
                raise JobError(f"Job {identifier} already exists.")
            # Created beside its place, so that a job appears completely or not at all.
            partial = self.folder / f".{identifier}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            write_json(partial / RECIPE, config.model_dump(mode="json"))
            write_json(partial / JOB, job.model_dump(mode="json"))
            partial.rename(self.place(identifier))
        return job

    def jobs(self) -> list[Job]:
        """All jobs, latest first."""
        return self._listed(self.folder)

    def trash(self) -> list[Job]:
        """Deleted jobs that can still be restored, latest first."""
        return self._listed(self.folder / TRASH)

    def named(self, text: str) -> str:
        """The identifier of the job with this number, with or without leading zeros; other texts unchanged."""
        number = text.lstrip("0")  # compared as text: Python refuses to convert thousands of digits
        return next((job.id for job in self.jobs() if job.id.split("-")[0].lstrip("0") == number), text)

    def get(self, job: str) -> Job:
        """Read one job; a job with a damaged record is returned as lost, with the reason.

        Raises:
            JobError: there is no such job.
        """
        place = self.place(job)
        if not place.is_dir():
            known = ", ".join(self._names(self.folder)[:8]) or "none yet"
            raise JobError(f"There is no job {job!r}; known jobs are {known}.")
        return self._read(place)

    def config(self, job: str) -> RunConfig:
        """The recipe of a job as it was submitted.

        Raises:
            ConfigError: it is damaged, or from another version.
        """
        from sim2street.training.config import RunConfig

        return RunConfig.read(self.place(job) / RECIPE)

    def change(self, job: str, make: Callable[[Job], Job]) -> Job:
        """Atomically replace a record with what `make` returns for the current one."""
        with self.locked():
            before = self.get(job)
            after = make(before)
            if after != before or not (self.place(job) / JOB).exists():
                write_json(self.place(job) / JOB, after.model_dump(mode="json"))
            return after

    def pulse(self, job: str) -> dict[str, float]:
        """The runner's latest check of the trainer: `peak_memory_mb`, `seconds` of training, `silent_seconds`; empty before one."""
        try:
            found = read_json(self.place(job) / PULSE)
            return {str(key): float(value) for key, value in found.items()}
        except (UnreadableError, ValueError, AttributeError, TypeError, OverflowError):
            return {}

    def activity(self, job: str) -> Activity | None:
        """What the trainer of a running job does besides its steps, such as storing a data set."""
        return read_activity(self.place(job) / ACTIVITY)

    def begin_attempt(self, job: str) -> None:
        """Delete the notes about an earlier attempt's trainer."""
        for name in (PULSE, ACTIVITY):
            clear(self.place(job) / name)

    def delete(self, job: str) -> None:
        """Move an ended job to the trash; `restore` brings it back.

        Raises:
            JobError: it has not ended.
        """
        with self.locked():
            found = self.get(job)
            if not found.state.ended:
                raise JobError(f"Job {job} is {found.state.value}; cancel it first.")
            if found.publication is not None and found.publication.state == "waiting":
                raise JobError(f"Job {job} is still being published to {found.publication.repo_id}.")
            if found.evaluation is not None and found.evaluation.state == "waiting":
                raise JobError(f"Job {job} is still being evaluated.")
            (self.folder / TRASH).mkdir(exist_ok=True)
            self.place(job).rename(self.folder / TRASH / check_identifier(job))

    def restore(self, job: str) -> Job:
        """Restore a deleted job.

        Raises:
            JobError: it is not in the trash.
        """
        with self.locked():
            place = self.folder / TRASH / check_identifier(job)
            if not place.is_dir():
                raise JobError(f"Job {job} is not in the trash.")
            place.rename(self.place(job))
            return self.get(job)

    def empty_trash(self) -> int:
        """Permanently remove deleted jobs; returns the number of bytes freed."""
        with self.locked():
            trash = self.folder / TRASH
            freed = size_of(trash)
            shutil.rmtree(trash, ignore_errors=True)
        return freed

    def promote(self, job: str, name: str) -> Checkpoint:
        """Copy the checkpoint of a finished job into the catalog under `name`.

        Raises:
            JobError: it has no checkpoint, the name is invalid or taken, or the disk is full.
        """
        from sim2street.models.storage.catalog import catalog
        from sim2street.models.storage.checkpoint import Checkpoint

        if not name.isascii() or not name.replace("_", "a").isalnum() or len(name) > 80:
            raise JobError(f"A checkpoint's name may have up to 80 letters, digits and _; found {name[:90]!r}.")
        trained = Checkpoint.open(self.run(job) / RUN_FOLDER)
        place = promoted_folder() / name
        with self.locked():
            # Of two checkpoints with the same name the catalog shows the first, which is never the promoted one.
            if place.exists() or any(entry.name == name for entry in catalog(wait=False)):
                raise JobError(f"The catalog already has a checkpoint {name!r}; choose another name.")
            partial = promoted_folder() / f".{name}.partial"
            try:
                partial.parent.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(partial, ignore_errors=True)
                shutil.copytree(trained.path, partial)
                Checkpoint.open(partial)
                replace_folder(partial, place)
            except OSError as error:
                shutil.rmtree(partial, ignore_errors=True)
                raise JobError(f"{name} could not be written to {promoted_folder()}: {error.strerror}.") from error
        return Checkpoint.open(place)

    def withdraw(self, name: str) -> None:
        """Remove a promoted checkpoint from the catalog; its job keeps its own copy.

        Raises:
            JobError: no checkpoint of that name was promoted.
        """
        with self.locked():
            if name not in promoted_names():
                raise JobError(f"There is no promoted checkpoint {name[:60]!r}.")
            gone = promoted_folder() / f".{name}.gone"
            (promoted_folder() / name).rename(gone)
            shutil.rmtree(gone)

    def _names(self, folder: Path) -> list[str]:
        try:
            return sorted((path.name for path in folder.iterdir() if IDENTIFIER.fullmatch(path.name)), reverse=True)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _listed(self, folder: Path) -> list[Job]:
        """The jobs in a folder, latest first; an unreadable one gives the reason, one deleted meanwhile is left out."""
        found = []
        for name in self._names(folder):
            with suppress(FileNotFoundError):
                found.append(self._read(folder / name))
        return found

    def _read(self, place: Path) -> Job:
        path = place / JOB
        try:
            status = path.stat()
            version = (status.st_ino, status.st_mtime_ns)
            if place not in self._known or self._known[place][0] != version:
                self._known[place] = version, Job.parse(read_json(path), where=str(path))
            return self._known[place][1]
        except (OSError, ValueError, TypeError, OverflowError, RecursionError, Sim2StreetError) as error:
            return _rebuilt(place, str(error))

    def _next_number(self) -> int:
        # Kept apart from the folders, so that a number in the audit log never refers to two jobs.
        counter = self.folder / ".number"
        names = [*self._names(self.folder), *self._names(self.folder / TRASH)]
        last = max((int(name.partition("-")[0]) for name in names), default=0)
        if counter.exists() and counter.read_text().strip().isdecimal():
            last = max(last, int(counter.read_text()))
        write_json(counter, last + 1)
        return last + 1


def promoted_names() -> list[str]:
    """Checkpoints that were promoted into the catalog."""
    folder = promoted_folder()
    return [path.name for path in visible(folder)]


def _rebuilt(place: Path, error: str) -> Job:
    """A job whose record is damaged, for example after a power cut; its recipe and run still exist."""
    from sim2street.training.config import RunConfig

    known: dict[str, Any] = {"title": place.name, "recipe": "", "steps": 1}
    try:
        config = RunConfig.read(place / RECIPE)
        known = {"title": config.title, "recipe": config.name, "steps": config.total_steps}
    except Sim2StreetError:
        error += "; so is its recipe"
    reason = f"Its record is damaged ({error}). Retry resumes from what was trained, which is in {place / RUN}."
    when = place.lstat().st_mtime
    return Job(id=place.name, state=JobState.LOST, reason=reason, submitted_at=when, **known)
