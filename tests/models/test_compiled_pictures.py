"""Compiled code resizes as Pillow does and reads plain PNG files as Pillow does, byte for byte, and leaves others to it."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sim2street.models import photo as photo_module
from sim2street.models import plain_png
from sim2street.models.compiled_code import COMPILED, compiled_code, compiled_pictures
from sim2street.models.errors import PhotoError
from sim2street.models.photo import MAX_PIXELS, Photo, read_label_image, read_photo

KINDS = tuple(plain_png.CHANNELS)


@pytest.fixture(autouse=True)
def loaded() -> None:
    if compiled_code() is None:
        pytest.skip("needs .[fast]")


def noise(height: int, width: int, *channels: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, *channels), np.uint8)


@pytest.mark.parametrize("resampling", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((96, 160), (48, 80)),
        ((97, 131), (64, 50)),
        ((30, 70), (97, 131)),
        ((64, 65), (64, 130)),
        ((65, 64), (20, 64)),
        ((300, 17), (3, 17)),
        ((1, 200), (1, 7)),
        ((5, 1), (2, 9)),
    ],
)
def test_resizing_is_pillows(before: tuple[int, int], after: tuple[int, int], resampling: Image.Resampling) -> None:
    (height, width), (rows, columns) = before, after
    for pixels in (noise(height, width, 3), np.where(noise(height, width, 3) > 127, np.uint8(255), np.uint8(0))):
        found = Photo(pixels, "", "").resized((columns, rows), resampling)
        expected = np.asarray(Image.fromarray(pixels).resize((columns, rows), resampling))
        np.testing.assert_array_equal(found, expected)
        assert not found.flags.writeable


def test_pillow_resizes_before_compiled_code_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(40, 60, 3)
    compiled = photo_module._resized(pixels, (30, 20), Image.Resampling.BICUBIC)
    monkeypatch.delitem(sys.modules, COMPILED)
    assert compiled_pictures() is None
    np.testing.assert_array_equal(compiled, photo_module._resized(pixels, (30, 20), Image.Resampling.BICUBIC))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    header: tuple[int, ...],
    rows: bytes,
    before: tuple[bytes, ...] = (),
    after: tuple[bytes, ...] = (),
) -> bytes:
    """A PNG of a header (width, height, depth, colour, compression, filter, interlace) and filtered rows."""
    packed = zlib.compress(rows)
    half = len(packed) // 2
    parts = (chunk(b"IDAT", packed[:half]), chunk(b"IDAT", packed[half:]))
    if header[3] == plain_png.PALETTE:
        before = (*before, chunk(b"PLTE", bytes(range(256)) * 3))
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">II5B", *header)),
            *before,
            *parts,
            *after,
            chunk(b"IEND", b""),
        ]
    )


def filtered_rows(height: int, width: int, channels: int) -> bytes:
    """Rows of noise, with each filter beneath each: any bytes are valid."""
    rows = noise(height, 1 + width * channels)
    rows[:, 0] = np.arange(height) * 2 % 5 if height > 1 else 4
    return rows.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("height", "width"), [(40, 31), (7, 1), (1, 9)])
def test_plain_files_are_read_as_pillow_reads_them(kind: int, height: int, width: int) -> None:
    header = (width, height, 8, kind, 0, 0, 0)
    data = png(header, filtered_rows(height, width, plain_png.CHANNELS[kind]), (chunk(b"gAMA", bytes(4)),))
    found = plain_png.decoded(data, KINDS, MAX_PIXELS)
    assert found is not None
    np.testing.assert_array_equal(found, np.asarray(Image.open(io.BytesIO(data))))
    assert found.flags.writeable
    assert plain_png.decoded(data, tuple(each for each in KINDS if each != kind), MAX_PIXELS) is None
    assert plain_png.decoded(data, KINDS, height * width - 1) is None


def test_files_that_are_not_plain_are_left_to_pillow() -> None:
    header, rows = (31, 40, 8, plain_png.COLOUR, 0, 0, 0), filtered_rows(40, 31, 3)
    whole = png(header, rows)
    wrong = bytearray(rows)
    wrong[0] = 5
    others = {
        "cut off": whole[:-30],
        "without its end": whole[:-12],
        "followed by something": whole + b"\n",
        "a wrong checksum": whole[:60] + bytes([whole[60] ^ 1]) + whole[61:],
        "too few rows": png(header, rows[:-1]),
        "too many rows": png(header, rows + b"\0"),
        "a filter that there is not": png(header, bytes(wrong)),
        "interlaced": png((*header[:6], 1), rows),
        "of 16 bits": png((31, 40, 16, plain_png.COLOUR, 0, 0, 0), filtered_rows(40, 62, 3)),
        "with alpha": png((31, 40, 8, 6, 0, 0, 0), filtered_rows(40, 31, 4)),
        "a transparent colour": png(header, rows, (chunk(b"tRNS", bytes(6)),)),
        "turned": png(header, rows, (chunk(b"eXIf", bytes(8)),)),
        "text": png(header, rows, (), (chunk(b"tEXt", b"Software\0x"),)),
        "an unknown chunk": png(header, rows, (chunk(b"abCd", b""),)),
        "rows in two places": png(header, rows, (), (chunk(b"tIME", bytes(7)), chunk(b"IDAT", b""))),
        "two headers": png(header, rows, (chunk(b"IHDR", struct.pack(">II5B", *header)),)),
        "no pixels": png((0, 40, 8, plain_png.COLOUR, 0, 0, 0), rows),
        "not compressed": whole[:33] + chunk(b"IDAT", b"rows") + chunk(b"IEND", b""),
        "another format": b"\xff\xd8" + whole,
        "nothing": b"",
    }
    assert plain_png.decoded(whole, KINDS, MAX_PIXELS) is not None
    for what, data in others.items():
        assert plain_png.decoded(data, KINDS, MAX_PIXELS) is None, what


def test_photos_and_labels_are_the_same_by_either_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {}
    for name, pixels in (
        ("photo", noise(40, 60, 3)),
        ("black", noise(40, 60, 3) // 16),
        ("labels", noise(40, 60) % 19),
    ):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        files[name] = file.getvalue()
    flat, thin = (
        png((*size, 8, plain_png.COLOUR, 0, 0, 0), filtered_rows(size[1], size[0], 3)) for size in ((40, 15), (200, 16))
    )

    (tmp_path / "labels.png").write_bytes(files["labels"])

    def read() -> list[object]:
        found: list[object] = []
        for name in ("photo", "black"):
            photo = read_photo(files[name])
            found += [photo.pixels.tobytes(), photo.pixels.shape, photo.digest, photo.remarks, photo.full_size]
        for refused in (flat, thin):
            with pytest.raises(PhotoError) as error:
                read_photo(refused)
            found.append(str(error.value))
        labels = read_label_image(tmp_path / "labels.png")
        return [*found, labels.tobytes(), labels.shape, labels.dtype]

    asked = []
    decoded = plain_png.decoded
    monkeypatch.setattr(plain_png, "decoded", lambda *given: asked.append(given) or decoded(*given))
    quick = read()
    assert len(asked) == 5
    monkeypatch.setattr(plain_png, "decoded", lambda *_: None)
    assert quick == read()
    assert any("nearly black" in remark for remark in quick[8])  # type: ignore[union-attr]


def test_strangers_files_are_read_by_pillow_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    file, labels = io.BytesIO(), io.BytesIO()
    Image.fromarray(noise(40, 60, 3)).save(file, "PNG")
    Image.fromarray(noise(40, 60)).save(labels, "PNG")
    monkeypatch.setattr(plain_png, "decoded", None)
    assert read_photo(file.getvalue(), long_side=1024).size == (60, 40)
    assert read_label_image(labels.getvalue()).shape == (40, 60)
