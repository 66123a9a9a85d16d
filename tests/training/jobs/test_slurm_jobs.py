"""Jobs on a SLURM cluster: trained by submitit's local executor, and with commands that answer as a cluster does."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path

import pytest

from sim2street.models.errors import ConfigError
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.cli import main
from sim2street.training.jobs import log
from sim2street.training.jobs.estimate import estimate
from sim2street.training.jobs.progress import read_progress
from sim2street.training.jobs.record import Cluster, Job, JobError, JobState
from sim2street.training.jobs.slurm import EXECUTOR_VARIABLE, SlurmRunner, _Queue
from sim2street.training.jobs.store import LOG, JobStore
from sim2street.training.run.folder import STATE
from tests.training.jobs.conftest import endless, tiny_config, wait_for


@pytest.fixture
def here(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> SlurmRunner:
    """Jobs run as processes of this machine."""
    monkeypatch.setenv(EXECUTOR_VARIABLE, "local")
    return SlurmRunner(store)


def seen(store: JobStore, job: str) -> Job:
    _Queue.forget()
    return SlurmRunner(store).refresh(job)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_a_job_trains_on_a_node_and_is_shown_like_the_others(
    here: SlurmRunner, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    recipe = tmp_path / "tiny.json"
    recipe.write_text(tiny_config().model_dump_json())
    assert main(["jobs", "submit", str(recipe), "--slurm", "--gpus", "0", "--timeout", "30"]) == 0
    name = capsys.readouterr().out.strip()
    done = wait_for(lambda: (found := here.refresh(name)).state.ended and found, "its end")
    assert (done.state, done.reason) == (JobState.SUCCEEDED, ""), log.tail(here.store.place(name) / LOG)
    assert (done.where, done.attempt, done.processes.count) == ("slurm", 1, 1)
    assert Checkpoint.open(here.store.run(name) / "checkpoint").config.step == 4
    assert read_progress(here.store.config(name), here.store.run(name)).losses["segmentation"][0] == [1, 2, 3, 4]
    assert main(["jobs", "show", name]) == 0
    assert "on SLURM, job" in capsys.readouterr().out
    assert main(["jobs", "logs", name]) == 0
    assert "step 4, sha256" in capsys.readouterr().out
    longer = estimate(tiny_config(steps=400), here.store, cluster=done.cluster)
    assert longer is not None
    assert longer.grounds.startswith(f"Based on the speed of job {name}")
    assert estimate(tiny_config(), here.store, cluster=Cluster(gpus=8)) is None, "another hardware"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the node's process in /proc")
def test_a_job_whose_node_is_wanted_back_is_saved_and_goes_on(here: SlurmRunner) -> None:
    job = here.submit(endless(), cluster={"gpus": 0})
    wait_for(lambda: (here.store.run(job.id) / STATE).exists(), "a state")
    node = children(int(job.slurm_id))[0]
    os.kill(node, signal.SIGUSR2)  # as the cluster does before the time limit
    again = wait_for(lambda: (found := here.store.get(job.id)).attempt == 2 and found, "the second start")
    assert again.state is JobState.RUNNING
    lines = wait_for(lambda: log.last_attempt(here.store.place(job.id) / LOG), "its log")
    text = (here.store.place(job.id) / LOG).read_text()
    assert "the state is saved" in text
    assert "=== attempt 2, resumed ===" in text, lines
    wait_for(lambda: here.refresh(job.id).trainer is not None, "the trainer")
    asked = here.cancel(job.id)
    assert "cancel again" in asked.reason
    ended = wait_for(lambda: (found := here.refresh(job.id)).state.ended and found, "the end")
    assert ended.state is JobState.CANCELLED
    assert "the state is saved" in ended.reason
    assert ended.seconds > again.seconds
    with pytest.raises(JobError, match="already cancelled"):
        here.cancel(job.id)


def test_what_is_asked_for_reaches_the_cluster(cluster: Path, store: JobStore) -> None:
    wanted = {"partition": "gpu", "gpus": 2, "options": {"account": "vision", "mem": "64G", "exclusive": ""}}
    job = SlurmRunner(store).submit(tiny_config(), cluster=wanted, timeout_minutes=90)
    script = (store.place(job.id) / "slurm" / "77_submission.sh").read_text()
    for flag in (
        "partition=gpu",
        "gpus-per-node=2",
        "account=vision",
        "mem=64G",
        "exclusive\n",
        "time=90\n",
        "requeue\n",
    ):
        assert f"#SBATCH --{flag}" in script
    assert (job.slurm_id, job.processes.count, job.state) == ("77", 2, JobState.QUEUED)
    typed = {"gpus": 2, "options": {"gres": "gpu:a100:2"}}
    other = SlurmRunner(store).submit(tiny_config(), cluster=typed)
    assert "gpus-per-node" not in (store.place(other.id) / "slurm" / "77_submission.sh").read_text()


def test_a_cluster_that_refuses_is_quoted(cluster: Path, store: JobStore) -> None:
    (cluster / "sbatch.err").write_text("sbatch: error: invalid partition specified: gpuu\n")
    with pytest.raises(JobError, match=r"The cluster refused the job: invalid partition specified: gpuu\. Check"):
        SlurmRunner(store).submit(tiny_config(), cluster={"partition": "gpuu"})
    (job,) = store.jobs()
    assert job.state is JobState.FAILED
    assert "gpuu" in job.reason
    (cluster / "sbatch.err").unlink()
    assert SlurmRunner(store).retry(job.id).slurm_id == "77"


@pytest.mark.parametrize(
    ("queue", "accounts", "state", "words"),
    [
        ("PENDING|Priority", "", JobState.QUEUED, "queue (Priority)."),
        ("PENDING|PartitionTimeLimit", "", JobState.QUEUED, "cancel it and ask for less"),
        ("RUNNING|None", "", JobState.RUNNING, ""),
        ("TIMEOUT|TimeLimit", "", JobState.FAILED, "time limit of 240 minutes"),
        ("OUT_OF_MEMORY|OutOfMemory", "", JobState.FAILED, "Ask for more with the option mem"),
        ("NODE_FAIL|NodeDown", "", JobState.FAILED, "(node fail)"),
        ("CANCELLED|None", "", JobState.CANCELLED, "Cancelled before it started."),
        (None, "CANCELLED by 1000\n", JobState.CANCELLED, "Cancelled before it started."),
        (None, "PREEMPTED\n", JobState.FAILED, "(preempted)"),
        (None, "", JobState.LOST, "no longer knows job 77"),
    ],
)
def test_what_the_cluster_says_of_a_job(
    cluster: Path, store: JobStore, queue: str | None, accounts: str, state: JobState, words: str
) -> None:
    job = SlurmRunner(store).submit(tiny_config())
    store.change(job.id, lambda found: found.to(JobState.RUNNING))
    (cluster / "squeue.txt").write_text("12|PENDING|None\n" + ("" if queue is None else f"77|{queue}\n"))
    (cluster / "sacct.txt").write_text(accounts)
    found = seen(store, job.id)
    assert found.state is state
    assert words in found.reason


def test_a_cluster_that_does_not_answer_changes_nothing(cluster: Path, store: JobStore) -> None:
    job = SlurmRunner(store).submit(tiny_config())
    (cluster / "squeue.err").write_text("slurm_load_jobs error: Unable to contact slurm controller\n")
    found = seen(store, job.id)
    assert found.state is JobState.QUEUED
    assert "Unable to contact slurm controller" in found.reason
    (cluster / "squeue.err").unlink()
    (cluster / "sacct.err").write_text("Slurm accounting storage is disabled\n")
    assert seen(store, job.id).state is JobState.LOST, "neither the queue nor the accounts know it"


def test_many_jobs_cost_one_question(cluster: Path, store: JobStore) -> None:
    (cluster / "squeue.txt").write_text("77|PENDING|Priority\n")
    jobs = [SlurmRunner(store).submit(tiny_config()) for _ in range(3)]
    _Queue.forget()
    for job in jobs:
        SlurmRunner(store).refresh(job.id)
    assert len((cluster / "squeue.calls").read_text().splitlines()) == 1


def test_a_waiting_job_is_taken_out_of_the_queue(cluster: Path, store: JobStore) -> None:
    job = SlurmRunner(store).submit(tiny_config())
    (cluster / "squeue.txt").write_text("77|PENDING|Priority\n")
    SlurmRunner(store).cancel(job.id)
    assert (cluster / "scancel.calls").read_text().strip() == "--state=PENDING 77"
    SlurmRunner(store).cancel(job.id)
    assert (cluster / "scancel.calls").read_text().splitlines()[-1] == "77"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--slurm", "--hub", "l4x1"], "two places"),
        (["--partition", "gpu"], "--partition is for a SLURM cluster; add --slurm"),
        (["--slurm", "--sbatch", "acount=vision"], "the nearest is 'account'"),
        (["--slurm", "--sbatch", "output=/etc/passwd"], "not an option of sbatch that a job may set"),
        (["--slurm", "--sbatch", "mem=1G\nrm -rf"], "printable"),
        (["--slurm", "--partition", "a b"], "partition"),
        (["--slurm", "--processes", "4"], "on SLURM say --gpus"),
    ],
)
def test_wishes_that_cannot_be(
    cluster: Path, store: JobStore, options: list[str], words: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["jobs", "submit", "try_one_minute", *options]) == 2
    assert words in capsys.readouterr().err
    assert not (cluster / "sbatch.calls").exists()


def test_without_submitit_or_a_cluster_a_sentence_says_so(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    monkeypatch.delenv(EXECUTOR_VARIABLE, raising=False)
    with pytest.raises(JobError, match=r"sbatch was not found\. Submit from a login node"):
        SlurmRunner(store).submit(tiny_config())
    monkeypatch.setenv(EXECUTOR_VARIABLE, "pbs")
    with pytest.raises(JobError, match="expected slurm or local"):
        SlurmRunner(store)
    monkeypatch.setenv(EXECUTOR_VARIABLE, "local")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "submitit" else found(name))
    with pytest.raises(JobError, match=r"pip install \"sim2street\[train,slurm\]\""):
        SlurmRunner(store).submit(tiny_config())
    assert store.jobs() == [], "nothing is recorded that cannot run"
    with pytest.raises(ConfigError, match="gpus"):
        Cluster.parse({"gpus": -1}, where="slurm")
