"""Places: where a job trains, with one runner for each value of `Job.where`."""

from __future__ import annotations

from typing import Any, Final, Protocol

from sim2street.training.config import RunConfig
from sim2street.training.jobs import local
from sim2street.training.jobs.hub import HubRunner
from sim2street.training.jobs.record import Job
from sim2street.training.jobs.slurm import SlurmRunner
from sim2street.training.jobs.store import JobStore


class Place(Protocol):
    """What the pages and commands ask of the runner of a place."""

    def submit(self, config: RunConfig, **values: Any) -> Job:
        """Record a job and start it, or queue it; `values` are fields of `Job`."""
        ...

    def cancel(self, job: str) -> Job:
        """Ask a job to save and stop."""
        ...

    def retry(self, job: str) -> Job:
        """Start an ended job again."""
        ...

    def refresh(self, job: str) -> Job:
        """The job's record, brought up to date."""
        ...


class LocalRunner:
    """This machine; its jobs are recorded by the runner process."""

    def __init__(self, store: JobStore) -> None:
        self.store = store

    def submit(self, config: RunConfig, **values: Any) -> Job:
        """Queue a job."""
        job = self.store.create(config, **values)
        local.attend(self.store)
        return job

    def cancel(self, job: str) -> Job:
        """See `local.cancel`."""
        return local.cancel(self.store, job)

    def retry(self, job: str) -> Job:
        """See `local.retry`."""
        return local.retry(self.store, job)

    def refresh(self, job: str) -> Job:
        """The record, which is always up to date."""
        return self.store.get(job)


PLACES: Final = {"local": LocalRunner, "hub": HubRunner, "slurm": SlurmRunner}


def place_of(store: JobStore, job: str) -> Place:
    """The runner of a job's place."""
    return PLACES[store.get(job).where](store)


def in_words(job: Job) -> str:
    """Where a job trains, for a sentence."""
    if job.where == "hub":
        return f"Hugging Face Jobs, {job.flavour}"
    if job.cluster is None:
        return "this machine"
    number = f", job {job.slurm_id}" if job.slurm_id else ""
    return f"SLURM{number}, {job.cluster.partition or 'default partition'}, {job.cluster.gpus} GPU{'s' * (job.cluster.gpus != 1)}"
