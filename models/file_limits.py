"""Limit the number of parts in an image file before a decoder sees it.

Decoders spend time on every page, frame, chunk, block, marker, scan and strip, and a file of a few megabytes can contain
millions of them. Photos have a few thousand at most, so limiting the parts limits the time. Of several pages or frames,
only the first is kept. The containers are parsed just far enough to count; nothing is decoded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from sim2street.models.errors import PhotoError
from sim2street.models.metadata_stripping import JPEG, MOST_CHUNKS, PNG, SCAN

MOST_SEGMENTS: Final = 10_000
"""Markers and padding bytes of a JPEG before its pixels."""
MOST_SCANNED: Final = 1_200_000_000
"""Pixels times scans of a JPEG; a progressive one has about ten scans, each of at most 60 megapixels."""
MOST_BLOCKS: Final = 300_000
"""Blocks of a GIF's pixel data; an incompressible one of 60 megapixels has 235,000."""
MOST_NOTES: Final = 10_000
"""Blocks of a GIF's comments and other extensions before its pixels."""
MOST_ENTRIES: Final = 4_096
"""Entries of a TIFF's first directory; photos have fewer than a hundred."""
MOST_STRIPS: Final = 30_000
"""Strips or tiles of a TIFF; one of 60 megapixels in strips of a single row has 24,500 at most."""
LARGEST_RLE: Final = 4 * 2**20
"""Bytes of a run-length encoded BMP; Pillow's decoder for it is a slow Python loop."""

TIFF_SIZES: Final = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
"""TIFF type number -> bytes per value."""
STRIPS: Final = (273, 279, 324, 325)
"""TIFF tags: offsets and sizes of strips and tiles."""


@dataclass(frozen=True)
class FirstPicture:
    """A file cut down to its first picture.

    Attributes:
        data: the file, or the part of it that belongs to its first picture.
        left_out: whether further pictures were removed.
    """

    data: bytes
    left_out: bool = False


class _TooManyPieces(Exception):
    """The message says which parts, to follow "is made of"."""


def first_picture(data: bytes, *, name: str) -> FirstPicture:
    """Check the number of parts of a file and cut it down to its first picture; unknown formats are returned unchanged.

    Raises:
        PhotoError: the file has more parts than a photo ever needs.
    """
    try:
        return _taken_apart(data)
    except _TooManyPieces as error:
        raise PhotoError(
            f"{name} is made of {error}, far more than a photo has. Open it in an image editor and save it again, for example as JPEG."
        ) from error
    except (struct.error, IndexError):  # truncated: the decoder reports it
        return FirstPicture(data)


def _taken_apart(data: bytes) -> FirstPicture:
    if data.startswith(PNG):
        _count_chunks(data, start=len(PNG), order=">", length_first=True)
    elif data.startswith(JPEG):
        _count_segments(data)
    elif data[:6] in (b"GIF87a", b"GIF89a"):
        return _first_of_gif(data)
    elif data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _first_of_tiff(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _count_chunks(data, start=12, order="<", length_first=False)
    elif data[:2] == b"BM" and data[30:34] in (b"\1\0\0\0", b"\2\0\0\0") and len(data) > LARGEST_RLE:
        raise _TooManyPieces("more than 4 MB of run lengths")
    return FirstPicture(data)


def _count_chunks(data: bytes, *, start: int, order: str, length_first: bool) -> None:
    """Count chunks. PNG: length, kind, data, checksum. WebP: kind, length, data padded to an even length."""
    place, number = start, 0
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(f"{order}I", data, place if length_first else place + 4)
        place += 12 + length if length_first else 8 + length + length % 2
        number += 1
        if number > MOST_CHUNKS:
            raise _TooManyPieces(f"more than {MOST_CHUNKS:,} chunks")


def _count_segments(data: bytes) -> None:
    place, pixels = len(JPEG), 0
    for _ in range(MOST_SEGMENTS):
        if data[place] != 0xFF or data[place + 1] == SCAN:
            break
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame's header
            height, width = struct.unpack_from(">HH", data, place + 5)
            pixels = height * width
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    else:
        raise _TooManyPieces(f"more than {MOST_SEGMENTS:,} markers")
    scans = data.count(bytes((0xFF, SCAN)), place)
    if scans * pixels > MOST_SCANNED:
        raise _TooManyPieces(f"{scans:,} scans of {pixels / 1e6:.0f} million pixels")


def _first_of_gif(data: bytes) -> FirstPicture:
    place = 13 + _colours(data[10])
    place, _ = _after_notes(data, place, MOST_NOTES)
    if data[place] != 0x2C:
        return FirstPicture(data)
    place += 10 + _colours(data[place + 9]) + 1  # image header, colour table, LZW code size
    end, _ = _after_blocks(data, place, MOST_BLOCKS, "blocks of pixels")
    try:
        after, _ = _after_notes(data, end, MOST_NOTES)
        more = data[after] == 0x2C
    except (IndexError, _TooManyPieces):
        more = False
    return FirstPicture(data[:end] + b";", more)


def _colours(flags: int) -> int:
    """Bytes of a GIF's colour table, from the flags before it."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _after_notes(data: bytes, place: int, most: int) -> tuple[int, int]:
    """Skip the extensions at `place`; returns where they end and the number of their blocks."""
    number = 0
    while data[place] == 0x21:
        place, count = _after_blocks(data, place + 2, most - number, "comments")
        number += count
    return place, number


def _after_blocks(data: bytes, place: int, most: int, what: str) -> tuple[int, int]:
    """Skip a sequence of sub-blocks, each a length and that many bytes; returns where it ends and their number."""
    for number in range(most):
        length = data[place]
        place += 1 + length
        if not length:
            return place, number + 1
    raise _TooManyPieces(f"more than {most:,} {what}")


def _first_of_tiff(data: bytes) -> FirstPicture:
    """Remove the first directory's link to the next page, which libtiff and Pillow would follow."""
    order, big = "<" if data[:1] == b"I" else ">", b"+" in data[2:4]
    # Where the first directory's offset is; struct formats of the count, an entry and the next directory's offset.
    offset, many, entry, following = (8, "Q", "HHQ8s", "Q") if big else (4, "H", "HHI4s", "I")
    (place,) = struct.unpack_from(order + following, data, offset)
    (count,) = struct.unpack_from(order + many, data, place)
    if count > MOST_ENTRIES:
        raise _TooManyPieces(f"a directory of {count:,} entries")
    place += struct.calcsize(order + many)
    claimed = 0
    for _ in range(count):
        tag, kind, number, _value = struct.unpack_from(order + entry, data, place)
        place += struct.calcsize(order + entry)
        claimed += number * TIFF_SIZES.get(kind, 1)
        if tag in STRIPS and number > MOST_STRIPS:
            raise _TooManyPieces(f"{number:,} strips or tiles")
    # Readers copy each entry's values, so a thousand entries that point to one large place would fill the memory.
    if claimed > 2 * len(data):
        raise _TooManyPieces(f"tables of {claimed / 1e6:.0f} MB in a file of {len(data) / 1e6:.1f} MB")
    size = struct.calcsize(order + following)
    (more,) = struct.unpack_from(order + following, data, place)
    return FirstPicture(data[:place] + bytes(size) + data[place + size :], more != 0) if more else FirstPicture(data)
