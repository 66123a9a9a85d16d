"""Strip metadata (text, colour profiles, EXIF, XMP) from image files, since it can be broken while the pixels are intact.

Only the containers are parsed; nothing is decoded or decompressed here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

PNG: Final = b"\x89PNG\r\n\x1a\n"
PIXELS_OF_PNG: Final = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
MOST_CHUNKS: Final = 100_000
"""Largest number of chunks read from a PNG; a photo of 60 megapixels in chunks of 8 kB has 20,000."""
JPEG: Final = b"\xff\xd8"
SCAN: Final = 0xDA
"""JPEG marker that starts the pixel data."""
METADATA_OF_JPEG: Final = (*range(0xE1, 0xEE), 0xEF, 0xFE)
"""APP1 to APP13, APP15 and comments. APP0 and Adobe's APP14 are kept: they define how to read the colours."""
EXIF_OF_JPEG: Final = b"Exif\0\0"
METADATA_OF_WEBP: Final = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}
"""Metadata chunks, each with its flag in the VP8X header."""


def without_metadata(data: bytes, *, keep_exif: bool) -> bytes:
    """Return a PNG, JPEG or WebP without its metadata; other formats and unknown parts are returned unchanged.

    Args:
        data: contents of the file.
        keep_exif: keep EXIF, which contains the orientation.
    """
    if data.startswith(PNG):
        return PNG + b"".join(_pixels_of_png(data, keep_exif))
    if data.startswith(JPEG):
        return JPEG + b"".join(_pixels_of_jpeg(data, keep_exif))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        body = b"WEBP" + b"".join(_pixels_of_webp(data, keep_exif))
        return b"RIFF" + struct.pack("<I", len(body)) + body
    return data


def _pixels_of_png(data: bytes, keep_exif: bool) -> Iterator[bytes]:
    place = len(PNG)
    for _ in range(MOST_CHUNKS):
        if place + 12 > len(data):
            break
        (length,) = struct.unpack_from(">I", data, place)
        kind, end = data[place + 4 : place + 8], place + 12 + length
        chunk = data[place:end]
        # A lower-case first letter marks a chunk that readers may ignore: drop it if its checksum is wrong.
        is_sound = not kind[:1].islower() or zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        if is_sound and (kind in PIXELS_OF_PNG or (keep_exif and kind == b"eXIf")):
            yield chunk
        place = end
        if kind == b"IEND":
            return
    yield data[place:]


def _pixels_of_jpeg(data: bytes, keep_exif: bool) -> Iterator[bytes]:
    place = len(JPEG)
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != SCAN:
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        is_exif = marker == 0xE1 and data[place + 4 : place + 10] == EXIF_OF_JPEG
        if marker not in METADATA_OF_JPEG or (keep_exif and is_exif):
            yield data[place:end]
        place = end
    yield data[place:]


def _pixels_of_webp(data: bytes, keep_exif: bool) -> Iterator[bytes]:
    dropped = {kind: flag for kind, flag in METADATA_OF_WEBP.items() if not (keep_exif and kind == b"EXIF")}
    place = 12
    while place + 8 <= len(data):
        kind = data[place : place + 4]
        (length,) = struct.unpack_from("<I", data, place + 4)
        end = place + 8 + length + length % 2
        chunk = data[place:end]
        if kind == b"VP8X" and len(chunk) > 8:
            chunk = chunk[:8] + bytes([chunk[8] & ~sum(dropped.values())]) + chunk[9:]
        if kind not in dropped:
            yield chunk
        place = end
