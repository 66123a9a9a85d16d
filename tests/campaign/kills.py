"""Processes that are killed at a random moment while they write; what was there before, or what came, has to be whole."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import HALF_WRITTEN, RUN_FOLDER, read_json, write_json
from sim2street.training.datasets.rendered import StreetScenes
from sim2street.training.datasets.stored import cache_dataset
from sim2street.training.jobs import local, processes
from sim2street.training.jobs.record import JobState
from sim2street.training.jobs.store import JobStore
from sim2street.training.run.folder import STATE
from sim2street.training.run.loop import train
from tests.app.conftest import save_tiny
from tests.campaign.part import HANG, Outcome
from tests.training.jobs.conftest import ended, endless, runners, tiny_config, wait_for

RUNNER = "job runner"
LONGEST = 1.5
"""Seconds from the first write until the kill, at most."""
PATIENCE = 300.0
"""Seconds for a job that is trained anew; this is no call that a visitor waits for."""


@dataclass(frozen=True)
class Kind:
    """What is killed.

    Attributes:
        kill: is given a folder and seconds; starts a writer there, and kills it so long after it has begun to write.
        check: raises an error unless what lies in the folder is whole.
        seconds: that the check may take.
    """

    kill: Callable[[Path, float], None]
    check: Callable[[Path], Any]
    seconds: float = HANG


def kills(count: int, rng: Random, folder: Path) -> Outcome:
    """Each kind of writer in turn, each in a process of its own; job runners, which take longest, half as often."""
    torch.set_num_threads(1)  # a process with threads cannot be split in two
    outcome, names = Outcome(), [*KINDS, *(name for name in KINDS if name != RUNNER)]
    for number in range(count):
        name = names[number % len(names)]
        kind, place = KINDS[name], folder / str(number)
        place.mkdir()
        kind.kill(place, rng.uniform(0.0, LONGEST))
        before = outcome.refused
        outcome.attack(f"kill {number}, {name}", lambda kind=kind, place=place: kind.check(place), seconds=kind.seconds)
        outcome.expect(outcome.refused == before, f"kill {number}: what the {name} had written is lost")
    done = Counter(names[number % len(names)] for number in range(count))
    outcome.note = ", ".join(f"{name} {times}" for name, times in done.items())
    return outcome


def _writer(write: Callable[[Path], None], first: str) -> Callable[[Path, float], None]:
    """A writer that runs in a copy of this process; `first` is a pattern of what it has written when it has begun."""

    def kill(place: Path, seconds: float) -> None:
        pid = os.fork()
        if not pid:
            _be_quiet()
            try:
                write(place)
            finally:
                os._exit(1)
        try:
            wait_for(lambda: any(place.glob(first)), first, PATIENCE)
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), "the writer ended before it was killed"

    return kill


def _be_quiet() -> None:
    signal.alarm(0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)


def _train(place: Path) -> None:
    train(endless(), place / "run")


def _state_is_whole(place: Path) -> None:
    assert torch.load(place / "run" / STATE, weights_only=True)["method"]


def _save_checkpoints(place: Path) -> None:
    while True:
        save_tiny(place, "saved", "advent", "Saved")


def _checkpoint_is_whole(place: Path) -> None:
    """Between two renames of `replace_folder` the earlier one lies beside its place."""
    saved = place / "saved"
    Checkpoint.open(saved if saved.exists() else place / ".saved.old").load()
    save_tiny(place, "saved", "advent", "Saved")
    Checkpoint.open(saved).load()
    assert [path.name for path in place.iterdir()] == ["saved"], "the next save removes what a killed one has left"


def _change_jobs(place: Path) -> None:
    store = JobStore(place / "jobs")
    job = store.create(tiny_config())
    number = 0
    while True:
        number += 1
        store.change(job.id, lambda found, reason=str(number): found.having(reason=reason * 500))


def _jobs_are_whole(place: Path) -> None:
    (job,) = JobStore(place / "jobs").jobs()
    assert job.state is JobState.QUEUED
    assert JobStore(place / "jobs").config(job.id).title == "Tiny"


def _write_records(place: Path) -> None:
    number = 0
    while True:
        number += 1
        write_json(place / "record.json", {"number": number, "filling": "x" * 100_000})


def _record_is_whole(place: Path) -> None:
    assert read_json(place / "record.json")["number"] > 0


def _streets() -> StreetScenes:
    return StreetScenes(count=6, size=(64, 32), seed=7)


def _fill_caches(place: Path) -> None:
    number = 0
    while True:
        number += 1
        cache_dataset(_streets(), folder=place / "cache")
        for path in (place / "cache").rglob("*.npy"):
            path.unlink()


def _cache_is_whole(place: Path) -> None:
    """The next run has the whole set: as the killed one stored it, or stored anew."""
    streets, stored = _streets(), cache_dataset(_streets(), folder=place / "cache")
    for index in range(len(streets)):
        assert np.array_equal(stored.read(index).photo, streets.read(index).photo)
        assert np.array_equal(stored.read(index).labels, streets.read(index).labels)
    left = [path for path in (place / "cache").rglob("*") if HALF_WRITTEN.fullmatch(path.name)]
    assert not left, "the next writer removes what a killed one has left"


def _kill_runner(place: Path, seconds: float) -> None:
    """The runner of a store that trains a job; every other time its trainer with it."""
    store = JobStore(place / "jobs")
    job = store.create(tiny_config(steps=20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIM2STREET_RUNS", str(place))
        local.attend(store)
        runner = wait_for(lambda: runners(store), "the runner", PATIENCE)[0]
        if seconds > LONGEST / 2:
            wait_for(lambda: store.get(job.id).trainer, "the trainer", PATIENCE)
        time.sleep(seconds)
        os.kill(runner, signal.SIGKILL)
        trainer = store.get(job.id).trainer
        if trainer is not None and int(seconds * 1000) % 2:
            processes.end(trainer, signal.SIGKILL)


def _job_is_finished(place: Path) -> None:
    """The next runner brings the job to its end: at once, or when it is asked to go on with what was lost."""
    store = JobStore(place / "jobs")
    (job,) = store.jobs()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIM2STREET_RUNS", str(place))
        wait_for(lambda: local.attend(store) or store.get(job.id).state.ended, "another runner", PATIENCE)
        found = ended(store, job.id, PATIENCE)
        if found.state in (JobState.LOST, JobState.FAILED):
            local.retry(store, job.id)
            found = ended(store, job.id, PATIENCE)
        wait_for(lambda: not runners(store), "the runner to end", PATIENCE)
    assert found.state is JobState.SUCCEEDED, f"{found.state.value}: {found.reason}"
    assert Checkpoint.open(store.run(job.id) / RUN_FOLDER).config.step == 20


KINDS = {
    "training": Kind(_writer(_train, f"run/{STATE}"), _state_is_whole),
    "checkpoint save": Kind(_writer(_save_checkpoints, "saved"), _checkpoint_is_whole),
    "job record": Kind(_writer(_change_jobs, "jobs/*/job.json"), _jobs_are_whole),
    "small file": Kind(_writer(_write_records, "record.json"), _record_is_whole),
    "cache": Kind(_writer(_fill_caches, "cache/*/*.npy"), _cache_is_whole),
    RUNNER: Kind(_kill_runner, _job_is_finished, seconds=3 * PATIENCE),
}
