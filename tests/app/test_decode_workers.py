"""Decoding that takes too long, wants too much memory or breaks down costs its own worker, and nobody else."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from sim2street.app.content.decode_workers import Workers
from sim2street.app.content.limits import LimitError
from sim2street.models.errors import LabelError, PhotoError
from sim2street.models.numbering import LABEL_IDS, TRAIN_IDS, MisnumberedError
from sim2street.models.photo import read_photo
from sim2street.models.photo_labels import read_photo_labels


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    pool = Workers(2, seconds=60, line_seconds=60)
    yield pool
    pool.end()


def png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


STREET = png(np.random.default_rng(0).integers(0, 255, (48, 96, 3), np.uint8))


def kill_own_process(data: bytes, *, name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def take_two_gigabytes(data: bytes, *, name: str) -> int:
    return len(bytearray(2 * 2**30))


def write_a_file(data: bytes, *, name: str) -> None:
    with open(name, "wb") as file:
        file.write(data)


def sleep(data: bytes, *, name: str) -> None:
    time.sleep(600)


def test_a_photo_is_the_same_as_without_a_worker(workers: Workers) -> None:
    read, here = workers.run(read_photo, STREET, name="a.png", long_side=64), read_photo(STREET, long_side=64)
    assert (read.pixels == here.pixels).all()
    assert (read.name, read.size, read.full_size, read.digest) == ("a.png", (64, 32), (96, 48), here.digest)


def test_errors_come_back_as_they_are(workers: Workers) -> None:
    with pytest.raises(PhotoError, match=r"a\.png is not a picture"):
        workers.run(read_photo, b"x", name="a.png")
    photo, labels = read_photo(STREET), png(np.full((48, 96), 33, np.uint8))
    with pytest.raises(MisnumberedError, match="Found the values 33") as caught:
        workers.run(read_photo_labels, photo, labels, TRAIN_IDS, name="l.png")
    assert caught.value.fitting == (LABEL_IDS,)
    with pytest.raises(LabelError, match="photo's aspect ratio"):
        workers.run(read_photo_labels, photo, png(np.zeros((48, 48), np.uint8)), TRAIN_IDS, name="l.png")


def test_breaking_down_and_memory_cost_one_worker(workers: Workers) -> None:
    with pytest.raises(PhotoError, match=r"crashed on b\.png"):
        workers.run(kill_own_process, STREET, name="b.png")
    with pytest.raises(MemoryError):
        workers.run(take_two_gigabytes, STREET, name="b.png")
    assert workers.run(read_photo, STREET, name="a.png").size == (96, 48)


def test_a_worker_writes_no_file(workers: Workers, tmp_path: object) -> None:
    with pytest.raises((OSError, PhotoError)):
        workers.run(write_a_file, STREET, name=f"{tmp_path}/x")
    assert not os.path.exists(f"{tmp_path}/x") or not os.path.getsize(f"{tmp_path}/x")


def test_who_takes_too_long_is_given_up_and_who_waits_too_long_is_told() -> None:
    pool = Workers(1, seconds=60, line_seconds=0.2)
    pool.run(read_photo, STREET, name="a.png")  # the worker has started
    pool.seconds = 1.5
    said: list[str] = []

    def take_the_worker() -> None:
        with pytest.raises(PhotoError) as caught:
            pool.run(sleep, STREET, name="slow.png")
        said.append(str(caught.value))

    thread = threading.Thread(target=take_the_worker)
    started = time.monotonic()
    thread.start()
    time.sleep(0.3)
    with pytest.raises(LimitError, match="Try again in a minute"):
        pool.run(read_photo, STREET, name="a.png")
    thread.join(20)
    assert time.monotonic() - started < 15
    assert said == [
        "slow.png takes more than 2 s to decode, far longer than any photo. Open it in an image editor and save it again, for example as JPEG."
    ]
    pool.seconds = pool.line_seconds = 60
    assert pool.run(read_photo, STREET, name="a.png").size == (96, 48)
    pool.end()


def test_files_that_wait_have_a_budget() -> None:
    pool = Workers(1, line_bytes=len(STREET) - 1)
    with pytest.raises(LimitError):
        pool.run(read_photo, STREET, name="a.png")
