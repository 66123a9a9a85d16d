"""Listings of checkpoints, jobs and tables go on past what cannot be read, and nothing waits for a pipe."""

from __future__ import annotations

import json
import os
import re
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sim2street.app.content import benchmark_data
from sim2street.models.errors import CheckpointError, UnreadableError
from sim2street.models.storage.catalog import catalog
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import LARGEST_JSON, read_json, write_json
from sim2street.training.jobs.record import JobState
from sim2street.training.jobs.store import JobStore
from tests.app.conftest import save_tiny

NESTED = "[" * 200_000


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """What `work` returns; fails where it hangs."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, f"nothing after {seconds} s"
    return found[0]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: os.mkfifo(path), "pipe"),
        (lambda path: path.mkdir(), "folder|directory"),
        (lambda path: path.symlink_to(path.parent / "nowhere"), "cannot be read"),
        (lambda path: path.symlink_to("/dev/zero"), "device"),
        (lambda path: path.write_text(NESTED), "nested too deeply"),
        (lambda path: path.write_text("{"), "it is not JSON"),
        (lambda path: path.write_bytes(b"\xff\xfe{}"), "it is not JSON"),
        (lambda path: path.write_bytes(b" " * (LARGEST_JSON + 1)), "larger than"),
    ],
)
def test_what_is_no_readable_json_is_said_at_once(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    make(tmp_path / "x.json")

    def read() -> str:
        try:
            return f"read {read_json(tmp_path / 'x.json')}"
        except UnreadableError as error:
            return str(error)

    assert re.search(said, within(5, read))


def bad_checkpoints(folder: Path) -> set[str]:
    """Folders that mean to be checkpoints and are none; their names."""
    for name in ("pipe", "nested", "loop"):
        (folder / name).mkdir(parents=True)
        (folder / name / "model.safetensors").write_bytes(b"x")
    os.mkfifo(folder / "pipe" / "config.json")
    (folder / "nested" / "config.json").write_text(NESTED)
    (folder / "loop" / "config.json").symlink_to("config.json")
    os.mkfifo(folder / "stray_pipe")
    (folder / "broken_link").symlink_to("nowhere")
    return {"pipe", "nested", "loop"}


def test_the_catalog_goes_on_past_bad_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = save_tiny(tmp_path / "own", "good", "advent", "Good")
    bad = bad_checkpoints(tmp_path / "own")
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", str(tmp_path / "own"))
    found = {entry.name: entry for entry in within(60, lambda: catalog(wait=False))}
    assert found[Path(good).name].checkpoint is not None
    for name in bad:
        assert name not in found or found[name].error


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny(tmp_path / "own", "good", "advent", "Good")
    closed = tmp_path / "own" / "closed"
    closed.mkdir()
    (closed / "config.json").write_text("{}")
    exists = Path.exists

    def refuse(self: Path, **options: Any) -> bool:
        if closed in self.parents:
            raise PermissionError(13, "Permission denied", str(self))
        return exists(self, **options)

    monkeypatch.setattr(Path, "exists", refuse)
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", str(tmp_path / "own"))
    found = {entry.name: entry for entry in catalog(wait=False)}
    assert found["good"].checkpoint is not None
    assert "Permission denied" in str(found["closed"].error)


@pytest.mark.parametrize(
    "report",
    [
        {"miou": [0.5], "images": 3},
        {"miou": 1e308, "images": 3},
        {"miou": 0.5, "images": True},
        {"miou": 0.5, "images": -1},
        {"miou": 0.5, "images": 3, "iou_per_class": [1]},
        {"miou": 0.5, "images": 3, "iou_per_class": {"road": "x"}},
        {"miou": 0.5, "images": 3, "ece": {}},
        [],
    ],
)
def test_figures_of_another_type_are_refused_when_a_checkpoint_is_opened(tmp_path: Path, report: Any) -> None:
    path = Path(save_tiny(tmp_path, "good", "advent", "Good"))
    (path / "metrics.json").write_text(json.dumps({"camvid/val": report}))
    with pytest.raises(CheckpointError, match="report 'camvid/val' is damaged"):
        Checkpoint.open(path)


def test_weights_have_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = Path(save_tiny(tmp_path, "good", "advent", "Good"))
        write_json(tmp_path / "x.json", {})
    finally:
        os.umask(before)
    for file in (*path.iterdir(), tmp_path / "x.json"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o644, file.name


def test_jobs_are_listed_past_stray_and_damaged_entries(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    store.folder.mkdir()
    (store.folder / "0001-stray_file").write_text("x")
    (store.folder / "0002-broken_link").symlink_to("nowhere")
    os.mkfifo(store.folder / "0003-pipe")
    for name, text in (("0004-nested", NESTED), ("0005-number", '{"submitted_at": 1e999}'), ("0006-list", "[]")):
        (store.folder / name).mkdir()
        (store.folder / name / "job.json").write_text(text)
    (store.folder / "0007-record_is_a_pipe").mkdir()
    os.mkfifo(store.folder / "0007-record_is_a_pipe" / "job.json")
    (store.folder / "0008-newline\n").mkdir()
    found = within(10, store.jobs)
    assert [job.id[:4] for job in found] == [f"000{number}" for number in range(7, 0, -1)]
    assert all(job.state is JobState.LOST and job.reason for job in found)


def test_sweep_tables_are_listed_past_bad_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "nested.json").write_text(NESTED)
    monkeypatch.setenv(benchmark_data.RESULTS_VARIABLE, str(tmp_path))
    tables = within(20, benchmark_data.sweep_tables)
    assert {"pipe.json", "nested.json"} <= {table.title for table in tables if table.error}
    assert any(not table.error for table in tables)
