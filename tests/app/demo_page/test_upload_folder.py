"""What lies in the folder of uploads: shared by those who send the same photo, and empty once nobody waits."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from sim2street.app.content.limits import LimitError
from sim2street.app.demo_page import uploads
from sim2street.app.demo_page.uploads import UploadFolder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UploadFolder:
    monkeypatch.setenv(uploads.FOLDER_VARIABLE, str(tmp_path))
    found = UploadFolder(age=600)
    found.claim()
    return found


def stored(folder: UploadFolder, name: str = "street.jpg") -> Path:
    assert folder.place is not None
    file = folder.place / ("ab" * 32) / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"the same photo")
    return file


def upload(folder: UploadFolder) -> Path:
    folder.admit("/gradio_api/upload", 14)
    file = stored(folder)
    folder.arrived("/gradio_api/upload", json.dumps([str(file)]).encode())
    folder.ended("/gradio_api/upload")
    return file


def older(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


@pytest.mark.parametrize("visitors", [1, 2, 20])
def test_the_last_of_those_who_sent_the_same_photo_deletes_it(folder: UploadFolder, visitors: int) -> None:
    (file,) = {upload(folder) for _ in range(visitors)}
    for left in reversed(range(visitors)):
        assert file.exists()
        folder.release(str(file))
        assert file.exists() == (left > 0)
    assert folder.place is not None
    assert list(folder.place.iterdir()) == []


def test_a_photo_that_is_just_arriving_again_outlasts_its_first_reader(folder: UploadFolder) -> None:
    file = upload(folder)
    folder.admit("/gradio_api/upload", 14)  # the same photo of somebody else
    stored(folder)
    folder.release(str(file))
    assert file.exists()
    folder.arrived("/gradio_api/upload", json.dumps([str(file)]).encode())
    folder.ended("/gradio_api/upload")
    assert file.exists()
    folder.release(str(file))
    assert not file.exists()


def test_an_upload_that_never_ends_does_not_keep_what_others_have_read(folder: UploadFolder) -> None:
    file = upload(folder)
    folder.admit("/gradio_api/upload", 14)
    folder.release(str(file))
    older(file, uploads.READ_SECONDS + 1)
    folder.sweep()
    assert not file.exists()


@pytest.mark.parametrize("name", ["tmp_cut_off", "street.jpg"])
def test_what_nobody_reads_goes_by_age_and_not_before(folder: UploadFolder, name: str) -> None:
    file = stored(folder, name)
    older(file, 500)
    folder.sweep()
    assert file.exists()
    older(file, 601)
    folder.sweep()
    assert not file.exists()


def test_empty_files_of_finished_uploads_go_with_the_next_sweep(folder: UploadFolder) -> None:
    assert folder.place is not None
    empty = folder.place / "tmpfinished"
    empty.touch()
    folder.admit("/gradio_api/upload", 14)
    folder.sweep()
    assert empty.exists(), "while something arrives, it may be the beginning of an upload"
    folder.ended("/gradio_api/upload")
    awaited = upload(folder)
    awaited.write_bytes(b"")  # an empty file that a visitor sent, who is still to be told
    folder.sweep()
    assert not empty.exists()
    assert awaited.exists()


def test_folders_of_processes_that_are_gone_are_removed_and_other_files_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(uploads.FOLDER_VARIABLE, str(tmp_path))
    gone = tmp_path / "sim2street_uploads_999999999"
    gone.mkdir()
    (gone / "street.jpg").write_bytes(b"left by a kill")
    (tmp_path / "tmpnotours").write_bytes(b"somebody else's")
    folder = UploadFolder(age=600)
    folder.claim()
    folder.claim()
    assert folder.place == tmp_path / f"sim2street_uploads_{os.getpid()}"
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.place.name, "tmpnotours"]


def test_a_full_folder_refuses_further_uploads_in_words(folder: UploadFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(folder)
    monkeypatch.setattr(uploads, "FOLDER_BYTES", 20)
    with pytest.raises(LimitError, match="Try again in a few minutes"):
        folder.admit("/gradio_api/upload", 14)
