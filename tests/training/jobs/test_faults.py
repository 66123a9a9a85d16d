"""Faults with real processes: whatever is killed, hangs or fills up, nothing is lost and the reason is said."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.jobs import local, log, processes
from sim2street.training.jobs.evaluation import ask_to_evaluate
from sim2street.training.jobs.progress import read_progress
from sim2street.training.jobs.record import JobState
from sim2street.training.jobs.store import JOB, LOG, JobStore
from sim2street.training.run.folder import STATE, RunFolderError, sole_use
from tests.app.conftest import save_tiny
from tests.hub_server import Fault, HubServer
from tests.training.jobs.conftest import ended, endless, runners, tiny_config, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="these tests look into /proc"),
]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / STATE, weights_only=True)["method"]


def started(store: JobStore, job: str) -> int:
    """Number of a job's trainer once it has saved a state."""
    wait_for(lambda: (store.run(job) / STATE).exists() or store.get(job).state.ended, "a state")
    trainer = store.get(job).trainer
    assert trainer is not None, log.tail(store.place(job) / LOG)
    return trainer.pid


def test_a_job_trains_in_a_process_of_its_own_and_the_runner_goes_home(store: JobStore) -> None:
    job = store.create(tiny_config(), by="test")
    assert local.attend(store)
    done = ended(store, job.id)
    assert (done.state, done.reason) == (JobState.SUCCEEDED, ""), log.tail(store.place(job.id) / LOG)
    assert done.seconds > 0
    assert Checkpoint.open(store.run(job.id) / "checkpoint").config.step == 4
    progress = read_progress(store.config(job.id), store.run(job.id))
    assert progress.step == progress.steps == 4
    assert progress.losses["segmentation"][0] == [1, 2, 3, 4]
    assert progress.figures["street_scenes/game"][0] == [4]
    wait_for(lambda: not runners(store), "the runner to end")


def test_the_server_is_killed_and_the_training_goes_on(store: JobStore) -> None:
    """The process that submitted is killed with everything it holds; the next one finds the trainer at work."""
    store.folder.mkdir(parents=True)
    recipe = store.folder / "recipe.json"
    recipe.write_text(endless().model_dump_json())
    script = (
        "import sys, time\nfrom sim2street.training.config import load_recipe\nfrom sim2street.training.jobs import local\n"
        "from sim2street.training.jobs.store import JobStore\nstore = JobStore()\n"
        "print(store.create(load_recipe(sys.argv[1])).id, flush=True)\nlocal.attend(store)\ntime.sleep(600)"
    )
    server = subprocess.Popen([sys.executable, "-c", script, str(recipe)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    job = server.stdout.readline().strip()
    pid = started(store, job)
    server.kill()
    server.wait()
    step = read_progress(store.config(job), store.run(job)).step
    wait_for(lambda: read_progress(store.config(job), store.run(job)).step > step, "more steps")
    assert store.get(job).trainer == processes.identify(pid)
    assert not local.attend(store)  # the runner still lives
    with pytest.raises(RunFolderError, match="Another process is writing"), sole_use(store.run(job)):
        pass
    local.cancel(store, job)
    assert "the state is saved" in ended(store, job).reason


def test_the_trainer_is_killed_and_a_retry_gives_the_weights_of_an_uninterrupted_run(store: JobStore) -> None:
    config = tiny_config(steps=12, evaluations=[])
    whole = store.create(config)
    parts = store.create(config, title="Parts")
    local.attend(store)
    assert ended(store, whole.id).state is JobState.SUCCEEDED
    os.kill(started(store, parts.id), signal.SIGKILL)
    failed = ended(store, parts.id)
    if failed.state is JobState.SUCCEEDED:
        pytest.fail("the run was over before it could be killed")
    assert failed.state is JobState.FAILED
    assert "killed from outside (SIGKILL)" in failed.reason
    local.retry(store, parts.id)
    done = ended(store, parts.id)
    assert done.state is JobState.SUCCEEDED, done.reason
    assert done.attempt == 2
    one, two = weights(store.run(whole.id)), weights(store.run(parts.id))
    assert [key for key in one if not torch.equal(one[key], two[key])] == []


def test_runner_and_trainer_are_killed_together(store: JobStore) -> None:
    """What a power cut leaves: a record that says running, a state cut short beside a whole one, half a journal line."""
    job = store.create(endless())
    local.attend(store)
    trainer = started(store, job.id)
    runner = wait_for(lambda: runners(store), "the runner")[0]
    os.kill(runner, signal.SIGKILL)
    os.kill(trainer, signal.SIGKILL)
    wait_for(lambda: processes.identify(trainer) is None and processes.identify(runner) is None, "both to be gone")
    run = store.run(job.id)
    (run / f".{STATE}.partial").write_bytes((run / STATE).read_bytes()[:1000])
    with (run / "progress.jsonl").open("a") as file:
        file.write('{"step": 99999, "los')
    assert store.get(job.id).state is JobState.RUNNING
    assert local.attend(store)
    lost = ended(store, job.id)
    assert lost.state is JobState.LOST
    assert "ended unseen" in lost.reason
    step = read_progress(store.config(job.id), run).step
    assert 0 < step < 99999
    local.retry(store, job.id)
    wait_for(lambda: read_progress(store.config(job.id), run).step > step, "more steps")
    local.cancel(store, job.id)
    assert ended(store, job.id).state is JobState.CANCELLED


def test_the_runner_alone_is_killed_and_the_next_one_finds_the_trainer_again(store: JobStore) -> None:
    job = store.create(endless())
    local.attend(store)
    trainer = started(store, job.id)
    os.kill(wait_for(lambda: runners(store), "the runner")[0], signal.SIGKILL)
    wait_for(lambda: local.attend(store), "another runner")
    step = read_progress(store.config(job.id), store.run(job.id)).step
    wait_for(lambda: read_progress(store.config(job.id), store.run(job.id)).step > step, "more steps")
    assert store.get(job.id).attempt == 1
    local.cancel(store, job.id)
    assert ended(store, job.id).state is JobState.CANCELLED
    assert processes.identify(trainer) is None


def test_a_runner_that_dies_before_it_names_its_trainer_leaves_no_second_one(store: JobStore) -> None:
    """Killed between starting the trainer and writing down whom it had started: the next one finds it by its command."""
    job = store.create(endless())
    local.attend(store)
    trainer = started(store, job.id)
    os.kill(wait_for(lambda: runners(store), "the runner")[0], signal.SIGKILL)
    store.change(job.id, lambda found: found.having(trainer=None))
    wait_for(lambda: local.attend(store), "another runner")
    wait_for(lambda: store.get(job.id).trainer == processes.identify(trainer), "the trainer to be named")
    assert store.get(job.id).attempt == 1
    local.cancel(store, job.id)
    assert ended(store, job.id).state is JobState.CANCELLED


def test_the_clock_is_set_while_a_job_trains(store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runner and trainer both see the time jump: ten years back, then into the next century."""
    (tmp_path / "jump").write_text("0")
    # Python runs a file of this name at its start; nobody may set the machine's own clock in a test.
    (tmp_path / "sitecustomize.py").write_text(
        "import time\nreal = time.time\n"
        f"def set_by_somebody():\n    return real() + float(open({str(tmp_path / 'jump')!r}).read())\n"
        "time.time = set_by_somebody\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    job = store.create(endless(), patience_seconds=600)
    local.attend(store)
    started(store, job.id)
    run, config = store.run(job.id), store.config(job.id)

    def logged_at() -> float:
        return json.loads((run / "progress.jsonl").read_text().splitlines()[-2])["time"]

    wait_for(lambda: read_progress(config, run).step > 2, "whole lines")
    before = logged_at()
    for years in (-10, 90):
        (tmp_path / "jump.new").write_text(str(years * 365.25 * 86400))
        (tmp_path / "jump.new").replace(tmp_path / "jump")
        wait_for(lambda years=years: (logged_at() - before) * years > 1e8, "the trainer to see it")
        step = read_progress(config, run).step
        wait_for(lambda step=step: read_progress(config, run).step > step + 20, "more steps")
        assert store.get(job.id).state is JobState.RUNNING
        assert 0 <= store.pulse(job.id)["silent_seconds"] < 600
    local.cancel(store, job.id)
    done = ended(store, job.id)
    assert done.state is JobState.CANCELLED
    assert "the state is saved" in done.reason
    assert 0 < done.seconds < 3600


def test_the_hub_is_down_at_the_end_of_a_training(
    store: JobStore, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training is kept and counts; publishing is tried again by itself, and works once the Hub answers."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    hub.faults.append(Fault("POST /api/repos/create", "status", 503, times=1000))
    wish = {"repo_id": "maker/tiny"}
    job = store.create(tiny_config(steps=2, evaluations=[], licence="apache-2.0"), publication=wish)
    local.attend(store)
    assert ended(store, job.id).state is JobState.SUCCEEDED
    tried = wait_for(lambda: (found := store.get(job.id).publication) and found.attempts and found, "a try")
    assert (tried.state, store.get(job.id).state) == ("waiting", JobState.SUCCEEDED)
    assert tried.error
    assert Checkpoint.open(store.run(job.id) / "checkpoint").config.step == 2
    hub.faults.clear()
    done = wait_for(lambda: (found := store.get(job.id).publication) and found.state != "waiting" and found, "the Hub")
    assert (done.state, done.error, done.attempts) == ("published", "", 2), log.tail(store.place(job.id) / LOG)
    assert done.revision == hub.model("maker/tiny").head


def test_a_follow_up_that_is_killed_is_written_down_and_not_sent_for_ever(store: JobStore) -> None:
    job = store.create(tiny_config())
    save_tiny(store.run(job.id), "checkpoint", "source_only", "Tiny")
    store.change(job.id, lambda found: found.to(JobState.RUNNING).to(JobState.SUCCEEDED))
    ask_to_evaluate(store, job.id, dataset="street_scenes", count=5000)
    os.kill(wait_for(lambda: runners(store, "sim2street.training.jobs.evaluation"), "the follow-up")[0], signal.SIGKILL)
    failed = wait_for(lambda: (found := store.get(job.id).evaluation) and found.state != "waiting" and found, "its end")
    assert (failed.state, failed.error) == ("failed", "It was killed from outside (SIGKILL).")
    assert store.get(job.id).state is JobState.SUCCEEDED
    wait_for(lambda: not runners(store), "the runner to end")
    store.delete(job.id)


def test_a_recorded_number_that_is_another_process_by_now_is_left_alone(store: JobStore) -> None:
    """PID reuse: the record's number lives, but it is not the trainer."""
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        job = store.create(endless())
        identity = processes.identify(stranger.pid)
        assert identity is not None
        earlier = identity.model_copy(update={"started": str(int(identity.started) - 1)})
        store.change(job.id, lambda found: found.to(JobState.RUNNING, trainer=earlier, attempt=1))
        local.attend(store)
        assert ended(store, job.id).state is JobState.LOST
        processes.end(earlier, signal.SIGKILL)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_trainer_that_hangs_is_ended_and_says_so(store: JobStore) -> None:
    job = store.create(endless(), grace_seconds=1)
    local.attend(store)
    os.kill(started(store, job.id), signal.SIGSTOP)  # deaf to SIGTERM as well
    # Only now, since on a busy machine a trainer may be silent for longer before its first step.
    store.change(job.id, lambda found: found.having(patience_seconds=5.0))
    failed = ended(store, job.id)
    assert failed.state is JobState.FAILED
    assert re.match(r"It hung: it printed nothing for \d+ seconds", failed.reason)


def test_a_trainer_that_does_not_stop_when_asked_is_killed(store: JobStore) -> None:
    job = store.create(endless(), grace_seconds=1)
    local.attend(store)
    os.kill(started(store, job.id), signal.SIGSTOP)
    local.cancel(store, job.id)
    cancelled = ended(store, job.id)
    assert cancelled.state is JobState.CANCELLED
    assert "did not stop within 1 seconds and was killed" in cancelled.reason


def test_a_full_disk_fails_the_job_with_its_reason_and_keeps_the_state(store: JobStore) -> None:
    job = store.create(endless(save_every=20))
    local.attend(store)
    started(store, job.id)
    # Writing to this device fails as on a disk without room: ENOSPC, by the kernel itself.
    (store.run(job.id) / f".{STATE}.partial").symlink_to("/dev/full")
    failed = ended(store, job.id)
    assert failed.state is JobState.FAILED
    assert failed.reason.startswith("The disk is full.")
    assert "No space left" in failed.reason or "could not be written" in failed.reason
    kept = torch.load(store.run(job.id) / STATE, weights_only=True)["step"]
    assert kept % 20 == 0
    local.retry(store, job.id)
    wait_for(lambda: torch.load(store.run(job.id) / STATE, weights_only=True)["step"] > kept, "a newer state")
    local.cancel(store, job.id)
    assert ended(store, job.id).state is JobState.CANCELLED


def test_out_of_memory_is_named(store: JobStore) -> None:
    job = store.create(endless(save_every=1))
    local.attend(store)
    pid = started(store, job.id)
    used = int((Path("/proc") / str(pid) / "statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.prlimit(pid, resource.RLIMIT_AS, (used, used))
    resource.prlimit(pid, resource.RLIMIT_DATA, (1 << 20, 1 << 20))
    failed = ended(store, job.id)
    assert failed.state is JobState.FAILED
    assert failed.reason.startswith("Out of memory"), log.tail(store.place(job.id) / LOG)


def test_two_admins_launch_at_once_and_one_trains_after_the_other(store: JobStore) -> None:
    store.folder.mkdir(parents=True)
    recipe = store.folder / "recipe.json"
    recipe.write_text(tiny_config(steps=2, evaluations=[]).model_dump_json())
    command = [sys.executable, "-m", "sim2street.training.cli", "jobs", "submit", str(recipe)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    names = [process.communicate(timeout=60)[0].strip() for process in both]
    assert sorted(names) == ["0001-tiny", "0002-tiny"]
    most = 0
    while not all(store.get(name).state.ended for name in names):
        most = max(most, sum(store.get(name).state is JobState.RUNNING for name in names))
        assert len(runners(store)) <= 2  # a second one looks, finds the lock held and leaves
    assert most == 1
    assert [store.get(name).state for name in names] == [JobState.SUCCEEDED] * 2


def test_two_processes_under_accelerate_save_when_cancelled_and_go_on(store: JobStore) -> None:
    """The launcher gets the signal alone and passes it on; all of its processes are gone afterwards."""
    job = store.create(endless(save_every=5), processes={"count": 2})
    local.attend(store)
    launcher = started(store, job.id)
    step = torch.load(store.run(job.id) / STATE, weights_only=True)["step"]
    local.cancel(store, job.id)
    cancelled = ended(store, job.id)
    assert cancelled.state is JobState.CANCELLED
    assert "the state is saved" in cancelled.reason, log.tail(store.place(job.id) / LOG)
    assert torch.load(store.run(job.id) / STATE, weights_only=True)["step"] > step
    assert processes.memory_mb(launcher) == 0


def test_an_edited_recipe_does_not_reach_a_job_that_runs(store: JobStore, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.json"
    recipe.write_text(tiny_config(steps=30, evaluations=[]).model_dump_json())
    command = [sys.executable, "-m", "sim2street.training.cli", "jobs", "submit", str(recipe)]
    name = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    started(store, name)
    recipe.write_text(tiny_config(steps=1, title="Edited").model_dump_json())
    local.cancel(store, name)
    assert ended(store, name).state is JobState.CANCELLED
    local.retry(store, name)
    assert ended(store, name).state is JobState.SUCCEEDED
    checkpoint = Checkpoint.open(store.run(name) / "checkpoint")
    assert (checkpoint.config.step, checkpoint.config.title) == (30, "Tiny")


def test_a_gigabyte_of_log_stays_small_on_disk(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainer that prints without end; the runner's loop runs in here, so that another command can be its trainer."""
    babble = "import os\nblock = b'x' * 99 + b'\\n'\nfor _ in range(1000): os.write(1, block * 10486)\nos.write(1, b'last words\\n')"
    monkeypatch.setattr(local, "trainer_command", lambda job, store: [sys.executable, "-c", babble])
    monkeypatch.setattr(local, "POLL", 0.02)
    job = store.create(endless())
    runner = local.Runner(store)
    path, largest = store.place(job.id) / LOG, 0
    runner.look()
    while runner.trainer is not None:
        runner.look()
        largest = max(largest, path.stat().st_blocks * 512)
    assert log.tail(path)[-1] == "last words"
    assert path.stat().st_size <= log.LIMIT + 2 * log.KEPT
    assert largest < 400 * 2**20
    assert store.get(job.id).state is JobState.FAILED


def test_a_damaged_record_is_shown_as_lost_and_can_be_retried(store: JobStore) -> None:
    job = store.create(tiny_config(steps=2, evaluations=[]))
    place = store.place(job.id)
    (place / JOB).write_bytes((place / JOB).read_bytes()[:40])
    found = store.jobs()[0]
    assert (found.state, found.title, found.steps) == (JobState.LOST, "Tiny", 2)
    assert "record is damaged" in found.reason
    local.retry(store, job.id)
    assert ended(store, job.id).state is JobState.SUCCEEDED
    assert json.loads((place / JOB).read_text())["state"] == "succeeded"
