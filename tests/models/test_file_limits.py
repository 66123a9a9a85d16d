"""Files of very many pieces, in every format: refused or cut to their first picture before a decoder walks through them."""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from sim2street.models.errors import PhotoError
from sim2street.models.file_limits import first_picture
from sim2street.models.photo import read_photo

SIDE = 64
Tag = tuple[int, int, int, int]


def encoded(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (90, 120, 150)).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(pages: int = 1, *, extra: tuple[Tag, ...] = (), compressed: bool = False, strips: int = 1) -> bytes:
    """A grey TIFF whose pages all show the same pixels."""
    pixels = bytes([150]) * SIDE * SIDE
    pixels = zlib.compress(pixels) if compressed else pixels
    rows = SIDE // strips if strips <= SIDE else 1
    tags: list[Tag] = [
        *((256, 3, 1, SIDE), (257, 3, 1, SIDE), (258, 3, 1, 8), (259, 3, 1, 8 if compressed else 1), (262, 3, 1, 1)),
        *((273, 4, strips, 0), (277, 3, 1, 1), (278, 3, 1, rows), (279, 4, strips, len(pixels)), *extra),
    ]  # fmt: skip
    size = 2 + 12 * len(tags) + 4
    tags[5] = (273, 4, strips, 8 + pages * size)
    directories = bytearray()
    for page in range(pages):
        directories += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        directories += struct.pack("<I", 8 + (page + 1) * size if page + 1 < pages else 0)
    return b"II*\0" + struct.pack("<I", 8) + directories + pixels


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(pieces: bytes) -> bytes:
    data = encoded("PNG")
    return data[:33] + pieces + data[33:]  # after the header


def gif_with(pieces: bytes) -> bytes:
    data = encoded("GIF")
    place = data.index(b"\x2c")
    return data[:place] + pieces + data[place:]


def jpeg_of_scans(count: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4000, 4000)).save(buffer, "JPEG", progressive=True, quality=10)
    data = buffer.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + data[-2:]


REFUSED: dict[str, Callable[[], bytes]] = {
    "PNG: text chunks": lambda: png_with(chunk(b"teXt", b"") * 1_000_000),
    "PNG: empty pixel chunks": lambda: png_with(chunk(b"IDAT", b"") * 1_000_000),
    "PNG: frames": lambda: png_with(chunk(b"fcTL", bytes(26)) * 500_000),
    "JPEG: comments": lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 2_000_000 + encoded("JPEG")[2:],
    "JPEG: filling": lambda: b"\xff\xd8" + b"\xff" * 8_000_000 + encoded("JPEG")[2:],
    "JPEG: scans": lambda: jpeg_of_scans(300),
    "GIF: comments": lambda: gif_with(b"\x21\xfe\1a\0" * 1_000_000),
    "GIF: blocks of one comment": lambda: gif_with(b"\x21\xfe" + b"\1a" * 4_000_000 + b"\0"),
    "TIFF: entries": lambda: tiff(extra=tuple((40_000 + i % 20_000, 3, 1, 0) for i in range(60_000))),
    "TIFF: strips": lambda: tiff(strips=100_000),
    "TIFF: one place copied often": lambda: tiff(extra=tuple((40_000 + i, 1, 4000, 8) for i in range(1000))),
    "WebP: chunks": lambda: b"RIFF" + struct.pack("<I", 8_000_004) + b"WEBP" + b"XXXX\0\0\0\0" * 1_000_000,
    "BMP: runs": lambda: b"BM" + bytes(28) + b"\1\0\0\0" + bytes(5_000_000),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_far_too_many_pieces_are_refused_at_once(make: Callable[[], bytes]) -> None:
    data, started = make(), time.process_time()
    with pytest.raises(PhotoError, match=r"x is made of .* far more than a photo has\. Open it"):
        read_photo(data, name="x")
    assert time.process_time() - started < 2


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("pages", [2, 35_000])
def test_a_tiff_of_many_pages_is_its_first(pages: int, compressed: bool) -> None:
    data, started = tiff(pages, compressed=compressed), time.process_time()
    photo = read_photo(data)
    assert time.process_time() - started < 2
    assert photo.size == (SIDE, SIDE)
    assert photo.remarks == ("animated: the first frame was taken",)


def test_a_gif_of_many_frames_is_its_first() -> None:
    buffer = io.BytesIO()
    frames = [Image.new("P", (SIDE, SIDE), value) for value in range(3)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    data = buffer.getvalue()[:-1] + b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0" * 400_000 + b";"
    started = time.process_time()
    assert "animated: the first frame was taken" in read_photo(data).remarks
    assert time.process_time() - started < 2
    assert len(first_picture(data, name="x").data) < 2000


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"])
def test_sound_and_truncated_files_pass_as_they_are(kind: str) -> None:
    data = encoded(kind)
    assert not first_picture(data, name="x").left_out
    assert np.abs(read_photo(data).pixels.astype(int) - (90, 120, 150)).max() < 12
    for length in range(0, len(data), 7):
        first_picture(data[:length], name="x")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "I;16", "F"])
def test_decoding_at_the_size_needed_shows_the_same(kind: str, mode: str) -> None:
    if kind == "JPEG" and mode not in ("RGB", "L"):
        pytest.skip("JPEG has no such pixels")
    if kind == "PNG" and mode == "F":
        pytest.skip("PNG has no such pixels")
    ramp = np.linspace(0, 250, 1500 * 700).reshape(700, 1500)
    grey = Image.fromarray(ramp.astype(np.float32))
    image = {"F": grey, "I;16": Image.fromarray((ramp * 257).astype(np.uint16))}.get(
        mode, grey.convert("L").convert(mode if len(mode) < 5 and mode[0] != "I" else "L")
    )
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=95) if kind == "JPEG" else image.save(buffer, kind)
    whole, needed = read_photo(buffer.getvalue()).limited(100), read_photo(buffer.getvalue(), long_side=100)
    assert needed.size == whole.size == (100, 47)
    assert needed.full_size == (1500, 700)
    assert needed.remarks == whole.remarks
    assert np.abs(needed.pixels.astype(int) - whole.pixels).mean() < 3
