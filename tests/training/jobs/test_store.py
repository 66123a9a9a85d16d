"""Records: states that follow each other, names that are no paths, trash, promotion; and two runs in one folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sim2street.models.errors import ConfigError, Sim2StreetError
from sim2street.models.storage.catalog import catalog
from sim2street.models.storage.files import promoted_folder
from sim2street.training.jobs import local, log, processes
from sim2street.training.jobs.ending import Ending, classify
from sim2street.training.jobs.progress import has_begun, read_progress
from sim2street.training.jobs.publication import ask_to_publish, publish_job
from sim2street.training.jobs.record import Job, JobError, JobState
from sim2street.training.jobs.store import JobStore, promoted_names
from sim2street.training.locks import Busy, hold, is_held
from sim2street.training.run.folder import LOCK, RunFolderError, sole_use
from tests.app.conftest import save_tiny
from tests.training.jobs.conftest import tiny_config, wait_for

TRICKS = ["../0001-a", "0001-a/../../b", "/etc/passwd", "0001-", "0001-A", "0001-a\n", "", ".", "~", "0001-a b", "-rf"]


def finished(store: JobStore) -> Job:
    """A job that ended well, with a checkpoint of random weights in place of a trained one."""
    job = store.create(tiny_config())
    save_tiny(store.run(job.id), "checkpoint", "source_only", "Tiny")
    store.change(job.id, lambda found: found.to(JobState.RUNNING))
    return store.change(job.id, lambda found: found.to(JobState.SUCCEEDED))


@pytest.mark.parametrize("name", TRICKS)
def test_no_name_is_a_path(store: JobStore, name: str) -> None:
    store.create(tiny_config())
    for act in (store.get, store.delete, store.restore, store.config, lambda job: local.cancel(store, job)):
        with pytest.raises(JobError, match="is not a job id"):
            act(name)


def test_a_job_is_named_by_its_number_too(store: JobStore) -> None:
    first, second = store.create(tiny_config()), store.create(tiny_config())
    assert [store.named(text) for text in ("1", "0002", second.id)] == [first.id, second.id, second.id]
    for text in ("3", "", "0", "-1", "²", "../1", "9" * 5000):
        assert store.named(text) == text


@pytest.mark.parametrize("name", ["../up", "a/b", "", "/tmp/x", "a b", "a.b", "x" * 81, "straße", "..", "-o"])
def test_no_name_in_the_catalog_is_a_path(store: JobStore, name: str) -> None:
    job = finished(store)
    with pytest.raises(JobError, match="letters, digits and _"):
        store.promote(job.id, name)
    assert promoted_names() == []


def test_states_follow_each_other_or_are_refused(store: JobStore) -> None:
    job = store.create(tiny_config())
    assert (job.id, job.state, job.steps) == ("0001-tiny", JobState.QUEUED, 4)
    with pytest.raises(JobError, match="is queued and cannot become succeeded"):
        job.to(JobState.SUCCEEDED)
    done = job.to(JobState.RUNNING).to(JobState.SUCCEEDED)
    for state in JobState:
        with pytest.raises(JobError, match="is succeeded and cannot become"):
            done.to(state)
    assert job.to(JobState.RUNNING).to(JobState.LOST).to(JobState.QUEUED).state is JobState.QUEUED
    with pytest.raises(ConfigError, match=r"processes\.count"):
        store.create(tiny_config(), processes={"count": 0})
    for address in ("host; rm -rf /", "--help", "-x", "a b", "http://a"):
        with pytest.raises(ConfigError, match="main_address"):
            store.create(tiny_config(), processes={"main_address": address})
    for namespace in ("..", ".", "../admin", "a/b", "-x", "a b", "a..b"):
        with pytest.raises(ConfigError, match="namespace"):
            store.create(tiny_config(), namespace=namespace)
    assert store.create(tiny_config(), namespace="Ada-1").namespace == "Ada-1"


def test_commands_are_lists_of_our_own_words(store: JobStore) -> None:
    job = store.create(tiny_config(title="$(touch /tmp/x); --help"))
    command = local.trainer_command(job, store)
    assert command[1:4] == ["-m", "sim2street.training.cli", "train"]
    assert command[4:] == [str(store.place(job.id) / "recipe.json"), "--out", str(store.run(job.id))]
    several = job.having(processes={"count": 4, "machines": 2, "machine_rank": 1, "main_address": "10.0.0.1"})
    command = local.trainer_command(several, store)
    assert command[2] == "accelerate.commands.launch"
    for option, value in (("--num_processes", "8"), ("--num_machines", "2"), ("--machine_rank", "1")):
        assert command[command.index(option) + 1] == value


def test_trainers_do_not_learn_secrets(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIM2STREET_ADMIN_PASSWORD_HASH", "HF_TOKEN", "OAUTH_CLIENT_SECRET"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in local.trainer_environment(store.create(tiny_config()), store).values()


def test_a_queued_job_is_cancelled_at_once_and_others_are_not_deleted(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "attend", lambda store: False)
    job = store.create(tiny_config())
    with pytest.raises(JobError, match="is queued; cancel it first"):
        store.delete(job.id)
    assert local.cancel(store, job.id).state is JobState.CANCELLED
    with pytest.raises(JobError, match="already cancelled"):
        local.cancel(store, job.id)


def test_only_a_job_that_has_ended_is_retried(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resume clicked twice, or by two admins: the second click must not send back a job whose trainer is at work."""
    monkeypatch.setattr(local, "attend", lambda store: False)
    job = store.create(tiny_config())
    with pytest.raises(JobError, match="is already queued"):
        local.retry(store, job.id)
    running = store.change(job.id, lambda found: found.to(JobState.RUNNING))
    with pytest.raises(JobError, match="is already running"):
        local.retry(store, job.id)
    assert store.get(job.id) == running
    store.change(job.id, lambda found: found.to(JobState.FAILED))
    assert local.retry(store, job.id).state is JobState.QUEUED


@pytest.mark.parametrize("meddle", ["a state that nothing can follow", "no folder"])
def test_a_meddled_record_does_not_stop_the_runner(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, meddle: str
) -> None:
    """Real trainers; the record of the first is changed, or its folder removed, while it is at work."""
    monkeypatch.setattr(
        local, "trainer_command", lambda job, store: [sys.executable, "-c", "import time; time.sleep(1)"]
    )
    first, second = store.create(tiny_config()), store.create(tiny_config())
    runner = local.Runner(store)
    runner.look()
    assert runner.trainer is not None
    assert runner.trainer.job == first.id
    if meddle == "no folder":
        shutil.rmtree(store.place(first.id))
    else:
        store.change(first.id, lambda found: found.having(state=JobState.SUCCEEDED))
    wait_for(lambda: runner.look() and runner.trainer is not None and runner.trainer.job == second.id, "the next job")
    wait_for(lambda: not runner.look(), "the end")
    assert store.get(second.id).state is JobState.FAILED  # it ended well and yet there is no checkpoint


def test_deleted_jobs_come_back_until_the_trash_is_emptied(store: JobStore) -> None:
    job = finished(store)
    store.delete(job.id)
    assert store.jobs() == []
    assert [found.id for found in store.trash()] == [job.id]
    assert store.restore(job.id) == job
    store.delete(job.id)
    assert store.empty_trash() > 100_000
    with pytest.raises(JobError, match="not in the trash"):
        store.restore(job.id)
    assert store.create(tiny_config()).id == "0002-tiny"  # a number never means two jobs


def test_promoted_checkpoints_are_in_the_catalog_until_withdrawn(store: JobStore) -> None:
    job = finished(store)
    store.promote(job.id, "mine")
    entry = next(entry for entry in catalog() if entry.name == "mine")
    assert entry.checkpoint is not None
    assert entry.checkpoint.path == promoted_folder() / "mine"
    with pytest.raises(JobError, match="already"):
        store.promote(job.id, "mine")
    with pytest.raises(JobError, match="already has a checkpoint 'source_only_game'"):
        store.promote(job.id, "source_only_game")  # a shipped one, behind which it would never be seen
    with pytest.raises(JobError, match=r"no promoted checkpoint '\.\./mine'"):
        store.withdraw("../mine")
    store.withdraw("mine")
    assert "mine" not in [entry.name for entry in catalog()]
    assert (store.run(job.id) / "checkpoint").is_dir()


def test_publishing_fails_without_harm_and_is_tried_again(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub is down at the end of a training; the stand-in is the seam to `sim2street.training.hosting.publish` alone."""
    import types

    answers: list[object] = [Sim2StreetError("The Hub could not be reached."), None]

    def publish(checkpoint: object, repo_id: str, *, private: bool) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return types.SimpleNamespace(repo_id=repo_id, revision="c" * 40, url=f"https://hub/{repo_id}", tag=None)

    monkeypatch.setitem(sys.modules, "sim2street.training.hosting.publish", types.SimpleNamespace(publish=publish))
    monkeypatch.setattr(local, "attend", lambda store: False)
    job = finished(store)
    for trick in (
        "a/b..c",
        "a/-b",
        "a/b.",
        "naïve/x",
        "a/" + "b" * 96,
        "../x",
        "owner",
        "owner/name/more",
        "https://evil/x",
        "owner/na me",
        "--private/x",
    ):
        with pytest.raises(ConfigError, match="repository is"):
            ask_to_publish(store, job.id, trick, private=True)
    monkeypatch.setattr("sim2street.training.jobs.publication.attend", lambda store: False)
    ask_to_publish(store, job.id, "ada/mine", private=True)
    first = publish_job(store, job.id)
    assert (first.state, first.attempts, first.error) == ("waiting", 1, "The Hub could not be reached.")
    assert store.get(job.id).state is JobState.SUCCEEDED
    second = publish_job(store, job.id)
    assert (second.state, second.url, second.error) == ("published", "https://hub/ada/mine", "")


def test_a_mistyped_repository_can_be_corrected_while_it_would_be_tried_again(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import types

    asked: list[str] = []

    def publish(checkpoint: object, repo_id: str, *, private: bool) -> object:
        asked.append(repo_id)
        if len(asked) == 2:  # corrected while the Hub still refuses the second attempt
            ask_to_publish(store, job.id, "ada/mine", private=True)
        raise Sim2StreetError("The token may not write there.")

    monkeypatch.setitem(sys.modules, "sim2street.training.hosting.publish", types.SimpleNamespace(publish=publish))
    monkeypatch.setattr(local, "attend", lambda store: False)
    monkeypatch.setattr("sim2street.training.jobs.publication.attend", lambda store: False)
    job = finished(store)
    ask_to_publish(store, job.id, "adda/mine", private=True)
    with pytest.raises(JobError, match="already being published to adda/mine"):
        ask_to_publish(store, job.id, "ada/mine", private=True)
    publish_job(store, job.id)
    publish_job(store, job.id)
    wish = store.get(job.id).publication
    assert wish is not None
    assert (wish.repo_id, wish.attempts, wish.error) == ("ada/mine", 0, "")
    publish_job(store, job.id)
    assert asked == ["adda/mine", "adda/mine", "ada/mine"]


def test_no_decision_rests_on_the_clock(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sets the time back ten years between two jobs, and forward while one is looked at."""
    monkeypatch.setattr(local, "attend", lambda store: False)
    first = store.create(tiny_config())
    monkeypatch.setattr(time, "time", lambda: 1.0)
    second = store.create(tiny_config())
    assert [job.id for job in store.jobs()] == [second.id, first.id]  # by number, not by time
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        identity = processes.identify(child.pid)
        assert identity is not None
        trainer = local.Trainer(first.id, identity, child)
        store.change(first.id, lambda found: found.to(JobState.RUNNING, trainer=identity))
        runner = local.Runner(store)
        monkeypatch.setattr(time, "time", lambda: 4e9)
        runner.watch(trainer)
        runner.watch(trainer)
        assert store.get(first.id).state is JobState.RUNNING
        assert trainer.hung is None
        assert processes.is_alive(identity)
    finally:
        child.kill()
        child.wait()


def test_an_end_that_cannot_be_written_down_is_written_later(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full to the last byte when a trainer ends."""
    job = store.create(tiny_config())
    monkeypatch.setattr(local, "trainer_command", lambda job, store: [sys.executable, "-c", "raise SystemExit(3)"])
    runner = local.Runner(store)
    runner.look()
    assert runner.trainer is not None
    assert runner.trainer.child is not None
    os.waitid(os.P_PID, runner.trainer.child.pid, os.WEXITED | os.WNOWAIT)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("sim2street.training.jobs.store.write_json", full)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                runner.look()
    runner.look()
    assert store.get(job.id).state is JobState.FAILED
    assert "code 3" in store.get(job.id).reason


def test_a_cancelled_job_that_could_not_save_says_why(store: JobStore, tmp_path: Path) -> None:
    job = store.create(tiny_config()).having(cancel_asked=True)
    full = Ending(2, ["error: The state of step 7 could not be written: No space left on device."])
    assert classify(job, tmp_path, full)[1].startswith("The disk is full. The state of step 7")
    for ending in (Ending(-15, []), Ending(None, [])):
        assert classify(job, tmp_path, ending) == (JobState.CANCELLED, "Stopped before a state was saved.")


@pytest.mark.parametrize(
    ("ending", "state", "words"),
    [
        (Ending(-9, [], out_of_memory_kills=1), JobState.FAILED, "Out of memory: the kernel killed it"),
        (Ending(-9, []), JobState.FAILED, "killed from outside (SIGKILL)"),
        (
            Ending(1, ["Traceback (most recent call last):", "ValueError: seven"]),
            JobState.FAILED,
            "It failed: ValueError: seven",
        ),
        (Ending(1, ["torch.OutOfMemoryError: CUDA out of memory."]), JobState.FAILED, "Out of memory: use a smaller"),
        (Ending(2, ["error: The folder of camvid is not set."]), JobState.FAILED, "The folder of camvid is not set."),
        (Ending(2, ["error: x: No space left on device."]), JobState.FAILED, "The disk is full. x: No space left"),
        (Ending(130, ["Stopped at step 7 of 9; the state is saved."]), JobState.FAILED, "stopped from outside"),
        (Ending(None, ["100 steps"]), JobState.LOST, "ended unseen"),
        (Ending(3, []), JobState.FAILED, "ended with exit code 3"),
    ],
)
def test_ends_are_put_into_words(store: JobStore, tmp_path: Path, ending: Ending, state: JobState, words: str) -> None:
    found, reason = classify(store.create(tiny_config()), tmp_path, ending)
    assert found is state
    assert words in reason


def test_locks_are_exclusive_and_end_with_their_process(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    script = f"from pathlib import Path\nfrom sim2street.training.locks import hold\nimport time\nwith hold(Path({str(path)!r}), seconds=0):\n    print('held', flush=True)\n    time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert is_held(path)
    with pytest.raises(Busy), hold(path, seconds=0.1):
        pass
    holder.kill()
    holder.wait()
    with hold(path, seconds=5):
        assert is_held(path)


def test_a_forked_child_that_outlives_the_holder_does_not_keep_the_lock(tmp_path: Path) -> None:
    """As a loader process does when its trainer is killed."""
    path = tmp_path / ".lock"
    script = (
        "import os, sys, time\nfrom pathlib import Path\nfrom sim2street.training.locks import hold\n"
        f"with hold(Path({str(path)!r}), seconds=0):\n    child = os.fork()\n"
        "    if child == 0:\n        print(os.getpid(), flush=True)\n    time.sleep(60)\n    os._exit(0)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        assert is_held(path)
        holder.kill()
        holder.wait()
        os.kill(child, 0)
        assert not is_held(path)
    finally:
        os.kill(child, signal.SIGKILL)


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with sole_use(out), pytest.raises(RunFolderError, match="Another process is writing"), sole_use(out):
        pass
    assert not out.exists()  # made for the lock alone
    with sole_use(out):
        (out / "state.pt").write_bytes(b"x")
    assert sorted(path.name for path in out.iterdir()) == [LOCK, "state.pt"]


def test_progress_is_read_over_stages_and_past_damaged_lines(store: JobStore) -> None:
    stages = [{"stage_name": "one", "steps": 10}, {"stage_name": "two", "steps": 20}]
    config, run = tiny_config(stages=stages), store.folder / "run"
    (run / "one").mkdir(parents=True)
    (run / "two").mkdir()
    (run / "one" / "progress.jsonl").write_text('{"step": 10, "losses": {"a": 2.0}, "seconds": 0.5}\nnot json\n[1]\n')
    (run / "two" / "progress.jsonl").write_text('{"step": 5, "losses": {"a": 1.0}, "seconds": 0.25}\n{"step": 6, "lo')
    progress = read_progress(config, run)
    assert (progress.step, progress.steps) == (15, 30)
    assert progress.losses["a"] == ([10, 15], [2.0, 1.0])
    assert progress.seconds_left == pytest.approx(15 * 0.25)
    assert not has_begun(run)


def test_logs_show_what_a_terminal_would(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    os.close(log.open_log(path, "1"))
    with path.open("ab") as file:
        file.write(b"old\n" + b"\n=== attempt 2 ===\n" + b"10%\r50%\r100%\ndone\n")
    assert log.last_attempt(path) == ["100%", "done"]
    assert log.new_lines(["a", "b"], ["b", "c"]) == ["c"]
    assert log.new_lines([], ["a"]) == ["a"]
