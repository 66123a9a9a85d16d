"""Every picture enters here: bytes or a file -> upright RGB, or a sentence that says why not.

A photo comes from a stranger. What can be read is read right (EXIF orientation applied, 16 bits scaled, CMYK and
palettes converted, alpha composited on white, first frame of an animation); everything else raises `PhotoError`.
Nothing is trusted but the bytes: not the suffix, not the size that a header claims.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sim2street.models.errors import LabelError, PhotoError

MAX_BYTES: Final = 64 * 2**20
"""Largest file read, in bytes."""
MAX_PIXELS: Final = 60_000_000
"""Largest picture decoded: today's phones reach 50 megapixels."""
MIN_SIDE: Final = 16
"""Shortest side, in pixels, on which a street can be told from noise."""
MAX_ASPECT: Final = 10.0
"""Longest side over shortest; beyond it the picture is a strip, not a photo."""

# JPEG includes MPO, which many phones write as .jpg. The decoders left out (EPS, PSD, FITS, ...) are attack surface only.
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
READABLE: Final = "JPEG, PNG, WebP, GIF, BMP or TIFF"

# What Pillow's decoders raise on damaged input, beside their documented OSError.
DECODER_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright picture.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        name: where it came from, for people; never used as a path.
        digest: sha256 of the original bytes, as hex.
        remarks: what was done to read it that the person may want to know.
    """

    pixels: NDArray[np.uint8]
    name: str
    digest: str
    remarks: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        height, width = self.pixels.shape[:2]
        return width, height

    def limited(self, long_side: int) -> Photo:
        """Shrink so that no side exceeds `long_side` pixels; a smaller photo is returned as it is."""
        width, height = self.size
        scale = long_side / max(width, height)
        if scale >= 1:
            return self
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = np.asarray(Image.fromarray(self.pixels).resize(size, Image.Resampling.LANCZOS))
        remark = f"shown and read at {size[0]}×{size[1]} instead of {width}×{height} pixels"
        return replace(self, pixels=pixels, remarks=(*self.remarks, remark))


def read_photo(source: bytes | str | Path, *, name: str | None = None) -> Photo:
    """Read a photo from bytes or a file.

    Raises:
        PhotoError: the file is missing, empty, too large, no picture, damaged, or not of a photo's shape.
    """
    data, name = _read_bytes(source, name)
    image, remarks = _open(data, name), list[str]()
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise PhotoError(
            f"{name} measures {width}×{height} pixels; a street photo needs at least {MIN_SIDE} on each side. Choose a larger picture."
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PhotoError(
            f"{name} measures {width}×{height} pixels, a strip rather than a photo (longest side over {MAX_ASPECT:.0f} times the shortest). Crop it first."
        )
    try:
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            remarks.append("animated: the first frame was taken")
        image.seek(0)
        image = ImageOps.exif_transpose(image)
        pixels = _to_rgb(image, remarks)
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(name, width * height) from error
    except DECODER_ERRORS as error:
        raise PhotoError(
            f"{name} starts like a picture but is truncated or damaged ({error}). Save or download it again."
        ) from error
    return Photo(pixels, name, hashlib.sha256(data).hexdigest(), tuple(remarks))


def read_label_image(source: bytes | str | Path, *, name: str | None = None) -> NDArray[np.uint8]:
    """Read a label image as (H, W) uint8, the stored values: a palette image gives its indices, not its colours.

    Raises:
        PhotoError: the file cannot be read as a picture.
        LabelError: it holds colours or values beyond 255 instead of labels.
    """
    data, name = _read_bytes(source, name)
    image = _open(data, name)
    # Pillow stretches greyscale of 2 or 4 bits to 0..255, which is right for photos and wrong for labels.
    modes = [tile[3] for tile in getattr(image, "tile", ())]
    stretch = 85 if "L;2" in modes else 17 if "L;4" in modes else 1
    try:
        values = np.asarray(image)
        values = values // stretch if stretch > 1 else values
    except DECODER_ERRORS as error:
        raise PhotoError(f"{name} is truncated or damaged ({error}). Save or download it again.") from error
    if values.ndim != 2:
        raise LabelError(
            f"{name} is a colour picture (mode {image.mode}); a label image has one number a pixel: a greyscale or palette PNG."
        )
    if values.dtype != np.uint8:
        if values.dtype == bool or (values.min() >= 0 and values.max() <= 255):
            return values.astype(np.uint8)
        raise LabelError(f"{name} holds values from {values.min()} to {values.max()}; labels lie in 0 to 255.")
    return values


def _read_bytes(source: bytes | str | Path, name: str | None) -> tuple[bytes, str]:
    if isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), name or "the photo"
    else:
        path = Path(source)
        name = name or path.name
        if path.is_dir():
            raise PhotoError(f"{path} is a folder; name the photos in it, for example {path}/*.jpg.")
        try:
            # The size is asked first: reading 10 GB in order to refuse them would be no refusal.
            size = path.stat().st_size
            with path.open("rb") as file:  # a device or a pipe has a size of 0 and no end
                data = file.read(MAX_BYTES + 1) if size <= MAX_BYTES else b""
        except OSError as error:
            raise PhotoError(f"{path} cannot be read: {error.strerror or error}.") from error
        if size > MAX_BYTES:
            raise _too_many_bytes(name, size)
    if not data:
        raise PhotoError(f"{name} is empty (0 bytes). Save or download it again.")
    if len(data) > MAX_BYTES:
        raise _too_many_bytes(name, len(data))
    return data, name


def _open(data: bytes, name: str) -> Image.Image:
    """Parse the header and refuse what its size makes dangerous to decode."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(name, None) from error
    except DECODER_ERRORS as error:
        raise PhotoError(
            f"{name} is not a picture that can be read here; expected {READABLE}. A HEIC or RAW photo must be exported as JPEG first."
        ) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(name, width * height)
    return image


def _to_rgb(image: Image.Image, remarks: list[str]) -> NDArray[np.uint8]:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        # Pillow's own conversion clips everything above 255 to white.
        values = np.asarray(image).astype(np.float64)
        if not np.isfinite(values).all():
            raise ValueError("it holds infinite or undefined values")
        top = 65535.0 if image.mode != "F" or values.max() > 1.0 else 1.0
        grey = np.clip(values / top * 255.0 + 0.5, 0, 255).astype(np.uint8)
        remarks.append("16-bit values were scaled to 8 bits")
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        if np.asarray(layer.getchannel("A")).min() < 255:
            remarks.append("transparent areas were laid on white")
        ground = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        image = Image.alpha_composite(ground, layer)
    return np.ascontiguousarray(np.asarray(image.convert("RGB")))


def _too_many_bytes(name: str, size: int) -> PhotoError:
    return PhotoError(
        f"{name} has {size / 2**20:.0f} MB; up to {MAX_BYTES / 2**20:.0f} MB are read. Save it smaller, for example as JPEG."
    )


def _too_many_pixels(name: str, pixels: int | None) -> PhotoError:
    found = "far too many" if pixels is None else f"{pixels / 1e6:.0f} million"
    return PhotoError(
        f"{name} claims {found} pixels; up to {MAX_PIXELS / 1e6:.0f} million are decoded. Shrink it first."
    )
