"""Metadata may be broken or huge: sound pixels are read all the same, and the bounds against bombs stay."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from sim2street.models.errors import PhotoError
from sim2street.models.photo import read_label_image, read_photo

PIXELS = np.repeat(np.repeat(np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8), 8, 0), 8, 1)
LABELS = np.repeat(np.arange(8, dtype=np.uint8)[None], 6, 0)


def encoded(form: str, pixels: np.ndarray = PIXELS, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes, *, checksum: int | None = None) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum or zlib.crc32(kind + body))


def in_png(*chunks: bytes, end: bool = False, pixels: np.ndarray = PIXELS) -> bytes:
    data = encoded("PNG", pixels)
    place = len(data) - 12 if end else 33
    return data[:place] + b"".join(chunks) + data[place:]


def in_jpeg(*segments: tuple[int, bytes]) -> bytes:
    data = encoded("JPEG", quality=95, subsampling=0)
    added = b"".join(b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments)
    return data[:2] + added + data[2:]


def in_webp(*chunks: tuple[bytes, bytes]) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "A"
    data = encoded("WEBP", lossless=True, exif=exif.tobytes())
    added = b"".join(kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for kind, body in chunks)
    body = data[8:] + added
    return b"RIFF" + struct.pack("<I", len(body)) + body


def in_tiff(tag: int, kind: int, count: int, value: int) -> bytes:
    """A TIFF with one more entry at the end of its directory."""
    data = bytearray(encoded("TIFF"))
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    directory = bytes(data[start + 2 : start + 2 + 12 * entries]) + struct.pack("<HHII", tag, kind, count, value)
    place = len(data) + len(data) % 2
    data += b"\0" * (place - len(data)) + struct.pack("<H", entries + 1) + directory + bytes(4)
    struct.pack_into("<I", data, 4, place)
    return bytes(data)


LARGE = zlib.compress(bytes(80 * 2**20))
EXIF = b"Exif\0\0"
CASES: dict[str, Callable[[], bytes]] = {
    "text that unpacks to 80 MB": lambda: in_png(chunk(b"zTXt", b"Comment\0\0" + LARGE)),
    "text of which the packing is broken": lambda: in_png(chunk(b"zTXt", b"Comment\0\0garbage"), end=True),
    "international text broken": lambda: in_png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0garbage")),
    "80 MB of XMP": lambda: in_png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LARGE)),
    "a colour profile of 80 MB": lambda: in_png(chunk(b"iCCP", b"icc\0\0" + LARGE)),
    "a colour profile broken": lambda: in_png(chunk(b"iCCP", b"icc\0\0garbage")),
    "a wrong checksum of text": lambda: in_png(chunk(b"tEXt", b"Author\0me", checksum=1)),
    "a wrong checksum after the pixels": lambda: in_png(chunk(b"tIME", bytes(7), checksum=1), end=True),
    "a wrong checksum of gamma": lambda: in_png(chunk(b"gAMA", bytes(4), checksum=5)),
    "a short physical size": lambda: in_png(chunk(b"pHYs", b"\0")),
    "EXIF broken, PNG": lambda: in_png(chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff")),
    "EXIF broken, JPEG": lambda: in_jpeg((0xE1, EXIF + b"MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40)),
    "EXIF without an end": lambda: in_jpeg((0xE1, EXIF + b"II*\0\xff\xff\xff\x7f")),
    "EXIF of nothing": lambda: in_jpeg((0xE1, EXIF)),
    "XMP broken": lambda: in_jpeg((0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta" + b"\xff" * 60000)),
    "many large blocks": lambda: in_jpeg(*[(0xE2, b"ICC_PROFILE\0" + bytes(60000))] * 40),
    "a multi-picture block broken": lambda: in_jpeg((0xE2, b"MPF\0MM\0*\0\0\0\x08\0\x01\xb0\x02\0\x07\0\0\0\x10\xff\xff\xff\xff")),
    "Photoshop's block cut short": lambda: in_jpeg((0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\x03ab\xff\xff")),
    "a comment of 60 kB": lambda: in_jpeg((0xFE, bytes(60000))),
    "EXIF broken, WebP": lambda: in_webp((b"XMP ", b"\xff" * 999), (b"JUNK", bytes(9))),
    "EXIF broken, TIFF": lambda: in_tiff(34665, 4, 1, 2**31),
    "GPS that leads back": lambda: in_tiff(34853, 4, 1, 8),
    "a TIFF's profile out of its file": lambda: in_tiff(34675, 7, 9999, 2**30),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_pixels_are_read_without_their_metadata(case: str) -> None:
    photo = read_photo(CASES[case](), name="photo")
    assert np.abs(photo.pixels.astype(int) - PIXELS).mean() < 3


@pytest.mark.parametrize(
    "case", ["a wrong checksum of text", "text that unpacks to 80 MB", "a wrong checksum of gamma"]
)
def test_what_was_left_out_is_said(case: str) -> None:
    assert any("metadata is damaged or too large" in remark for remark in read_photo(CASES[case]()).remarks)


def test_labels_are_read_without_their_metadata_too() -> None:
    data = in_png(chunk(b"zTXt", b"Comment\0\0" + LARGE), chunk(b"tEXt", b"x\0y", checksum=7), pixels=LABELS)
    assert (read_label_image(data) == LABELS).all()


def test_orientation_survives_when_other_metadata_is_broken() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.fromarray(np.rot90(PIXELS, -1))
    png = encoded("PNG", exif=exif.tobytes())
    broken = png[:33] + chunk(b"iCCP", b"icc\0\0garbage") + png[33:]
    for data in (broken, encoded("TIFF", exif=exif), encoded("WEBP", exif=exif.tobytes(), lossless=True)):
        photo = read_photo(data)
        assert photo.orientation == 6
        assert photo.size == turned.size
        assert np.abs(photo.pixels.astype(int) - np.asarray(turned)).mean() < 3


@pytest.mark.parametrize("value", [0, 9, 77])
def test_an_orientation_that_does_not_exist_turns_nothing(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert read_photo(encoded("JPEG", exif=exif.tobytes(), quality=95)).orientation == 1


def test_bounds_stay() -> None:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"tEXt", b"x\0y", checksum=1)
    bomb += chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    with pytest.raises(PhotoError, match="limit is 60 million"):
        read_photo(bomb)
    cut = in_png(chunk(b"tEXt", b"x\0y", checksum=1))[:-200]
    with pytest.raises(PhotoError, match="truncated or damaged"):
        read_photo(cut)


GREY = np.repeat(np.repeat(np.random.default_rng(1).integers(0, 256, (6, 8), np.uint8), 8, 0), 8, 1)
GREY[0, 0] = 255


@pytest.mark.parametrize(
    ("values", "form"),
    [
        (GREY.astype(np.float32), "TIFF"),
        (GREY.astype(np.float32) / 255, "TIFF"),
        (GREY.astype(np.float32) / 255 * 65535, "TIFF"),
        (GREY.astype(np.uint16), "PNG"),
        (GREY.astype(np.uint16) * 4, "PNG"),
        (GREY.astype(np.uint16) * 16, "TIFF"),
        (GREY.astype(">u2") * 16, "TIFF"),
        (GREY.astype(np.uint16) * 64, "TIFF"),
        (GREY.astype(np.uint16) * 257, "PNG"),
        (GREY.astype(np.int32) * 16, "TIFF"),
    ],
)
def test_values_are_scaled_by_their_type_and_range(values: np.ndarray, form: str) -> None:
    photo = read_photo(encoded(form, values))
    assert np.abs(photo.pixels[..., 0].astype(int) - GREY).max() <= 2
    assert photo.remarks
    assert not any("black" in remark for remark in photo.remarks)


@pytest.mark.parametrize("dark", [PIXELS // 16, np.zeros_like(PIXELS)])
def test_a_nearly_black_picture_is_said_to_be(dark: np.ndarray) -> None:
    assert any("nearly black" in remark for remark in read_photo(encoded("PNG", dark)).remarks)
    assert not any("black" in remark for remark in read_photo(encoded("PNG")).remarks)


def test_float_labels_are_taken_only_whole() -> None:
    assert (read_label_image(encoded("TIFF", LABELS.astype(np.float32))) == LABELS).all()
    with pytest.raises(Exception, match="fractions"):
        read_label_image(encoded("TIFF", LABELS.astype(np.float32) + 0.5))
    with pytest.raises(Exception, match="0 to 255"):
        read_label_image(encoded("TIFF", LABELS.astype(np.float32) * np.nan))
