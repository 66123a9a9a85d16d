"""Hugging Face Jobs through the real client and a local Hub; the container's command runs here as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim2street.models.errors import ConfigError
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.jobs import log
from sim2street.training.jobs.hub import IMAGE_VARIABLE, HubRunner
from sim2street.training.jobs.progress import read_progress
from sim2street.training.jobs.record import Job, JobError, JobState
from sim2street.training.jobs.store import LOG, JobStore
from tests.hub_server import READ, WRITE, Fault, HubServer
from tests.training.jobs.conftest import tiny_config

REPOSITORY = "maker/tiny"


@pytest.fixture
def runner(store: JobStore, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubRunner:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv(IMAGE_VARIABLE, "registry.example/sim2street")
    return HubRunner(store)


def submitted(runner: HubRunner) -> Job:
    return runner.submit(
        tiny_config(licence="apache-2.0"), flavour="t4-small", namespace="maker", publication={"repo_id": REPOSITORY}
    )


def test_hardware_has_its_price(runner: HubRunner) -> None:
    cheap, card = runner.flavours()
    assert (cheap.name, cheap.gpus, cheap.dollars_per_hour) == ("cpu-basic", 0, pytest.approx(0.01))
    assert (card.name, card.gpu, card.gpus, card.dollars_per_hour) == ("t4-small", "T4", 1, pytest.approx(0.4))


@pytest.mark.slow
def test_a_job_trains_there_and_its_checkpoint_comes_back(runner: HubRunner, hub: HubServer, tmp_path: Path) -> None:
    job = submitted(runner)
    there = hub.jobs[job.hub_id]
    assert there["command"] == ["python", "-m", "sim2street.training.jobs.remote"]
    assert there["labels"] == {
        "app": "sim2street",
        "job": job.id,
        "attempt": "1",
        "recipe": "tiny",
        **{k: v for k, v in there["labels"].items() if k == "name"},
    }
    assert WRITE not in str(there)  # the token travels as a secret, which nobody can read again
    assert WRITE not in (runner.store.place(job.id) / "job.json").read_text()
    assert runner.refresh(job.id).state is JobState.RUNNING

    # What the container would do, with what it would know.
    environment = {**os.environ, **there["environment"], "HF_TOKEN": WRITE, "HF_HUB_DISABLE_XET": "1"}
    environment |= {"SIM2STREET_RUN": str(tmp_path / "container" / "run"), "HF_HOME": str(tmp_path / "home")}
    hub.faults.append(Fault("POST /api/models/maker/tiny/commit", "status", 503, times=1))
    done = subprocess.run(
        [sys.executable, *there["command"][1:]], env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    there["logs"] = ["===== Job started", *done.stdout.splitlines()]
    assert runner.refresh(job.id).state is JobState.RUNNING
    assert read_progress(runner.store.config(job.id), runner.store.run(job.id)).losses["segmentation"][0] == [
        1,
        2,
        3,
        4,
    ]

    there["status"] = {"stage": "COMPLETED", "message": None}
    finished = runner.refresh(job.id)
    assert (finished.state, finished.reason) == (JobState.SUCCEEDED, "")
    assert finished.publication is not None
    assert finished.publication.revision == hub.model(REPOSITORY).head
    assert Checkpoint.open(runner.store.run(job.id) / "checkpoint").config.step == 4
    assert not any(line.startswith("progress ") for line in log.tail(runner.store.place(job.id) / LOG))
    runner.store.promote(job.id, "from_the_hub")


def test_replayed_logs_are_not_taken_twice(runner: HubRunner, hub: HubServer) -> None:
    job = submitted(runner)
    hub.jobs[job.hub_id]["logs"] = ["hello", 'progress {"step": 1, "losses": {"a": 2.0}}']
    runner.refresh(job.id)
    hub.jobs[job.hub_id]["logs"].append('progress {"step": 2, "losses": {"a": 1.0}}')
    runner.refresh(job.id)
    assert read_progress(runner.store.config(job.id), runner.store.run(job.id)).losses["a"] == ([1, 2], [2.0, 1.0])
    assert list(runner.log(job)) == ["hello"]


def test_ended_well_without_a_checkpoint_is_a_failure(runner: HubRunner, hub: HubServer) -> None:
    job = submitted(runner)
    hub.jobs[job.hub_id]["status"] = {"stage": "COMPLETED", "message": None}
    failed = runner.refresh(job.id)
    assert failed.state is JobState.FAILED
    assert "there is no checkpoint in maker/tiny" in failed.reason


def test_what_went_wrong_there_is_said_here_and_can_be_retried(runner: HubRunner, hub: HubServer) -> None:
    job = submitted(runner)
    hub.jobs[job.hub_id] |= {"status": {"stage": "ERROR", "message": "Job timeout"}, "logs": ["step 3"]}
    failed = runner.refresh(job.id)
    assert (failed.state, failed.reason) == (JobState.FAILED, "Job timeout. step 3")
    again = runner.retry(job.id)
    assert again.hub_id != job.hub_id
    assert again.attempt == 2
    assert runner.cancel(job.id).state is JobState.CANCELLED
    assert hub.jobs[again.hub_id]["status"]["stage"] == "CANCELED"
    with pytest.raises(JobError, match="is already cancelled"):
        runner.cancel(job.id)


def test_a_hub_that_is_away_changes_nothing(runner: HubRunner, hub: HubServer) -> None:
    job = submitted(runner)
    runner.refresh(job.id)
    hub.faults.append(Fault("GET /api/jobs/maker/", "status", 503, times=50))
    away = runner.refresh(job.id)
    assert away.state is JobState.RUNNING
    assert away.reason.startswith("The Hub could not be reached")
    hub.faults.clear()
    assert runner.refresh(job.id).reason == ""


def test_a_refused_start_is_a_failed_job_with_the_reason(runner: HubRunner, hub: HubServer) -> None:
    hub.faults.append(Fault("POST /api/jobs/maker", "status", 402, times=1))
    with pytest.raises(JobError, match="no credit"):
        submitted(runner)
    assert "no credit" in runner.store.jobs()[0].reason
    with pytest.raises(JobError, match="needs the right to run jobs"):
        submitted(HubRunner(runner.store, READ))
    assert hub.jobs == {}
    hub.faults.append(Fault("POST /api/jobs/maker", "status", 503, times=9))
    with pytest.raises(JobError, match=r"The Hub answered 503 to the request to start the job\. Try again later\."):
        submitted(runner)


def test_the_list_is_rebuilt_from_labels(runner: HubRunner, hub: HubServer, tmp_path: Path) -> None:
    job = submitted(runner)
    hub.jobs["stranger"] = {
        **hub.jobs[job.hub_id],
        "id": "stranger",
        "labels": {"app": "sim2street", "job": "../../evil"},
    }
    empty = HubRunner(JobStore(tmp_path / "elsewhere"))
    rebuilt = empty.rebuild("maker")
    assert [(found.id, found.hub_id, found.state, found.title) for found in rebuilt] == [
        (job.id, job.hub_id, JobState.RUNNING, "Tiny")
    ]
    assert empty.rebuild("maker") == rebuilt


def test_a_rebuilt_list_keeps_numbers_and_skips_what_is_not_ours(
    runner: HubRunner, hub: HubServer, tmp_path: Path
) -> None:
    """The second job of an account, started again once, comes back under its own name; a garbled one is left out."""
    first, second = submitted(runner), submitted(runner)
    hub.jobs[second.hub_id]["status"] = {"stage": "ERROR", "message": "x"}
    runner.refresh(second.id)
    again = runner.retry(second.id)
    hub.jobs[again.hub_id]["createdAt"] = "2026-01-02T00:00:00.000Z"
    hub.jobs[first.hub_id]["environment"]["SIM2STREET_RECIPE"] = '{"key_of_old": 1}'
    store = JobStore(tmp_path / "elsewhere")
    (rebuilt,) = HubRunner(store).rebuild("maker")
    assert (rebuilt.id, rebuilt.hub_id, rebuilt.attempt) == ("0002-tiny", again.hub_id, 2)
    assert store.place("0002-tiny").is_dir()
    assert store.create(tiny_config()).id == "0003-tiny"


def test_the_command_line_finds_an_accounts_jobs_again(
    runner: HubRunner, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from sim2street.training.cli import main

    job = submitted(runner)
    monkeypatch.setenv("SIM2STREET_RUNS", str(tmp_path / "elsewhere"))
    assert main(["jobs", "list"]) == 0
    assert "no jobs yet" in capsys.readouterr().out
    assert main(["jobs", "list", "--hub", "maker"]) == 0
    assert f"{job.id}  running" in capsys.readouterr().out


def test_a_job_looked_at_while_it_is_being_started_is_not_lost(
    runner: HubRunner, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's page asks between the record and the Hub's answer; what costs money must stay in sight."""
    start, seen = runner.api.run_job, list[JobState]()

    def slowly(**values: object) -> object:
        seen.append(HubRunner(runner.store).refresh("0001-tiny").state)
        return start(**values)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(runner.api, "run_job", slowly)
    job = submitted(runner)
    assert seen == [JobState.LOST]
    assert (job.state, job.reason, job.ended_at) == (JobState.QUEUED, "", None)
    assert runner.refresh(job.id).state is JobState.RUNNING


def test_a_damaged_checkpoint_there_is_a_failure(runner: HubRunner, hub: HubServer) -> None:
    job = submitted(runner)
    runner.api.create_repo(REPOSITORY)
    files = {name: b"{" for name in ("model.safetensors", "config.json", "metrics.json", "README.md")}
    hub.model(REPOSITORY).commit(files)
    hub.jobs[job.hub_id]["status"] = {"stage": "COMPLETED", "message": None}
    failed = runner.refresh(job.id)
    assert failed.state is JobState.FAILED
    assert "is incomplete" in failed.reason
    assert not (runner.store.run(job.id) / "checkpoint").exists()


def test_a_record_whose_writer_died_finds_its_job_by_label(runner: HubRunner, hub: HubServer) -> None:
    job = submitted(runner)
    runner.store.change(job.id, lambda found: found.having(hub_id="", attempt=0))
    assert runner.refresh(job.id).hub_id == job.hub_id
    runner.store.change(job.id, lambda found: found.having(hub_id="", attempt=0))
    hub.faults.append(Fault("GET /api/jobs/maker", "status", 503, times=50))
    assert runner.refresh(job.id).reason.startswith("The Hub could not be reached")
    hub.faults.clear()
    hub.jobs.clear()
    lost = runner.refresh(job.id)
    assert (lost.state, lost.reason) == (JobState.LOST, "It was never started on the Hub. Retry starts it.")


def test_image_and_repository_must_be_named(runner: HubRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobError, match="needs a repository"):
        runner.submit(tiny_config(), flavour="t4-small", namespace="maker")
    with pytest.raises(ConfigError, match="repository is"):
        runner.submit(tiny_config(), flavour="t4-small", namespace="maker", publication={"repo_id": "../x"})
    monkeypatch.delenv(IMAGE_VARIABLE)
    with pytest.raises(JobError, match=IMAGE_VARIABLE):
        submitted(runner)
    monkeypatch.setenv("SPACE_ID", "maker/sim2street")
    assert submitted(runner).state is JobState.QUEUED
