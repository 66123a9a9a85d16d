"""Run a sweep's plan as jobs: they outlive terminal and sweep, and the admin's page lists them with all others.

`<row>/<seed>/job.json` records each run's job, so that a repeated call finds the jobs of the previous one.
A finished job's checkpoint is copied into the sweep's folder; the job keeps its own copy.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from sim2street.models.storage.files import CONFIG, RUN_FOLDER, partial_of, replace_folder, write_json
from sim2street.training.jobs import local
from sim2street.training.jobs.record import Job, JobError, JobState
from sim2street.training.jobs.store import JobStore
from sim2street.training.run.extra_networks import EXTRA_NETWORKS, extra_networks_of
from sim2street.training.sweeps.plan import PlannedRun

TICKET: Final = "job.json"
POLL_SECONDS: Final = 1.0


def train_as_jobs(runs: Sequence[PlannedRun]) -> Iterator[tuple[PlannedRun, str | None]]:
    """Queue every run, then yield each as its job ends, with the reason if it failed.

    Ctrl-C does not stop the jobs; the next call waits for the same ones.
    """
    store = JobStore()
    waiting = {_job_of(run, store).id: run for run in runs}
    while waiting:
        local.attend(store)
        for name in [name for name in waiting if not store.place(name).is_dir()]:
            yield waiting.pop(name), f"Job {name} was deleted."
        ended = [job for name in waiting if (job := store.get(name)).state.ended]
        for job in ended:
            run = waiting.pop(job.id)
            if job.state is JobState.SUCCEEDED:
                collect(store.run(job.id), run.out)
            yield (
                run,
                None if run.is_finished else f"Job {job.id} {job.state.value}: {job.reason or 'no reason is known'}",
            )
        if not ended:
            time.sleep(POLL_SECONDS)


def collect(source: Path, out: Path) -> None:
    """Copy a finished run's config, extra networks and checkpoint, the checkpoint last and atomically."""
    shutil.copyfile(source / CONFIG, out / CONFIG)
    if (kept := extra_networks_of(source)).is_dir():
        shutil.copytree(kept, out / EXTRA_NETWORKS, dirs_exist_ok=True)
    partial = partial_of(out / RUN_FOLDER)
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source / RUN_FOLDER, partial)
    replace_folder(partial, out / RUN_FOLDER)


def _job_of(run: PlannedRun, store: JobStore) -> Job:
    """The run's job from an earlier call, queued again if it failed, or a new one."""
    ticket = run.out / TICKET
    try:
        name = json.loads(ticket.read_text(encoding="utf-8"))["job"]
        job = store.get(name)
        if store.config(name) == run.config:
            again = job.state.ended and job.state is not JobState.SUCCEEDED
            return local.retry(store, name) if again else job
    except (OSError, ValueError, KeyError, TypeError, JobError):
        pass  # no recorded job, or one that was deleted: create a new one
    job = store.create(run.config, by="sweep")
    run.out.mkdir(parents=True, exist_ok=True)
    write_json(ticket, {"job": job.id})
    return job
