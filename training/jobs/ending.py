"""Describe how a trainer ended, from its exit code, its last lines and the files it left."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from sim2street.models.errors import OUT_OF_MEMORY
from sim2street.training.jobs.record import Job, JobState
from sim2street.training.run.folder import is_finished

_DISK = ("No space left on device", "Disk quota exceeded", "File too large", "file write failed", "unexpected pos")
_ADVICE = "Retry resumes from the last saved state."


@dataclass(frozen=True)
class Ending:
    """What is known about how a trainer ended.

    Attributes:
        code: exit code as given by `Popen`, negative for a signal; None if it was not observed.
        lines: its last output.
        hung: seconds of silence after which the runner ended it, or None.
        killed: whether the runner had to kill it because it did not stop when asked.
        out_of_memory_kills: how many processes the kernel killed meanwhile because memory ran out.
    """

    code: int | None
    lines: list[str]
    hung: float | None = None
    killed: bool = False
    out_of_memory_kills: int = 0


def classify(job: Job, run: Path, ending: Ending) -> tuple[JobState, str]:
    """The job's final state, and the reason in one or two sentences."""
    if is_finished(run) and ending.code in (0, None):
        return JobState.SUCCEEDED, ""
    if ending.code == 0 and job.processes.machine_rank > 0:
        return JobState.SUCCEEDED, "Trained as one of several machines; the checkpoint is on the first."
    if ending.hung is not None:
        minutes = ending.hung / 60
        said = f"{minutes:.0f} minutes" if minutes >= 2 else f"{ending.hung:.0f} seconds"
        return JobState.FAILED, f"It hung: it printed nothing for {said} and was ended. {_ADVICE}"
    if job.cancel_asked:
        if ending.killed:
            return (
                JobState.CANCELLED,
                f"It did not stop within {job.grace_seconds:.0f} seconds and was killed. {_ADVICE}",
            )
        failed_to_save = _in_words(ending) if ending.code is None or ending.code > 0 else ""
        return JobState.CANCELLED, _stopped(ending.lines) or failed_to_save or "Stopped before a state was saved."
    words = _in_words(ending)
    if words:
        return JobState.FAILED, words
    if ending.code is None:
        return (
            JobState.LOST,
            f"Trainer and runner ended unseen: they were killed, or the machine went down. {_ADVICE}",
        )
    return JobState.FAILED, f"It ended with exit code {ending.code}; see the log. {_ADVICE}"


def _in_words(ending: Ending) -> str:
    text = "\n".join(ending.lines[-40:])
    said = _last(ending.lines, "error:").removeprefix("error:").strip()
    if any(sign in text for sign in OUT_OF_MEMORY):
        return f"Out of memory: use a smaller batch or crop. {_ADVICE}"
    if any(sign in text for sign in _DISK):
        return f"The disk is full. {said or 'Free some space.'}"
    if said:
        return said
    stopped = _stopped(ending.lines)
    if stopped:
        return f"It was stopped from outside, for example by a shutdown. {stopped}"
    if ending.code is not None and ending.code < 0:
        if ending.out_of_memory_kills and ending.code == -signal.SIGKILL:
            return f"Out of memory: the kernel killed it. Use a smaller batch, or fewer workers. {_ADVICE}"
        return f"It was killed from outside ({signal.Signals(-ending.code).name}). {_ADVICE}"
    if "Traceback (most recent call last):" in ending.lines:
        return f"It failed: {ending.lines[-1][:300]}"
    return ""


def _stopped(lines: list[str]) -> str:
    """The loop's message when it stopped, without its advice for a terminal."""
    return _last(lines, "Stopped at").partition(" Continue with:")[0]


def _last(lines: list[str], beginning: str) -> str:
    return next((line for line in reversed(lines) if line.startswith(beginning)), "")
