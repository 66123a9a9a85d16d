"""Photos to try: fetched once for all, pinned, and refused in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub.utils import httpx

from sim2street.app.content import example_photos
from sim2street.app.content.example_photos import Offer
from sim2street.models.importers import download
from sim2street.models.importers.download import cached_file
from tests.app.conftest import offer_of, serving
from tests.app.test_decode_workers import png

NAMES = ("one.png", "two.png", "three.png")


@pytest.fixture
def photos() -> dict[str, bytes]:
    noise = np.random.default_rng(8)
    return {name: png(noise.integers(0, 255, (48, 80, 3), np.uint8)) for name in NAMES}


@pytest.fixture
def offer(photos: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Offer]:
    """An offer whose server has all of its photos."""
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
    with serving(tmp_path, photos) as address:
        made = offer_of(address, photos)
        monkeypatch.setattr(example_photos, "offer", lambda: made)
        yield made


def names() -> list[str]:
    return [own.name for own in example_photos.offered()[0]]


def test_the_list_is_described_by_size_source_and_licence() -> None:
    listed = example_photos.offer()
    assert listed.button() == "Try 11 real photos (7.3\N{NO-BREAK SPACE}MB)"
    assert listed.button(taken=10) == "Add 1 real photo"
    assert "licence MIT, from [commaai/comma10k](https://github.com/commaai/comma10k)" in listed.introduction
    assert [photo.name for photo in listed.photos] == [f"comma10k {number}" for number in range(11)]


def test_two_who_ask_at_once_fetch_each_photo_once(
    offer: Offer, photos: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    whole = download._download

    def counted(url: str, *rest: Any) -> None:
        fetched.append(url)
        whole(url, *rest)

    monkeypatch.setattr(download, "_download", counted)
    with ThreadPoolExecutor(4) as visitors:
        said = list(visitors.map(lambda _: list(example_photos.fetch_offer()), range(4)))
    assert said == [["", "", ""]] * 4
    assert sorted(fetched) == sorted(offer.address_of(photo) for photo in offer.photos)
    assert names() == list(NAMES)
    found, _ = example_photos.offered()
    assert [own.data for own in found] == list(photos.values())
    assert not any(own.scene.private for own in found)
    assert all(one is other for one, other in zip(found, example_photos.offered()[0], strict=True)), "read once for all"


def test_two_who_ask_for_a_file_that_differs_are_both_refused(offer: Offer, tmp_path: Path) -> None:
    (tmp_path / "www" / "two.png").write_bytes(b"another picture")
    with ThreadPoolExecutor(4) as visitors:
        said = list(visitors.map(lambda _: list(example_photos.fetch_offer()), range(4)))
    for first, second, third in said:
        assert (first, third) == ("", "")
        assert second.startswith("two.png was not fetched. two.png is not the pinned file: it has 15 bytes")
    assert names() == ["one.png", "three.png"]


def test_a_server_that_hangs_up_is_said_in_one_sentence(offer: Offer, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang_up(*_: object) -> None:
        raise httpx.RemoteProtocolError("Server disconnected without sending a response.")

    monkeypatch.setattr(download, "_download", hang_up)
    first, *_ = example_photos.fetch_offer()
    assert first == "one.png was not fetched: Server disconnected without sending a response."


def test_a_file_that_does_not_end_is_cut_off(offer: Offer, photos: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "www" / "two.png").write_bytes(photos["two.png"] * 100)
    _, second, _ = example_photos.fetch_offer()
    assert "expected at most" in second
    assert names() == ["one.png", "three.png"]


def test_a_photo_that_was_changed_in_the_cache_is_named_and_fetched_again(offer: Offer) -> None:
    list(example_photos.fetch_offer())
    damaged = cached_file(offer.address_of(offer.photos[0]))
    assert damaged is not None
    damaged.write_bytes(b"no picture")
    example_photos._read.cache_clear()  # as after a restart of the server
    found, (said,) = example_photos.offered()
    assert len(found) == 2
    assert said == "one.png was changed in the cache; fetch it again."
    assert list(example_photos.fetch_offer()) == ["", "", ""]
    assert names() == list(NAMES)


def test_without_a_network_one_sentence_says_what_to_do_and_a_later_try_succeeds(
    offer: Offer, photos: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(example_photos.ADDRESS_VARIABLE, "http://127.0.0.1:9/")  # nothing listens there
    (said,) = example_photos.fetch_offer()
    assert said.startswith("Nothing can be fetched from 127.0.0.1 at present: ")
    assert "drop photos of your own" in said
    assert example_photos.ADDRESS_VARIABLE in said
    monkeypatch.delenv(example_photos.ADDRESS_VARIABLE)
    list(example_photos.fetch_offer())
    assert names() == list(NAMES)


def test_a_full_disk_is_said_once_and_what_fits_can_be_used(offer: Offer, monkeypatch: pytest.MonkeyPatch) -> None:
    write = download._download

    def full(url: str, *rest: Any) -> None:
        if not url.endswith("one.png"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(url, *rest)

    monkeypatch.setattr(download, "_download", full)
    first, second = example_photos.fetch_offer()
    assert first == ""
    assert second.startswith(
        "two.png cannot be stored on the computer on which this page runs: No space left on device."
    )
    assert names() == ["one.png"]
