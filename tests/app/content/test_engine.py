"""The engine that all pages share: bounded memory, one at a time in order, nobody sees another's photo."""

from __future__ import annotations

import gc
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sim2street.app.content import engine as engines
from sim2street.app.content.byte_cache import ByteCache
from sim2street.app.content.comparison import compare
from sim2street.app.content.engine import ENGINE, Engine, Failure, OwnPhoto, Settings, Turns, network
from sim2street.app.content.gallery import Scene
from sim2street.app.content.limits import LimitError, RateLimit
from sim2street.app.content.panes import Pane, pane
from sim2street.app.views import session
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.photo import Photo
from sim2street.models.storage.checkpoint import Checkpoint
from tests.app.conftest import save_tiny
from tests.app.content.test_panes import prediction_of


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def scene(value: int, *, private: bool = False) -> Scene:
    return Scene(Photo(np.full((32, 48, 3), value, np.uint8), f"{value}.jpg", f"digest {value}"), private=private)


def pane_of(value: int) -> Pane:
    return pane(prediction_of(np.full((4, 4), value, np.uint8)))


@pytest.fixture
def checkpoint(tiny_checkpoints: Path) -> Checkpoint:
    return Checkpoint.open(tiny_checkpoints / "tiny_advent")


def test_the_least_recently_used_goes_first() -> None:
    dropped: list[str] = []
    cache: ByteCache[str] = ByteCache(10, on_drop=lambda: dropped.append("told"))
    cache.put("a", "A", 4)
    cache.put("b", "B", 4)
    assert cache.get("a") == "A"
    cache.put("c", "C", 4)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("A", None, "C")
    assert cache.size == 8
    assert dropped == ["told"]


def test_one_item_larger_than_the_limit_is_kept_alone() -> None:
    cache: ByteCache[str] = ByteCache(10)
    cache.put("a", "A", 4)
    cache.put("large", "L", 40)
    assert len(cache) == 1
    assert cache.get("large") == "L"
    cache.put("b", "B", 1)
    assert cache.size == 1


def test_replacing_counts_once() -> None:
    cache: ByteCache[str] = ByteCache(10)
    for _ in range(5):
        cache.put("a", "A", 8)
    assert cache.size == 8


def test_what_lies_idle_is_dropped() -> None:
    clock = Clock()
    cache: ByteCache[str] = ByteCache(10, idle_seconds=3600, clock=clock)
    cache.put("a", "A", 1)
    cache.put("b", "B", 1)
    clock.now = 3000
    cache.get("b")
    clock.now = 3700
    cache.expire()
    assert (cache.get("a"), cache.get("b")) == (None, "B")


def test_networks_are_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (
        Checkpoint.open(save_tiny(tmp_path, name, "advent", name.title(), seed=seed))
        for seed, name in enumerate(("first", "second"))
    )
    size = sum(tensor.nbytes for tensor in first.load().state_dict().values())
    cache: ByteCache[Any] = ByteCache(int(1.5 * size))
    monkeypatch.setattr(engines, "LOADED", cache)
    kept = network(first)
    assert network(first) is kept
    network(second)
    assert len(cache) == 1
    assert network(first) is not kept


def test_turns_are_taken_one_at_a_time_in_order() -> None:
    turns, order, inside = Turns(), list[int](), list[int]()

    def work(number: int) -> None:
        with turns.turn():
            inside.append(number)
            assert len(inside) == 1
            order.append(number)
            time.sleep(0.005)
            inside.remove(number)

    threads = []
    with turns.turn():  # all of them have to queue up behind this one
        for number in range(8):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            while len(turns) < number + 2:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(8))
    assert len(turns) == 0


def test_a_turn_that_fails_lets_the_next_one_in() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="x"), turns.turn():
        raise ValueError("x")
    with turns.turn():
        assert len(turns) == 1


def test_a_gallery_photo_is_read_once_for_all(checkpoint: Checkpoint) -> None:
    calls: list[str] = []

    def predict(_: Checkpoint, photo: Photo, *__: object) -> Pane:
        calls.append(photo.digest)
        return pane_of(3)

    engine = Engine(predict)
    one = engine.read(scene(1), checkpoint, Settings(), "anna")
    assert engine.read(scene(1), checkpoint, Settings(), "bert") is one
    assert calls == ["digest 1"]
    assert engine.known(scene(1), checkpoint, Settings(flip=True), "anna") is None


def test_own_photos_are_seen_by_their_visitor_alone_and_forgotten(checkpoint: Checkpoint) -> None:
    engine = Engine(lambda *_: pane_of(3))
    mine = scene(1, private=True)
    engine.keep("anna", OwnPhoto(mine, b"data", "mine.jpg"))
    engine.read(mine, checkpoint, Settings(), "anna")
    assert engine.known(mine, checkpoint, Settings(), "anna") is not None
    assert engine.known(mine, checkpoint, Settings(), "bert") is None
    assert engine.kept("bert") is None
    assert len(engine.shared) == 0
    engine.forget("bert")
    assert engine.kept("anna") is not None
    engine.forget("anna")
    assert engine.kept("anna") is None
    assert len(engine.private) == 0


@pytest.mark.parametrize("private", [False, True])
def test_a_comparison_under_way_is_not_pushed_out_by_others(tmp_path: Path, private: bool) -> None:
    """Ten methods and a shelf that holds three readings: every pane is there at the end, and the shelf as small."""
    checkpoints = [
        Checkpoint.open(save_tiny(tmp_path, f"m{seed}", "advent", f"M{seed}", seed=seed)) for seed in range(10)
    ]
    calls: list[str] = []

    def predict(checkpoint: Checkpoint, *_: object) -> Pane:
        calls.append(checkpoint.name)
        return pane(prediction_of(np.zeros((32, 48), np.uint8)))

    engine = Engine(predict)
    size = engines._size(predict(checkpoints[0]))
    engine.shared.limit = engine.private.limit = 3 * size
    calls.clear()
    states = list(compare(engine, scene(1, private=private), checkpoints, checkpoints, Settings(), "anna"))
    assert [len(state.entrants) for state in states] == list(range(11))
    assert len(calls) == 10, "none was read twice"
    assert engine.shared.size + engine.private.size <= 3 * size
    assert engine._held == {}, "what is done is held no longer"


def test_what_is_held_is_one_photo_of_a_visitor(checkpoint: Checkpoint) -> None:
    engine = Engine(lambda *_: pane_of(3))
    for number in range(5):
        engine.read(scene(number), checkpoint, Settings(), "anna")
        assert len(engine._held["anna"]) == 1
    engine.forget("anna")
    assert engine._held == {}


def test_a_photo_that_is_replaced_while_it_is_read_leaves_the_new_one_its_own_panes(checkpoint: Checkpoint) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def predict(_: Checkpoint, photo: Photo, *__: object) -> Pane:
        if photo.name == "1.jpg":
            begun.set()
            assert go_on.wait(30)
        return pane(prediction_of(np.full((32, 48), 1 if photo.name == "1.jpg" else 2, np.uint8)))

    engine = Engine(predict)
    old, new = scene(1, private=True), scene(2, private=True)
    reading = threading.Thread(target=engine.read, args=(old, checkpoint, Settings(), "anna"))
    reading.start()
    assert begun.wait(30)
    states = compare(engine, new, [checkpoint], [checkpoint], Settings(), "anna")
    first = next(states)
    assert first.waiting == [checkpoint]
    assert first.entrants == []
    go_on.set()
    (last,) = states
    reading.join(30)
    assert last.bundle["photo"]["name"] == "2.jpg"
    assert np.all(last.entrants[0].reading.pane.labels == 2)
    assert engine.known(new, checkpoint, Settings(), "anna") is not None


def test_who_leaves_while_being_read_leaves_nothing_behind(checkpoint: Checkpoint) -> None:
    began, go = threading.Event(), threading.Event()

    def predict(*_: object) -> Pane:
        began.set()
        go.wait(10)
        return pane_of(3)

    engine = Engine(predict)
    readers = [
        threading.Thread(target=engine.read, args=(scene(number, private=True), checkpoint, Settings(), "anna"))
        for number in range(3)
    ]
    for reader in readers:
        reader.start()
    assert began.wait(10)
    engine.forget("anna")
    go.set()
    for reader in readers:
        reader.join(10)
    assert (len(engine.private), engine._held, engine._left, +engine._here) == (0, {}, set(), {})
    engine.read(scene(9, private=True), checkpoint, Settings(), "anna")  # back again, as after a lost connection
    assert len(engine.private) == 1


def test_a_photo_that_is_decoded_after_its_visitor_left_is_not_kept(checkpoint: Checkpoint) -> None:
    engine = Engine()
    own = OwnPhoto(scene(1, private=True), b"file", "street.jpg")
    with engine.awaited("anna"):
        engine.forget("anna")
        engine.keep("anna", own)
    assert engine.kept("anna") is None
    with engine.awaited("anna"):  # back again
        engine.keep("anna", own)
    assert engine.kept("anna") is own


def test_a_session_that_is_collected_within_the_engine_does_not_stop_it(checkpoint: Checkpoint) -> None:
    """Collection may strike on any line, also where the engine holds its lock."""
    visit: session._Visit | None = session._Visit()
    name = visit.name if visit else ""
    with ENGINE._lock:
        ENGINE._held[name] = {}
        visit = None
        gc.collect()
    for _ in range(100):
        if name not in ENGINE._held:
            break
        time.sleep(0.05)
    assert name not in ENGINE._held


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory."), "not enough memory"),
        (RuntimeError("CUDA error: out of memory"), "not enough memory"),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "not enough memory"),
        (RuntimeError("x"), "stumbled over the photo"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_the_next_photo_is_read(
    checkpoint: Checkpoint, error: Exception, reason: str
) -> None:
    def predict(_: Checkpoint, photo: Photo, *__: object) -> Pane:
        if photo.digest == "digest 1":
            raise error
        return pane_of(3)

    engine = Engine(predict)
    answer = engine.read(scene(1), checkpoint, Settings(), "anna")
    assert isinstance(answer, Failure)
    assert reason in answer.reason
    assert engine.known(scene(1), checkpoint, Settings(), "anna") is answer
    assert engine.known(scene(1), checkpoint, Settings(), "ben") is None, "his try may succeed"
    assert isinstance(engine.read(scene(2), checkpoint, Settings(), "anna"), Pane)


def test_a_photo_is_really_read(checkpoint: Checkpoint) -> None:
    answer = Engine().read(scene(7), checkpoint, Settings(), "anna")
    assert isinstance(answer, Pane)
    assert answer.labels.shape == (32, 48)
    assert answer.space is CITYSCAPES19


def test_a_client_has_its_share_and_no_more() -> None:
    clock = Clock()
    limit = RateLimit(2, 60, clock)
    limit.check("anna")
    clock.now = 10
    limit.check("anna")
    limit.check("bert")
    with pytest.raises(LimitError, match="Try again in 50 s"):
        limit.check("anna")
    clock.now = 61
    limit.check("anna")
    clock.now = 1000
    limit.check("carl")
    assert set(limit._times) == {"carl"}, "clients that are gone take no memory"
