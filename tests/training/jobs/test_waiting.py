"""What a person sees who waits: activities beside the steps, estimates that were wrong, and nothing of an earlier attempt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sim2street.training import activity
from sim2street.training.activity import Activity, ActivityWriter, read_activity
from sim2street.training.config import RunConfig
from sim2street.training.jobs.estimate import surprise
from sim2street.training.jobs.progress import Progress
from sim2street.training.jobs.record import Job, JobState
from sim2street.training.jobs.store import ACTIVITY, PULSE, JobStore
from sim2street.training.selection import progress_bar
from tests.training.jobs.conftest import tiny_config


@pytest.fixture
def job(store: JobStore) -> Job:
    return store.create(tiny_config(), expected_seconds=(60.0, 100.0))


def test_storing_is_seen_while_it_lasts(store: JobStore, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(activity.VARIABLE, str(store.place(job.id) / ACTIVITY))
    monkeypatch.setattr(activity, "EVERY", 0)
    assert store.activity(job.id) is None
    with progress_bar("storing game") as report:
        report(3, 12)
        assert store.activity(job.id) == Activity("storing game", 3, 12)
        report(12, 12)
    assert store.activity(job.id) is None


def test_it_goes_when_the_work_fails(store: JobStore, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(activity.VARIABLE, str(store.place(job.id) / ACTIVITY))

    def broken() -> None:
        with progress_bar("storing game") as report:
            report(3, 12)
            assert store.activity(job.id) is not None
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011  # the one above
        broken()
    assert store.activity(job.id) is None


def test_of_an_earlier_attempt_nothing_stays(store: JobStore, job: Job) -> None:
    (store.place(job.id) / ACTIVITY).write_text(json.dumps({"title": "storing", "done": 1, "total": 2}))
    (store.place(job.id) / PULSE).write_text(json.dumps({"silent_seconds": 4000.0}))
    store.begin_attempt(job.id)
    assert store.activity(job.id) is None
    assert store.pulse(job.id) == {}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"title": "a"}', '{"title": 1, "done": "x", "total": 3}', "null"])
def test_what_is_no_activity_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "activity.json").write_text(text)
    assert read_activity(tmp_path / "activity.json") is None


def test_nobody_watches_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(activity.VARIABLE, raising=False)
    ActivityWriter("storing").report(1, 2)
    monkeypatch.setenv(activity.VARIABLE, str(tmp_path / "gone" / "activity.json"))
    ActivityWriter("storing").report(1, 2)  # a folder that was removed meanwhile stops nothing
    monkeypatch.setenv(activity.VARIABLE, str(tmp_path / "activity.json"))
    monkeypatch.setenv("RANK", "1")
    ActivityWriter("storing").report(1, 2)  # of several processes the first reports
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("seconds", "pace", "words"),
    [
        (80.0, 0.8, ""),
        (190.0, 1.9, ""),
        (31.0, 0.3, ""),
        (600.0, 0.7, "storing data, evaluations and the start, which estimates do not include"),
        (600.0, 1.4, "storing data, evaluations and the start, which estimates do not include"),
        (600.0, 5.9, "A step took longer"),
        (20.0, 0.2, "A step took shorter"),
    ],
)
def test_an_estimate_that_was_wrong_says_why(job: Job, seconds: float, pace: float, words: str) -> None:
    done = job.having(state=JobState.SUCCEEDED, seconds=seconds)
    said = surprise(done, Progress(100, 100, pace))
    assert words in said
    assert bool(said) == bool(words)
    assert not surprise(job.having(seconds=seconds), Progress(100, 100, pace))  # not done yet
    assert not surprise(done.having(expected_seconds=None), Progress(100, 100, pace))


def test_a_record_of_before_has_no_estimate(store: JobStore) -> None:
    config: RunConfig = tiny_config()
    assert store.create(config).expected_seconds is None
