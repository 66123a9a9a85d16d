"""Job: one training as recorded on disk, and which states may follow which."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator

from sim2street.models.errors import Sim2StreetError
from sim2street.models.options import Options


class JobError(Sim2StreetError):
    """A job that does not exist, cannot be started, or is not in the expected state."""


class JobState(StrEnum):
    """State of a job. Lost: it ended, but how is unknown."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        """Whether the job has ended; only a retry changes it."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


_AGAIN: Final = frozenset({JobState.QUEUED})
_FOLLOWERS: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED, JobState.LOST}),
    # A job on the Hub may be waiting for hardware again.
    JobState.RUNNING: frozenset(set(JobState) - {JobState.RUNNING}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: _AGAIN,
    JobState.CANCELLED: _AGAIN,
    # Found again, such as a job on the Hub that answered late.
    JobState.LOST: _AGAIN | {JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED},
}

IDENTIFIER: Final = re.compile(r"^\d{4,9}-[a-z0-9_]{1,80}$")
"""Identifiers are folder names; no other text ever reaches a path."""
_NAME: Final = r"[A-Za-z0-9](?:[.-]?[A-Za-z0-9_])*"
ACCOUNT: Final = rf"^{_NAME}$"
REPOSITORY: Final = rf"^{_NAME}/{_NAME}$"
"""The Hub's rules: ASCII, neither `..` nor `--`, no dot or dash at either end. Such a name cannot escape from a URL path."""
LONGEST_NAME: Final = 96
"""Longest repository name on the Hub, including its owner."""


class ProcessIdentity(Options):
    """A process that cannot be confused with a later one of the same pid.

    Attributes:
        pid: its process id, which the system reuses.
        started: start time in ticks since boot, which changes to the system clock do not affect.
        boot: identifier of the machine's boot.
    """

    pid: int = Field(gt=1)
    started: str
    boot: str


class Processes(Options):
    """The processes of a job; accelerate launches more than one."""

    count: int = Field(default=1, ge=1, le=64, description="Processes on this machine, one per GPU.")
    machines: int = Field(default=1, ge=1, le=64, description="Machines that train together.")
    machine_rank: int = Field(default=0, ge=0, le=63, description="Rank of this machine; 0 is the first.")
    main_address: str = Field(
        default="127.0.0.1",
        pattern=r"^[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}$",
        examples=["10.0.0.1", "node-1"],
        description="Address of the first machine.",
    )
    main_port: int = Field(default=29500, ge=1024, le=65535, description="Port of the first machine.")


SBATCH_OPTIONS: Final = (
    "account", "begin", "comment", "constraint", "cpus-per-task", "deadline", "exclude", "exclusive", "gres", "licenses",
    "mail-type", "mail-user", "mem", "mem-per-cpu", "mem-per-gpu", "nice", "nodelist", "prefer", "qos", "reservation",
    "tmp", "wckey",
)  # fmt: skip
"""Options of sbatch that a job may set. The others are the runner's own, or would start several tasks or touch files."""


class Cluster(Options):
    """What a job asks a SLURM cluster for, on one node."""

    partition: str = Field(
        default="",
        pattern=r"^[\w.,-]{0,200}$",
        examples=["gpu", "gpu,gpu-long"],
        description="Partition; empty is the cluster's default.",
    )
    gpus: int = Field(
        default=1, ge=0, le=16, description="GPUs on the node, each with a process; 0 trains on its CPUs."
    )
    options: dict[str, str] = Field(
        default={}, description="Further options of sbatch by name, such as account or mem."
    )

    @field_validator("options")
    @classmethod
    def _known_options(cls, options: dict[str, str]) -> dict[str, str]:
        for name, value in options.items():
            if name not in SBATCH_OPTIONS:
                near = difflib.get_close_matches(name, SBATCH_OPTIONS, n=1)
                hint = f"the nearest is {near[0]!r}" if near else f"expected one of {', '.join(SBATCH_OPTIONS)}"
                raise ValueError(f"{name[:40]!r} is not an option of sbatch that a job may set; {hint}")
            if not re.fullmatch(r"[ -~]{0,200}", value):
                raise ValueError(f"{name} is {value[:40]!r}; expected up to 200 printable ASCII characters.")
        return options


def sbatch_options(texts: Sequence[str]) -> dict[str, str]:
    """Read `mem=64G` and, for an option without a value, `exclusive`."""
    parts = (text.partition("=") for text in texts)
    return {name.strip().removeprefix("--").replace("_", "-"): value.strip() for name, _, value in parts}


class _Wish(Options):
    """A follow-up requested for a finished job."""

    def having(self, **changes: Any) -> Self:
        """Return this request with other values, validated."""
        return type(self).parse({**self.model_dump(), **changes}, where=type(self).__name__.lower())


class Publication(_Wish):
    """A request to publish the checkpoint on the Hub, and its state. Training is done either way."""

    repo_id: str = Field(
        title="repository", pattern=REPOSITORY, max_length=LONGEST_NAME, examples=["your-account/your-model"]
    )
    private: bool = True
    state: Literal["waiting", "published", "failed"] = "waiting"
    attempts: int = Field(default=0, ge=0)
    error: str = ""
    url: str = ""
    revision: str = ""

    @property
    def is_untried(self) -> bool:
        """Whether it waits for its first attempt, or for the answer to it."""
        return self.state == "waiting" and self.attempts == 0

    def after_failure(self, error: str, tries: int) -> Self:
        """Return this request after another failed attempt; `tries` attempts follow the first."""
        attempts = self.attempts + 1
        return self.having(state="waiting" if attempts <= tries else "failed", attempts=attempts, error=error)


class Evaluation(_Wish):
    """A request to score the checkpoint on a labelled set; the results are added to its metrics.json."""

    dataset: str = Field(pattern=r"^[a-z0-9_]{1,40}$", examples=["cityscapes"])
    split: str | None = Field(default=None, pattern=r"^[a-z0-9_]{1,40}$", examples=["val"])
    style: str = Field(default="game", pattern=r"^[a-z]{1,20}$", examples=["game"])
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
    where: Literal["local", "hub", "slurm"] = "local"
    by: str = Field(default="", description="Who submitted it.")
    state: JobState = JobState.QUEUED
    reason: str = Field(default="", description="Reason for this state, as a sentence.")
    submitted_at: float = Field(description="Unix time, for display only; no decision depends on it.")
    ended_at: float | None = None
    seconds: float = Field(
        default=0.0, ge=0, description="Seconds spent training over all attempts, by a monotonic clock."
    )
    attempt: int = Field(default=0, ge=0)
    cancel_asked: bool = False
    patience_seconds: Annotated[float, Field(gt=0)] = Field(
        default=3600.0, description="Silence after which the trainer counts as hung."
    )
    grace_seconds: Annotated[float, Field(gt=0)] = Field(
        default=600.0,
        description="Time a trainer has to save and stop before it is killed; a running evaluation finishes first.",
    )
    expected_seconds: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]] | None = Field(
        default=None, description="Shortest and longest estimate at launch."
    )
    processes: Processes = Processes()
    trainer: ProcessIdentity | None = None
    publication: Publication | None = None
    evaluation: Evaluation | None = None
    flavour: str = Field(
        default="", pattern=r"^[a-z0-9-]{0,40}$", examples=["t4-small"], description="Hardware on Hugging Face Jobs."
    )
    timeout_minutes: int = Field(
        title="timeout",
        default=240,
        ge=5,
        le=7 * 24 * 60,
        description="Time limit of a job on Hugging Face Jobs or SLURM.",
    )
    namespace: str = Field(
        default="",
        pattern=rf"{ACCOUNT}|^$",
        max_length=LONGEST_NAME,
        examples=["your-account"],
        description="Account that pays for it there.",
    )
    hub_id: str = Field(default="", pattern=r"^[\w-]{0,64}$", description="Its id on Hugging Face Jobs.")
    cluster: Cluster | None = Field(default=None, description="What it asks a SLURM cluster for.")
    slurm_id: str = Field(default="", pattern=r"^[0-9]{0,20}$", description="Its number there.")

    def may_become(self, state: JobState) -> bool:
        """Whether that state can follow the current one."""
        return state in _FOLLOWERS[self.state]

    def again(self) -> Self:
        """Return this ended job queued for another attempt.

        Raises:
            JobError: it has not ended and may still be running, or it succeeded.
        """
        if not self.state.ended:
            raise JobError(f"Job {self.id} is already {self.state.value}.")
        fresh = {"reason": "", "ended_at": None, "cancel_asked": False, "trainer": None, "hub_id": "", "slurm_id": ""}
        return self.to(JobState.QUEUED, **fresh)

    def to(self, state: JobState, **changes: Any) -> Self:
        """Return this job in another state.

        Raises:
            JobError: that state cannot follow the current one.
        """
        if not self.may_become(state):
            raise JobError(f"Job {self.id} is {self.state.value} and cannot become {state.value}.")
        return self.having(state=state, **changes)

    def having(self, **changes: Any) -> Self:
        """Return this job with other values, validated."""
        return type(self).parse({**self.model_dump(), **changes}, where=f"job {self.id}")


def check_identifier(text: str) -> str:
    """Return a valid job identifier unchanged; raise `JobError` for anything else, such as a path."""
    if not isinstance(text, str) or not IDENTIFIER.fullmatch(text):
        raise JobError(
            f"{str(text)[:60]!r} is not a job id; expected something like 0001-demo_source_only_game, as `sim2street jobs"
            " list` prints them."
        )
    return text
