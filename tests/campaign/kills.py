"""Processes that are killed at a random moment while they write; what was there before, or what came, has to be whole."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch

from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import read_json, write_json
from sim2street.training.jobs.record import JobState
from sim2street.training.jobs.store import JobStore
from sim2street.training.run.folder import STATE
from sim2street.training.run.loop import train
from tests.app.conftest import save_tiny
from tests.campaign.part import Outcome
from tests.training.jobs.conftest import endless, tiny_config

LONGEST = 1.5
"""Seconds until the kill, at most."""


def kills(count: int, rng: Random, folder: Path) -> Outcome:
    """Training runs, checkpoint saves, records of jobs and small files, in turn; each writer is a process of its own."""
    torch.set_num_threads(1)  # a process with threads cannot be split in two
    outcome = Outcome()
    kinds: tuple[tuple[str, Callable[[Path], None], Callable[[Path], Any]], ...] = (
        ("training", _train, _state_is_whole),
        ("checkpoint", _save_checkpoints, _checkpoint_is_whole),
        ("job store", _change_jobs, _jobs_are_whole),
        ("small file", _write_records, lambda place: read_json(place / "record.json")["number"]),
    )
    for number in range(count):
        name, write, check = kinds[number % len(kinds)]
        place = folder / str(number)
        place.mkdir()
        _kill_while(write, place, rng.uniform(0.1, LONGEST))
        before = outcome.refused
        outcome.attack(f"kill {number}, {name}", lambda check=check, place=place: check(place))
        outcome.expect(outcome.refused == before, f"kill {number}: what the {name} had written is lost")
    return outcome


def _kill_while(write: Callable[[Path], None], place: Path, seconds: float) -> None:
    """Fork, let the child write for so long, and kill it; it says first that it has written once."""
    ready, told = os.pipe()
    pid = os.fork()
    if not pid:
        signal.alarm(0)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        os.close(ready)
        try:
            place.joinpath("told").write_text(str(told))
            write(place)
        finally:
            os._exit(1)
    os.close(told)
    os.read(ready, 1)
    os.close(ready)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _begun(place: Path) -> None:
    os.write(int((place / "told").read_text()), b"x")


def _train(place: Path) -> None:
    _begun(place)
    train(endless(), place / "run")


def _state_is_whole(place: Path) -> None:
    state = place / "run" / STATE
    if state.exists():
        assert torch.load(state, weights_only=True)["method"]


def _save_checkpoints(place: Path) -> None:
    save_tiny(place, "saved", "advent", "Saved")
    _begun(place)
    while True:
        save_tiny(place, "saved", "advent", "Saved")


def _checkpoint_is_whole(place: Path) -> None:
    Checkpoint.open(place / "saved").load()


def _change_jobs(place: Path) -> None:
    store = JobStore(place / "jobs")
    job = store.create(tiny_config())
    _begun(place)
    number = 0
    while True:
        number += 1
        store.change(job.id, lambda found, reason=str(number): found.having(reason=reason * 500))


def _jobs_are_whole(place: Path) -> None:
    (job,) = JobStore(place / "jobs").jobs()
    assert job.state is JobState.QUEUED
    assert JobStore(place / "jobs").config(job.id).title == "Tiny"


def _write_records(place: Path) -> None:
    write_json(place / "record.json", {"number": 0})
    _begun(place)
    number = 0
    while True:
        number += 1
        write_json(place / "record.json", {"number": number, "filling": "x" * 100_000})
