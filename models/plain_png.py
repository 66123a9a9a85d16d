"""Plain PNG files, such as those of data sets: one picture of 8 bits, decoded in compiled code in two thirds of Pillow's time.

Pillow takes most of its time for undoing the filters of rows. Whatever is not plain is left to it: interlaced pictures, other
bit depths, transparency, metadata that may turn a picture, and files that are damaged in any way, for which it has the words.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim2street.models.compiled_code import compiled_pictures
from sim2street.models.file_limits import MOST_CHUNKS
from sim2street.models.metadata_stripping import PNG

GREY, COLOUR, PALETTE = 0, 2, 3
CHANNELS: Final = {GREY: 1, COLOUR: 3, PALETTE: 1}
"""Colour type in the header -> bytes a pixel."""
WITHOUT_EFFECT: Final = (b"PLTE", b"bKGD", b"cHRM", b"gAMA", b"hIST", b"pHYs", b"sBIT", b"sRGB", b"tIME")
"""Chunks that change neither the stored values nor how they are turned."""


def decoded(data: bytes, kinds: tuple[int, ...], most_pixels: int) -> NDArray[np.uint8] | None:
    """The stored values of a plain PNG: (H, W, 3) uint8 RGB, or (H, W) uint8 grey or indices.

    Args:
        data: contents of a file of any format.
        kinds: colour types that are wanted.
        most_pixels: largest picture decoded.

    Returns:
        None if the file is not plain, not of these kinds or too large, or if compiled code is not loaded.
    """
    code = compiled_pictures()
    found = None if code is None else _taken_apart(data)
    if code is None or found is None:
        return None
    header, compressed = found
    width, height, *kind = struct.unpack(">II5B", header)
    depth, colour, *methods = kind
    if colour not in kinds or depth != 8 or any(methods) or not 0 < width * height <= most_pixels:
        return None
    length = height * (1 + CHANNELS[colour] * width)
    stream = zlib.decompressobj()
    values: NDArray[np.uint8] | None
    try:
        rows = stream.decompress(compressed, length + 1)
        if len(rows) != length or not stream.eof:
            return None
        values = code.unfiltered(np.frombuffer(rows, np.uint8).reshape(height, -1), CHANNELS[colour])
    except (zlib.error, MemoryError):
        return None
    return None if values is None else values.reshape((height, width, 3) if colour == COLOUR else (height, width))


def _taken_apart(data: bytes) -> tuple[bytes, bytes] | None:
    """The header and the compressed rows of a PNG whose chunks are whole and without effect otherwise; None of others."""
    if not data.startswith(PNG):
        return None
    view, place, kind = memoryview(data), len(PNG), b""
    header, parts = b"", []
    for number in range(MOST_CHUNKS):
        if place + 12 > len(data):
            return None
        length, before, kind = int.from_bytes(view[place : place + 4]), kind, data[place + 4 : place + 8]
        end = place + 8 + length
        if end + 4 > len(data) or zlib.crc32(view[place + 4 : end]) != int.from_bytes(view[end : end + 4]):
            return None
        if (number == 0) != (kind == b"IHDR"):
            return None
        if kind == b"IHDR":
            header = data[place + 8 : end]
        elif kind == b"IDAT":
            if parts and before != b"IDAT":
                return None
            parts.append(view[place + 8 : end])
        elif kind == b"IEND":
            return (header, b"".join(parts)) if len(header) == 13 and end + 4 == len(data) else None
        elif kind not in WITHOUT_EFFECT:
            return None
        place = end + 4
    return None
