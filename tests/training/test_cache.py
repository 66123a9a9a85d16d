"""What lies in the cache is listed, and removed when somebody says so; nothing else ever is."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import time
from pathlib import Path

import pytest
from huggingface_hub.utils import WeakFileLock

from sim2street.models.errors import DatasetError
from sim2street.models.storage.cache import cache_entries
from sim2street.models.storage.files import in_units
from sim2street.training.cli import main
from sim2street.training.datasets import open_dataset
from sim2street.training.datasets.statistics import class_statistics
from sim2street.training.datasets.stored import CachedDataset, cache_dataset

DAY = 86400.0


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def stored(cache: Path) -> CachedDataset:
    """Two sets and a table of classes in the cache; the returned one is the larger."""
    small = open_dataset("street_scenes", style="game", count=2, size=(64, 32), seed=1)
    class_statistics(small)
    cache_dataset(small)
    return cache_dataset(open_dataset("street_scenes", style="fog", count=3, size=(64, 32), seed=1))


def test_everything_is_listed_the_largest_first(stored: CachedDataset, capsys: pytest.CaptureFixture[str]) -> None:
    found = cache_entries()
    assert [entry.kind for entry in found] == ["samples", "samples", "statistics"]
    assert set(found[0].paths) == {stored.photos, stored.label_images}
    assert found[0].size == stored.photos.stat().st_size + 3 * 64 * 32 + 128  # a .npy begins with 128 bytes
    assert main(["cache", "list"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "fog_0+3_seed1" in said[0]
    assert "game_0+2_seed1" in said[1]
    assert said[-1].endswith(f"in {os.environ['SIM2STREET_CACHE']}, 3 entries.")
    assert main(["cache", "list", "samples", "GAME", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["bytes"] == found[1].size
    assert entry["paths"] == [str(path) for path in found[1].paths]


def test_words_and_days_choose_what_is_removed(stored: CachedDataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "remove", "game", "--dry-run"]) == 0
    assert len(cache_entries()) == 3
    assert main(["cache", "remove", "game", "samples"]) == 0
    assert "removed from" in capsys.readouterr().out
    assert [entry.kind for entry in cache_entries()] == ["samples", "statistics"]

    long_ago = time.time() - 8 * DAY
    for path in (stored.photos, stored.label_images):
        assert path is not None
        os.utime(path, (long_ago, long_ago))
    assert main(["cache", "remove", "--unused", "9"]) == 0
    assert stored.photos.exists()
    cache_dataset(stored.origin)  # it is used: the count of days begins anew
    assert main(["cache", "remove", "--unused", "7"]) == 0
    assert stored.photos.exists()
    os.utime(stored.photos, (long_ago, long_ago))
    assert main(["cache", "remove", "--unused", "7"]) == 0
    assert stored.photos.exists(), "its labels were used since"
    assert main(["cache", "remove", "--all"]) == 0
    assert cache_entries() == []
    assert main(["cache", "list"]) == 0
    assert "0 bytes in" in capsys.readouterr().out


def test_nothing_is_removed_unasked(stored: CachedDataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "remove"]) == 2
    assert "--unused DAYS, or --all" in capsys.readouterr().err
    assert main(["cache", "remove", "no_such_set"]) == 0
    assert len(cache_entries()) == 3


def test_an_empty_word_is_no_wish(stored: CachedDataset, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([""], ["fog", " "]):
        assert main(["cache", "remove", *words]) == 2
        assert "One of the words is empty" in capsys.readouterr().err
    assert len(cache_entries()) == 3


def test_a_project_in_the_folder_is_not_the_caches(stored: CachedDataset, cache: Path) -> None:
    """SIM2STREET_CACHE=. in a project: README itself puts imported checkpoints into weights/."""
    own = [
        cache / "weights" / "advent" / "model.safetensors",
        cache / "weights" / "0123456789ab" / "..." / "deep.pth",
        cache / "weights" / "0123456789ac",
        cache / "statistics" / "thesis.docx",
        cache / "samples" / "mine.npy",
        cache / "samples" / "folder.photos.npy" / "inside",
        cache / "samples" / "new\nline.photos.npy",
    ]
    for path in own:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    outside = cache.parent / "outside"
    outside.mkdir()
    (outside / "kept").write_text("mine")
    (cache / "samples" / "link.photos.npy").symlink_to(outside)
    (cache / "weights" / "aaaaaaaaaaaa").symlink_to(outside)
    assert main(["cache", "remove", "--all"]) == 0
    assert cache_entries() == []
    gone = own.pop(1)  # a folder of twelve hexadecimal digits is what a download makes
    assert not gone.exists()
    assert all(path.exists() for path in own)
    assert (outside / "kept").exists()
    assert (cache / "samples" / "link.photos.npy").is_symlink()


def test_what_cannot_be_removed_does_not_keep_the_rest(
    stored: CachedDataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if "fog" in path.name:
            raise PermissionError(13, "Permission denied")
        remove(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    assert main(["cache", "remove", "--all"]) == 2
    said = capsys.readouterr()
    assert "street_scenes_fog" in said.err
    assert "could not be removed: Permission denied" in said.err
    assert "2 entries" in said.out
    assert len(cache_entries()) == 1


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 no archive", b"\x93NUMPY\x01\x00\x10\x00{'descr': '\x00(", b"", b"x" * 400]
)
def test_damaged_files_are_made_again(stored: CachedDataset, content: bytes) -> None:
    before = stored.read_photo(1).copy()
    statistics = class_statistics(stored.origin).counts
    (table,) = [entry for entry in cache_entries() if "fog" in entry.name and entry.kind == "statistics"]
    for path in (stored.photos, table.paths[0]):
        path.write_bytes(content)
    assert (cache_dataset(stored.origin).read_photo(1) == before).all()
    assert (class_statistics(stored.origin).counts == statistics).all()


def test_names_that_no_process_can_have(stored: CachedDataset) -> None:
    for process in ("99999999999999999999", "0"):
        stored.photos.with_name(f".{stored.photos.name}.{process}.partial").write_bytes(b"half")
    assert any("half written" in entry.name for entry in cache_entries())
    assert main(["cache", "remove", "half"]) == 0
    assert len(cache_entries()) == 3


def test_the_cache_is_a_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for named, words in ((str(tmp_path / "file"), "because it is a file"), ("~no_such_user/x", "home")):
        monkeypatch.setenv("SIM2STREET_CACHE", named)
        assert main(["cache", "list"]) == 2
        assert words in capsys.readouterr().err


def test_files_of_others_stay(stored: CachedDataset, cache: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    left, under_way = (
        stored.photos.with_name(f".{stored.photos.name}.{process}.partial") for process in (dead.pid, os.getppid())
    )
    for path in (left, under_way):
        path.write_bytes(b"half")
    (cache / "notes.txt").write_text("mine")
    assert any("half written" in entry.name for entry in cache_entries())
    assert main(["cache", "remove", "--all"]) == 0
    assert {path.name for path in cache.rglob("*") if path.is_file()} == {under_way.name, "notes.txt"}


def test_fetched_weights_have_the_name_of_their_file(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = cache / "weights" / "0123456789ab" / "advent.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"0" * 2500)
    (cache / "weights" / "0123456789ab.lock").touch()
    assert main(["cache", "list"]) == 0
    assert "2.5 kB  weights     used today        advent.pth" in capsys.readouterr().out
    assert main(["cache", "remove", "advent"]) == 0
    assert not place.parent.exists()


def test_downloads_are_told_apart_and_those_under_way_stay(cache: Path) -> None:
    """Two files of one name; of each, the file's last use counts, not the folder's."""
    old, new = (cache / "weights" / digest / "model.pth" for digest in ("a" * 12, "b" * 12))
    for path in (old, new):
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(1000))
    long_ago = time.time() - 90 * DAY
    os.utime(old, (long_ago, long_ago))
    os.utime(new.parent, (long_ago, long_ago))
    assert main(["cache", "remove", "--unused", "30"]) == 0
    assert [path.exists() for path in (old, new)] == [False, True]
    with WeakFileLock(new.parent.with_name(f"{'b' * 12}.lock")):
        assert cache_entries() == []
        assert main(["cache", "remove", "--all"]) == 0
    assert new.exists()
    assert main(["cache", "remove", "--all"]) == 0
    assert not new.exists()


def test_who_reads_a_removed_set_reads_on_and_who_comes_later_is_told(stored: CachedDataset) -> None:
    before = stored.read_photo(0).copy()
    later = pickle.loads(pickle.dumps(stored))
    assert main(["cache", "remove", "--all"]) == 0
    assert (stored.read_photo(0) == before).all()
    with pytest.raises(DatasetError, match=r"removed during the run\. Start again or resume"):
        later.read_photo(0)
    assert (cache_dataset(stored.origin).read_photo(0) == before).all()


def test_a_full_disk_names_the_way_out(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("sim2street.training.datasets.stored.shutil.disk_usage", lambda _: usage)
    with pytest.raises(DatasetError, match=r"takes 16 kB; .* has 1.0 kB left. `sim2street cache list` shows"):
        cache_dataset(open_dataset("street_scenes", style="fog", count=2, size=(64, 32), seed=1))


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (9_940, "9.9 kB"),
        (9_960, "10 kB"),
        (47_400_000, "47 MB"),
        (1_400_000_000, "1.4 GB"),
        (3e15, "3000 TB"),
    ],
)
def test_sizes_are_rounded_for_people(size: float, words: str) -> None:
    assert in_units(size) == words
