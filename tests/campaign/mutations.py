"""Files as they come from broken disks, cut connections and hostile people: changed at random."""

from __future__ import annotations

import io
import json
from random import Random
from typing import Any

from PIL import Image

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1e308, float("nan"), float("inf"), 10**30, "", "x" * 5000, [], {}, [[]], "../../etc/passwd"),
    *("\ud800", "\0", "\u202e", {"a": {"b": []}}, "![a](http://evil.invalid)"),
)
FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")
MODES = {"PNG": ("RGB", "L", "RGBA", "P", "I;16"), "TIFF": ("RGB", "L", "F"), "GIF": ("P",)}


def bytes_changed(data: bytes, rng: Random) -> bytes:
    """Some bytes flipped, cut off, taken out, doubled or replaced."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(changed) or 1)
        count = rng.choice((1, 1, 2, 4, 16, 200))
        match rng.randrange(5):
            case 0:
                changed[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                del changed[place:]
            case 2:
                del changed[place : place + count]
            case 3:
                changed[place:place] = changed[place : place + count] * rng.choice((1, 50))
            case _:
                changed[place : place + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
    return bytes(changed)


def picture(rng: Random) -> bytes:
    """A small picture in one of the formats that are read."""
    kind = rng.choice(FORMATS)
    mode = rng.choice(MODES.get(kind, ("RGB", "L")))
    size = rng.randint(17, 90), rng.randint(17, 90)
    image = Image.new("L", size, rng.randrange(256))
    image = Image.new("I;16", size, 999) if mode == "I;16" else image.convert(mode)
    options: dict[str, Any] = {"compression": rng.choice(("raw", "tiff_lzw", "tiff_deflate"))} if kind == "TIFF" else {}
    if kind in ("JPEG", "WEBP", "PNG") and rng.random() < 0.3:
        exif = Image.Exif()
        exif[274] = rng.randint(1, 8)
        options["exif"] = exif
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def values_changed(value: Any, rng: Random) -> Any:
    """A JSON value in which one entry, at any depth, is missing, doubled or of another kind."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        match rng.randrange(4):
            case 0:
                return {name: item for name, item in value.items() if name != key}
            case 1:
                return {**value, rng.choice(("unknown", "", key.upper(), "__class__")): rng.choice(ODD_VALUES)}
            case _:
                return {**value, key: values_changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.5:
        place = rng.randrange(len(value))
        return [*value[:place], values_changed(value[place], rng), *value[place + 1 :]]
    return rng.choice(ODD_VALUES)


def json_changed(text: str, rng: Random) -> bytes:
    """A JSON file with other values, or with other bytes."""
    if rng.random() < 0.3:
        return bytes_changed(text.encode(), rng)
    changed = json.loads(text)
    for _ in range(rng.randint(1, 3)):
        changed = values_changed(changed, rng)
    return json.dumps(changed).encode()
