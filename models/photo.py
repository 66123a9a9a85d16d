"""Read photos and label images: bytes or a file -> upright pixels, or an error that says why not.

Every picture is untrusted input. EXIF orientation is applied, 10 to 16 bits and floats are scaled by their real range,
CMYK and palettes are converted, alpha is composited on white, and the first frame of an animation is taken; anything
unreadable raises `PhotoError`. Neither the suffix nor the size in the header is trusted. If the metadata is broken or too
large, the pixels are read without it. `file_limits` limits how much work a file can cause a decoder.
"""

from __future__ import annotations

import hashlib
import io
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from sim2street.models.compiled_code import compiled_resizing
from sim2street.models.errors import LabelError, PhotoError
from sim2street.models.file_limits import first_picture
from sim2street.models.metadata_stripping import without_metadata

MAX_BYTES: Final = 64 * 2**20
"""Largest file read, in bytes."""
MAX_PIXELS: Final = 60_000_000
"""Largest picture decoded, in pixels: today's phones reach 50 megapixels."""
MIN_SIDE: Final = 16
"""Shortest side accepted, in pixels."""
MAX_ASPECT: Final = 10.0
"""Largest accepted ratio of the longer side to the shorter."""

# JPEG includes MPO, which many phones write as .jpg. Pillow's other decoders (EPS, PSD, FITS, ...) would only add attack surface.
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
READABLE: Final = "JPEG, PNG, WebP, GIF, BMP or TIFF"
SUFFIXES: Final = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
)  # fmt: skip
"""File suffixes of these formats in lower case, for listings and file dialogs; reading a file ignores its suffix."""
LABEL_SUFFIXES: Final = (".png", ".bmp", ".gif", ".tif", ".tiff")
"""Suffixes of the lossless formats, which can store labels."""

# What Pillow's decoders raise on damaged input, including their documented OSError.
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

UPRIGHT_TRANSPOSITION: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> transposition that makes the stored pixels upright; 1 needs none."""
STRIP_PIXELS: Final = 2**20
"""Pixels converted at a time, which limits the memory needed."""
BITS: Final = (8, 10, 12, 14, 16)
"""Bit depths that cameras use within 16-bit files."""
COMPILED_FILTERS: Final = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "bicubic"}
"""Those that compiled code resizes with."""
KEPT_SIZES: Final = 2
"""Sizes of a photo that are kept for further networks: those that the shipped networks read at."""
NEARLY_BLACK: Final = 32
"""A picture counts as nearly black if 99 % of its pixels stay below this value, of 255."""


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright picture.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        name: file name or source, for display; never used as a path.
        digest: sha256 of the original bytes, as hex.
        remarks: conversions that the user may want to know about.
        orientation: EXIF orientation, 1 to 8, that was applied to the stored pixels.
        shrunk_from: (width, height) in pixels, upright, before it was shrunk; None if it was not.
    """

    pixels: NDArray[np.uint8]
    name: str
    digest: str
    remarks: tuple[str, ...] = ()
    orientation: int = 1
    shrunk_from: tuple[int, int] | None = None
    _resized: dict[tuple[tuple[int, int], Image.Resampling], NDArray[np.uint8]] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def full_size(self) -> tuple[int, int]:
        """(width, height) in pixels of the upright picture, before any shrinking."""
        return self.shrunk_from or self.size

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        height, width = self.pixels.shape[:2]
        return width, height

    def resized(self, size: tuple[int, int], resampling: Image.Resampling) -> NDArray[np.uint8]:
        """Resize the pixels to (width, height), once for all networks that read at this size.

        Returns:
            (height, width, 3) uint8 RGB, read-only.
        """
        found = self._resized.get((size, resampling))
        if found is None:
            found = _resized(self.pixels, size, resampling)
            if len(self._resized) >= KEPT_SIZES:
                self._resized.clear()
            self._resized[size, resampling] = found
        return found

    def limited(self, long_side: int) -> Photo:
        """Shrink so that no side exceeds `long_side` pixels; a smaller photo is returned unchanged."""
        width, height = self.full_size
        scale = long_side / max(width, height)
        if scale >= 1:
            return self
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = np.asarray(Image.fromarray(self.pixels).resize(size, Image.Resampling.LANCZOS))
        remark = f"shown and read at {size[0]}×{size[1]} instead of {width}×{height} pixels"
        return replace(self, pixels=pixels, remarks=(*self.remarks, remark), shrunk_from=(width, height))


def _resized(pixels: NDArray[np.uint8], size: tuple[int, int], resampling: Image.Resampling) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 RGB, read-only: by Pillow, or by compiled code that returns the same bytes."""
    code, name = compiled_resizing(), COMPILED_FILTERS.get(resampling)
    if code is None or name is None:
        return np.asarray(Image.fromarray(pixels).resize(size, resampling))
    found = code.resized(pixels, size, name)
    found.flags.writeable = False
    return found


def read_photo(source: bytes | str | Path, *, name: str | None = None, long_side: int | None = None) -> Photo:
    """Read a photo from bytes or a file.

    Args:
        source: contents of the file, or its path.
        name: shown to the user; by default the path as given, which tells photos of one name in several folders apart.
        long_side: longest side needed, in pixels; a larger picture is shrunk to it, which saves memory while decoding.

    Raises:
        PhotoError: the file is missing, empty, too large, damaged, not a picture, too small or too elongated.
    """
    data, name = _read_bytes(source, name)
    decoded = _decode(data, name, long_side)
    image, remarks = decoded.image, decoded.remarks
    full_size = decoded.full_size
    check_size(name, full_size)
    # Block averaging stops at twice the needed size; the better filter of `limited` does the rest.
    factor = 1 if long_side is None else max(1, max(image.size) // (2 * long_side))
    try:
        pixels = _to_rgb(image, remarks, factor)
    except MemoryError as error:
        raise _too_large_for_memory(name) from error
    except DECODER_ERRORS as error:
        raise _damaged(name, error) from error
    if decoded.turn is not None:
        pixels = np.ascontiguousarray(np.asarray(Image.fromarray(pixels).transpose(decoded.turn)))
    if is_nearly_black(pixels):
        remarks.append(
            "the picture is nearly black; if its values use only part of the file's range, stretch the contrast first"
        )
    digest, shown = hashlib.sha256(data).hexdigest(), (pixels.shape[1], pixels.shape[0])
    shrunk_from = None if shown == full_size else full_size
    photo = Photo(pixels, name, digest, tuple(remarks), decoded.orientation, shrunk_from)
    return photo if long_side is None else photo.limited(long_side)


def check_size(name: str, size: tuple[int, int]) -> None:
    """Refuse a picture of (width, height) pixels that is too small or too elongated.

    Raises:
        PhotoError: it is.
    """
    width, height = size
    if min(width, height) < MIN_SIDE:
        raise PhotoError(
            f"{name} measures {width}×{height} pixels; a street photo needs at least {MIN_SIDE} on each side. Choose a larger picture."
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PhotoError(
            f"{name} measures {width}×{height} pixels, too elongated for a photo (longest side over {MAX_ASPECT:.0f} times the shortest). Crop it first."
        )


def read_label_image(source: bytes | str | Path, *, name: str | None = None) -> NDArray[np.uint8]:
    """Read the stored values of a label image as (H, W) uint8; a palette image gives its indices, not its colours.

    Its own EXIF orientation is applied, as for a photo.

    Raises:
        PhotoError: the file cannot be read as a picture.
        LabelError: it contains colours, fractions or values outside 0 to 255 instead of labels.
    """
    data, name = _read_bytes(source, name)
    return _label_values(_decode(data, name), name)


def read_label_picture(
    source: bytes | str | Path, *, name: str | None = None, by: Literal["auto", "colour", "value"] = "auto"
) -> NDArray[np.uint8]:
    """Read a label image as (H, W) uint8 stored values, or as (H, W, 3) uint8 RGB if colours define the classes.

    Args:
        source: contents of the file, or its path.
        name: for errors.
        by: "colour" always returns RGB, also for palettes; "value" always returns values, also from an RGB picture with
            three equal channels; "auto" returns RGB for RGB pictures and values for all others.

    Raises:
        PhotoError: the file cannot be read as a picture.
        LabelError: values are needed, but it contains colours, fractions or values outside 0 to 255.
    """
    data, name = _read_bytes(source, name)
    decoded = _decode(data, name)
    if by != "colour" and decoded.image.mode not in ("RGB", "RGBA"):
        return _label_values(decoded, name)
    pixels = np.asarray(_upright(decoded).convert("RGB"))
    if by != "value":
        return pixels
    if (pixels != pixels[..., :1]).any():
        raise LabelError(f'{name} contains colours; read_by = "value" expects a greyscale or palette image.')
    return pixels[..., 0]


def _upright(decoded: _Decoded) -> Image.Image:
    """Apply the orientation that the picture's metadata gives."""
    return decoded.image if decoded.turn is None else decoded.image.transpose(decoded.turn)


def _label_values(decoded: _Decoded, name: str) -> NDArray[np.uint8]:
    """(H, W) uint8 of a greyscale or palette picture."""
    values = np.asarray(_upright(decoded))
    # Pillow stretches greyscale of 2 or 4 bits to 0..255, which is right for photos and wrong for labels.
    stretch = 85 if "L;2" in decoded.stored_modes else 17 if "L;4" in decoded.stored_modes else 1
    values = values // stretch if stretch > 1 else values
    if values.ndim != 2:
        raise LabelError(
            f"{name} is a colour picture (mode {decoded.image.mode}); a label image needs one number per pixel, as in a greyscale or palette PNG."
        )
    if values.dtype == bool or values.dtype == np.uint8:
        return values.astype(np.uint8)
    if not (values.min() >= 0 and values.max() <= 255):  # written this way, it refuses NaN too
        raise LabelError(f"{name} contains values from {values.min()} to {values.max()}; labels must be in 0 to 255.")
    labels = values.astype(np.uint8)
    if (labels != values).any():
        raise LabelError(f"{name} contains fractions; a label image needs one whole number from 0 to 255 per pixel.")
    return labels


def is_nearly_black(pixels: NDArray[np.uint8]) -> bool:
    """Whether 99 % of the pixels of (H, W, 3) uint8 RGB stay below `NEARLY_BLACK`."""
    step = max(1, max(pixels.shape[:2]) // 256)  # some 50,000 pixels say as much as all
    red, green, blue = (pixels[::step, ::step, channel] for channel in range(3))
    brightest = np.maximum(np.maximum(red, green), blue)  # `max` along such a short axis takes 100 times as long
    return bool(np.count_nonzero(brightest < NEARLY_BLACK) >= 0.99 * brightest.size)


def _read_bytes(source: bytes | str | Path, name: str | None) -> tuple[bytes, str]:
    if isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), name or "the photo"
    else:
        path = Path(source)
        name = name or str(source)
        if path.is_dir():
            raise PhotoError(
                f"{path} is a folder, but a photo was expected; name the photos in it, for example {path}/*.jpg."
            )
        try:
            # Check the size first, so that a file of 10 GB is refused without reading it.
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


@dataclass(frozen=True, eq=False)
class _Decoded:
    """A decoded image.

    Attributes:
        image: oriented as stored, except for a TIFF, which Pillow turns itself; a large JPEG may have been shrunk.
        full_size: (width, height) in pixels, upright, before any shrinking.
        orientation: EXIF orientation, 1 to 8.
        stored_modes: Pillow's names for the stored pixel formats.
        remarks: what the user may want to know; reading the pixels adds to it.
    """

    image: Image.Image
    full_size: tuple[int, int]
    orientation: int
    stored_modes: tuple[object, ...]
    remarks: list[str]

    @property
    def turn(self) -> Image.Transpose | None:
        """Transposition that makes `image` upright; None if it is."""
        return None if self.image.format == "TIFF" else UPRIGHT_TRANSPOSITION.get(self.orientation)


def _decode(data: bytes, name: str, long_side: int | None = None) -> _Decoded:
    """Decode the first picture of a file; if that fails, try again without the metadata, which decoding does not need."""
    first = first_picture(data, name=name)
    found: PhotoError | None = None
    for candidate, remarks in _candidates(first.data):
        try:
            image = _open(candidate)
        except Image.DecompressionBombError as error:
            raise _too_many_pixels(name, None) from error
        except DECODER_ERRORS as error:
            found = found or PhotoError(
                f"{name} is not a picture that can be read here; expected {READABLE}. A HEIC or RAW photo must be exported as JPEG first."
            )
            found.__cause__ = found.__cause__ or error
            continue
        # Refuse before decoding, which would use too much memory.
        if image.width * image.height > MAX_PIXELS:
            raise _too_many_pixels(name, image.width * image.height)
        try:
            if first.left_out or (image.format != "MPO" and getattr(image, "is_animated", False)):
                remarks.append("animated: the first frame was taken")
                image = _open(candidate)  # looking for a second frame may have moved on to it
            modes = tuple(tile[3] for tile in getattr(image, "tile", ()))
            return _loaded(image, modes, remarks, long_side)
        except Image.DecompressionBombError as error:
            raise _too_many_pixels(name, image.width * image.height) from error
        except MemoryError as error:
            raise _too_large_for_memory(name) from error
        except DECODER_ERRORS as error:
            if found is None or "truncated" not in str(found):
                found = _damaged(name, error)
    assert found is not None
    raise found


def _candidates(data: bytes) -> Iterator[tuple[bytes, list[str]]]:
    """Yield the bytes unchanged, then without metadata, each with its remarks for the user."""
    yield data, []
    tried = [data]
    for keep_exif in (True, False):
        bare = without_metadata(data, keep_exif=keep_exif)
        if bare not in tried:
            tried.append(bare)
            yield bare, ["its metadata is damaged or too large and was left out"]


def _open(data: bytes) -> Image.Image:
    """Open the picture by its header; the pixels are not decoded yet."""
    return Image.open(io.BytesIO(data), formats=FORMATS)


def _loaded(image: Image.Image, modes: tuple[object, ...], remarks: list[str], long_side: int | None) -> _Decoded:
    """Decode the pixels; a JPEG is shrunk while decoding to at most twice `long_side`."""
    tags = getattr(image, "tag_v2", None)  # of a TIFF, whose own directory holds the orientation
    orientation: object = 1
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1) if tags is None else tags.get(274, 1)
    except Exception:  # whatever broken metadata makes Pillow raise
        remarks.append("its EXIF data is damaged, so the picture is shown as stored, without turning it")
    known = orientation if isinstance(orientation, int) and orientation in UPRIGHT_TRANSPOSITION else 1
    if tags is not None:
        # Pillow turns a TIFF itself while decoding, but first reads EXIF directories, which may be broken.
        exif = image.getexif()
        for key in list(exif):
            del exif[key]
        exif[ExifTags.Base.Orientation] = known
    width, height = image.size
    if long_side is not None and image.format in ("JPEG", "MPO"):
        scale = min(1.0, 2 * long_side / max(width, height))
        image.draft(None, (max(1, int(width * scale)), max(1, int(height * scale))))  # pyright: ignore[reportArgumentType]
    image.load()
    full_size = (height, width) if known >= 5 else (width, height)
    return _Decoded(image, full_size, known, modes, remarks)


def _to_rgb(image: Image.Image, remarks: list[str], factor: int) -> NDArray[np.uint8]:
    """Convert to (H, W, 3) uint8 RGB, shrunk by a whole factor; works in strips, since copies of a whole picture are large."""
    convert = _converter(image, remarks)
    width, height = image.size
    pixels = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
    rows = factor * max(1, STRIP_PIXELS // (width * factor))
    for top in range(0, height, rows):
        strip = convert(image.crop((0, top, width, min(height, top + rows))))
        shrunk = np.asarray(strip.reduce(factor) if factor > 1 else strip)
        pixels[top // factor : top // factor + shrunk.shape[0]] = shrunk
    return pixels


def _converter(image: Image.Image, remarks: list[str]) -> Callable[[Image.Image], Image.Image]:
    """Return a function that converts a strip to 8-bit RGB; the scaling is chosen once, for the whole image."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        # Pillow's own conversion clips everything above 255 to white.
        top = _range(image, remarks)
        return lambda strip: Image.fromarray(_scaled(np.asarray(strip), top)).convert("RGB")
    if not image.has_transparency_data:
        return lambda strip: strip if strip.mode == "RGB" else strip.convert("RGB")
    said = "transparent areas were laid on white"

    def on_white(strip: Image.Image) -> Image.Image:
        layer = strip.convert("RGBA")
        if said not in remarks and layer.getchannel("A").getextrema() != (255, 255):
            remarks.append(said)
        ground = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")

    return on_white


def _range(image: Image.Image, remarks: list[str]) -> float:
    """Choose the value of a grey image that becomes white, from its type and the range of its values."""
    highest, lowest, is_float, has_fractions = -math.inf, math.inf, image.mode == "F", False
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        values = np.asarray(image.crop((0, top, image.width, min(image.height, top + rows))))
        if not np.isfinite(values).all():
            raise ValueError("it holds infinite or undefined values")
        highest, lowest = max(highest, float(values.max())), min(lowest, float(values.min()))
        has_fractions = has_fractions or (is_float and bool((values != np.round(values)).any()))
    bits = next((bits for bits in BITS if highest < 2**bits), None)
    if is_float and highest <= 1:
        top, remark = 1.0, "floating-point values from 0 to 1 were scaled to 8 bits"
    elif bits is None or (is_float and highest < 16 and has_fractions):
        # Radiance has no upper limit, and 32-bit integers have no conventional one.
        top, remark = highest, f"values up to {highest:g} were scaled to 8 bits"
    else:
        kind = "floating-point" if is_float else "16-bit"
        top, remark = 2.0**bits - 1, f"{kind} values were scaled to 8 bits"
        if bits < BITS[-1] and not (is_float and bits == BITS[0]):
            remark = f"{kind} values reach {highest:g}, so they were taken for {bits} bits and scaled to 8"
    if lowest < 0:
        remark += "; those below 0 are black"
    remarks.append(remark)
    return top


def _scaled(stored: NDArray[np.generic], top: float) -> NDArray[np.uint8]:
    """Scale (H, W) numbers to uint8, `top` becoming white and what is below 0 black."""
    return np.clip(stored.astype(np.float64) / top * 255.0 + 0.5, 0, 255).astype(np.uint8)


def _damaged(name: str, error: BaseException) -> PhotoError:
    sentence = PhotoError(
        f"{name} starts like a picture but is truncated or damaged ({error}). Save or download it again."
    )
    sentence.__cause__ = error
    return sentence


def _too_large_for_memory(name: str) -> PhotoError:
    return PhotoError(f"{name} needs more memory than is available. Shrink it first.")


def _too_many_bytes(name: str, size: int) -> PhotoError:
    return PhotoError(
        f"{name} has {size / 2**20:.0f} MB; the limit is {MAX_BYTES / 2**20:.0f} MB. Save it smaller, for example as JPEG."
    )


def _too_many_pixels(name: str, pixels: int | None) -> PhotoError:
    found = "far too many" if pixels is None else f"{pixels / 1e6:.0f} million"
    return PhotoError(f"{name} has {found} pixels; the limit is {MAX_PIXELS / 1e6:.0f} million. Shrink it first.")
