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
from typing import Any, Final

from sim2street.models.errors import Sim2StreetError
from sim2street.models.storage.files import CONFIG, RUN_FOLDER, partial_of, replace_folder, write_json
from sim2street.training.jobs import local
from sim2street.training.jobs.places import PLACES, place_of
from sim2street.training.jobs.record import Job, JobError, JobState
from sim2street.training.jobs.store import RECIPE, RUN, JobStore
from sim2street.training.run.extra_networks import EXTRA_NETWORKS, extra_networks_of
from sim2street.training.sweeps.plan import PlannedRun, starts_from

TICKET: Final = "job.json"
POLL_SECONDS: Final = 1.0
ASK_SECONDS: Final = 15.0
"""How often the Hub or a cluster is asked about its jobs."""


def train_as_jobs(
    runs: Sequence[PlannedRun], where: str = "local", repository: str = "", **values: Any
) -> Iterator[tuple[PlannedRun, str | None]]:
    """Submit every run, then yield each as its job ends, with the reason if it failed.

    A run that starts from another's checkpoint is submitted once that one has ended. Ctrl-C does not stop the jobs; the
    next call waits for the same ones.

    Args:
        runs: the runs to train.
        where: the place, as in `Job.where`.
        repository: on Hugging Face Jobs, the beginning of the repositories' names: `owner/name` takes `owner/name-ROW-SEED`.
        values: further fields of the jobs.
    """
    store, waiting, under_way = JobStore(), list(runs), dict[str, PlannedRun]()
    pause = POLL_SECONDS if where == "local" else ASK_SECONDS
    while waiting or under_way:
        ahead = [*waiting, *under_way.values()]
        ready = [run for run in waiting if not any(starts_from(run, other) for other in ahead)]
        for run in ready or ([] if under_way else waiting[:1]):  # one that waits for itself fails with its own message
            waiting.remove(run)
            wish = {"publication": {"repo_id": _repository(repository, run)}} if repository else {}
            try:
                under_way[_job_of(run, store, where, {**values, **wish}).id] = run
            except Sim2StreetError as error:
                yield run, str(error)
        local.attend(store)
        for name in [name for name in under_way if not store.place(name).is_dir()]:
            yield under_way.pop(name), f"Job {name} was deleted."
        ended = [job for name in under_way if (job := place_of(store, name).refresh(name)).state.ended]
        for job in ended:
            run = under_way.pop(job.id)
            if job.state is JobState.SUCCEEDED:
                collect(store.place(job.id), run.out)
            yield (
                run,
                None if run.is_finished else f"Job {job.id} {job.state.value}: {job.reason or 'no reason is known'}",
            )
        if under_way and not ended:
            time.sleep(pause)


def _repository(beginning: str, run: PlannedRun) -> str:
    return f"{beginning}-{run.row.name}-{run.seed}"


def collect(job: Path, out: Path) -> None:
    """Copy what a finished job has trained: config, extra networks and checkpoint, the checkpoint last and atomically."""
    source = job / RUN
    # Of a job on the Hub only the checkpoint comes back.
    shutil.copyfile(source / CONFIG if (source / CONFIG).exists() else job / RECIPE, out / CONFIG)
    if (kept := extra_networks_of(source)).is_dir():
        shutil.copytree(kept, out / EXTRA_NETWORKS, dirs_exist_ok=True)
    partial = partial_of(out / RUN_FOLDER)
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source / RUN_FOLDER, partial)
    replace_folder(partial, out / RUN_FOLDER)


def _job_of(run: PlannedRun, store: JobStore, where: str, values: dict[str, Any]) -> Job:
    """The run's job from an earlier call, started again there if it failed, or a new one."""
    ticket, name = run.out / TICKET, ""
    try:
        name = json.loads(ticket.read_text(encoding="utf-8"))["job"]
        job = store.get(name)
        if store.config(name) == run.config:
            again = job.state.ended and job.state is not JobState.SUCCEEDED
            if not again or job.where == where:
                return place_of(store, name).retry(name) if again else job
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no recorded job
    except JobError:
        if name and store.place(name).is_dir():
            raise  # the place refuses it again
    job = PLACES[where](store).submit(run.config, by="sweep", **values)
    run.out.mkdir(parents=True, exist_ok=True)
    write_json(ticket, {"job": job.id})
    return job
