"""Job: one training as it stands on disk, and which states may follow which."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field

from sim2street.models.errors import Sim2StreetError
from sim2street.models.options import Options


class JobError(Sim2StreetError):
    """A job that does not exist, cannot be started, or is not in the state that was expected."""


class JobState(StrEnum):
    """Where a job stands. Lost: it ended and nobody saw how."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        """Whether nothing happens any more unless somebody retries."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


_AGAIN: Final = frozenset({JobState.QUEUED})
_FOLLOWERS: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED, JobState.LOST}),
    # A job on the Hub may be waiting for hardware again.
    JobState.RUNNING: frozenset(set(JobState) - {JobState.RUNNING}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: _AGAIN,
    JobState.CANCELLED: _AGAIN,
    # Seen again after all, such as a job on the Hub whose answer was late.
    JobState.LOST: _AGAIN | {JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED},
}

IDENTIFIER: Final = re.compile(r"^\d{4,9}-[a-z0-9_]{1,80}$")
"""Identifiers are folder names: nothing else ever reaches a path."""
_NAME: Final = r"[A-Za-z0-9](?:[.-]?[A-Za-z0-9_])*"
ACCOUNT: Final = rf"^{_NAME}$"
REPOSITORY: Final = rf"^{_NAME}/{_NAME}$"
"""As the Hub has them: ASCII, neither `..` nor `--`, no dot or dash at an end. No such name climbs out of an address."""
LONGEST_NAME: Final = 96
"""Characters of a repository's name on the Hub, its owner included."""


class ProcessIdentity(Options):
    """A process that cannot be mistaken for a later one with its number.

    Attributes:
        pid: its number, which the system gives away again.
        started: when it started, in ticks since boot: no clock can be set that changes this.
        boot: which boot of the machine.
    """

    pid: int = Field(gt=1)
    started: str
    boot: str


class Processes(Options):
    """On how many processes a job trains; more than one is launched by accelerate."""

    count: int = Field(default=1, ge=1, le=64, description="Processes on this machine, one per GPU.")
    machines: int = Field(default=1, ge=1, le=64, description="Machines that train together.")
    machine_rank: int = Field(default=0, ge=0, le=63, description="Which of them this one is; 0 is the first.")
    main_address: str = Field(
        default="127.0.0.1", pattern=r"^[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}$", description="Address of the first machine."
    )
    main_port: int = Field(default=29500, ge=1024, le=65535, description="Port of the first machine.")


class _Wish(Options):
    """Something that is wanted of a finished job."""

    def having(self, **changes: Any) -> Self:
        """Return this wish with other values, checked."""
        return type(self).parse({**self.model_dump(), **changes}, where=type(self).__name__.lower())


class Publication(_Wish):
    """The wish to have the checkpoint on the Hub, and how far it has come. Training is done either way."""

    repo_id: str = Field(pattern=REPOSITORY, max_length=LONGEST_NAME)
    private: bool = True
    state: Literal["waiting", "published", "failed"] = "waiting"
    attempts: int = Field(default=0, ge=0)
    error: str = ""
    url: str = ""
    revision: str = ""

    def after_failure(self, error: str, tries: int) -> Self:
        """Return this wish after one more try in vain, of which there are `tries` after the first."""
        attempts = self.attempts + 1
        return self.having(state="waiting" if attempts <= tries else "failed", attempts=attempts, error=error)


class Evaluation(_Wish):
    """The wish to have the checkpoint scored on a labelled set; figures land in its metrics.json."""

    dataset: str = Field(pattern=r"^[a-z0-9_]{1,40}$")
    split: str | None = Field(default=None, pattern=r"^[a-z0-9_]{1,40}$")
    style: str = Field(default="game", pattern=r"^[a-z]{1,20}$")
    count: int = Field(default=100, ge=1, le=5000, description="Street scenes to score.")
    state: Literal["waiting", "done", "failed"] = "waiting"
    error: str = ""


class Job(Options):
    """One training. Frozen: `JobStore.change` writes a new one in its place."""

    format: Literal[1] = 1
    id: str = Field(pattern=IDENTIFIER.pattern)
    title: str
    recipe: str
    steps: int = Field(ge=1, description="Optimiser steps over all stages.")
    where: Literal["local", "hub"] = "local"
    by: str = Field(default="", description="Who submitted it.")
    state: JobState = JobState.QUEUED
    reason: str = Field(default="", description="Why it is in this state, in words.")
    submitted_at: float = Field(description="Unix time, for people; no decision rests on it.")
    ended_at: float | None = None
    seconds: float = Field(default=0.0, ge=0, description="Spent training, over all attempts; by a steady clock.")
    attempt: int = Field(default=0, ge=0)
    cancel_asked: bool = False
    patience_seconds: Annotated[float, Field(gt=0)] = Field(
        default=3600.0, description="Silence after which the trainer is taken for hung."
    )
    grace_seconds: Annotated[float, Field(gt=0)] = Field(
        default=600.0,
        description="Time to save and stop in before a trainer is killed; an evaluation under way ends first.",
    )
    expected_seconds: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]] | None = Field(
        default=None, description="From shortest to longest, as it was estimated when it was launched."
    )
    processes: Processes = Processes()
    trainer: ProcessIdentity | None = None
    publication: Publication | None = None
    evaluation: Evaluation | None = None
    flavour: str = Field(default="", pattern=r"^[a-z0-9-]{0,40}$", description="Hardware on Hugging Face Jobs.")
    timeout_minutes: int = Field(default=240, ge=5, le=7 * 24 * 60, description="Of a job on Hugging Face Jobs.")
    namespace: str = Field(
        default="", pattern=rf"{ACCOUNT}|^$", max_length=LONGEST_NAME, description="Who pays for it there."
    )
    hub_id: str = Field(default="", pattern=r"^[\w-]{0,64}$", description="Its name there.")

    def may_become(self, state: JobState) -> bool:
        """Whether that state can follow the present one."""
        return state in _FOLLOWERS[self.state]

    def again(self) -> Self:
        """Return this ended job as one that waits for another attempt.

        Raises:
            JobError: it has not ended, and somebody may be at work on it; or it succeeded.
        """
        if not self.state.ended:
            raise JobError(f"Job {self.id} is {self.state.value} already.")
        return self.to(JobState.QUEUED, reason="", ended_at=None, cancel_asked=False, trainer=None, hub_id="")

    def to(self, state: JobState, **changes: Any) -> Self:
        """Return this job in another state.

        Raises:
            JobError: that state cannot follow the present one.
        """
        if not self.may_become(state):
            raise JobError(f"Job {self.id} is {self.state.value} and cannot become {state.value}.")
        return self.having(state=state, **changes)

    def having(self, **changes: Any) -> Self:
        """Return this job with other values, checked."""
        return type(self).parse({**self.model_dump(), **changes}, where=f"job {self.id}")


def check_identifier(text: str) -> str:
    """Return a job's identifier as it stands, or raise `JobError` for what could be a path or anything else."""
    if not isinstance(text, str) or not IDENTIFIER.fullmatch(text):
        raise JobError(f"{str(text)[:60]!r} is no job; expected something like 0001-demo_source_only_game.")
    return text
