"""A store in a folder of its own, and a recipe that trains in seconds on tiny rendered streets."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sim2street.training.config import RunConfig
from sim2street.training.jobs import processes
from sim2street.training.jobs.record import Job
from sim2street.training.jobs.slurm import EXECUTOR_VARIABLE, _Queue
from sim2street.training.jobs.store import JobStore

STREETS = {"dataset": "street_scenes", "count": 3, "size": [64, 32], "seed": 5}


def tiny_config(**changes: Any) -> RunConfig:
    network = {"backbone": "resnet18", "width": 0.125, "output_stride": 16, "dilations": [1]}
    values = {
        "title": "Tiny",
        "name": "tiny",
        "method": "source_only",
        "network_options": {**network, "caffe_style": False, "train_norm": True},
        "sources": [STREETS],
        "optimisers": {"segmenter": {"kind": "sgd", "rate": 1e-2}},
        "steps": 4,
        "workers": 0,
        "save_every": 1,
        "log_every": 1,
        "evaluations": [{**STREETS, "seed": 6, "count": 2}],
    }
    return RunConfig.parse({**values, **changes}, where="test")


def endless(**changes: Any) -> RunConfig:
    """A run that is still at work whenever a test kills it."""
    return tiny_config(steps=100_000, evaluations=[], **changes)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 300) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def ended(store: JobStore, job: str, seconds: float = 300) -> Job:
    return wait_for(lambda: (found := store.get(job)).state.ended and found, f"the end of {job}", seconds)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStore]:
    monkeypatch.setenv("SIM2STREET_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("sim2street.training.jobs.local.LINGER", 0.1)
    store = JobStore()
    yield store
    for job in store.jobs():  # whatever a failing test leaves behind
        if job.trainer is not None:
            processes.end(job.trainer, signal.SIGKILL)
    for pid in runners(store):
        os.kill(pid, signal.SIGKILL)


def runners(store: JobStore, module: str = "sim2street.training.jobs.local") -> list[int]:
    """Runner processes of a store, or those of its follow-ups, from the system's own list."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
                status = (entry / "stat").read_text()
            except OSError:
                continue
            if module.encode() in arguments and str(store.folder).encode() in arguments:
                parents[int(entry.name)] = int(status.rpartition(")")[2].split()[1])
    # A runner's child bears its command line for an instant, between fork and exec.
    return [process for process, parent in parents.items() if parent not in parents]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the cluster's commands; `NAME.txt` in it is what one prints, `NAME.err` makes it fail with that."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    for name in ("sbatch", "srun", "squeue", "sacct", "scancel"):
        script = (
            f'#!/bin/sh\necho "$@" >> {folder}/{name}.calls\n'
            f"if [ -e {folder}/{name}.err ]; then cat {folder}/{name}.err >&2; exit 1; fi\n"
            f"if [ -e {folder}/{name}.txt ]; then cat {folder}/{name}.txt; fi\n"
        )
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    (folder / "sbatch.txt").write_text("Submitted batch job 77\n")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv(EXECUTOR_VARIABLE, raising=False)
    _Queue.forget()
    return folder
