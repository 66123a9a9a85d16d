from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sim2street.models.errors import LabelError, PhotoError
from sim2street.models.photo import MAX_BYTES, read_label_image, read_photo


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def gradient(width: int = 64, height: int = 48) -> np.ndarray:
    ramp = np.linspace(0, 255, width)[None].repeat(height, axis=0)
    return np.stack([ramp, ramp[:, ::-1], np.full_like(ramp, 90)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG"])
def test_common_formats_are_read_whatever_the_name(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    photo = read_photo(encoded(Image.fromarray(gradient()), form, **options), name="holiday.txt")
    assert photo.size == (64, 48)
    tolerance = {"JPEG": 12, "GIF": 40}.get(form, 0)
    assert np.abs(photo.pixels.astype(int) - gradient()).max() <= tolerance


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    photo = read_photo(encoded(Image.fromarray(values)))
    np.testing.assert_allclose(photo.pixels[..., 0], values / 257, atol=0.51)
    assert "16-bit" in photo.remarks[0]


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: rotate by 90 degrees
    photo = read_photo(encoded(Image.fromarray(gradient()), "JPEG", exif=exif, quality=95))
    assert photo.size == (48, 64)
    expected = np.rot90(gradient(), -1)
    assert np.abs(photo.pixels.astype(int) - expected).mean() < 4


def test_cmyk_palette_grey_and_one_bit_become_rgb() -> None:
    rgb = Image.fromarray(gradient())
    for mode in ("P", "L", "1"):
        assert read_photo(encoded(rgb.convert(mode))).pixels.shape == (48, 64, 3)
    cmyk = read_photo(encoded(rgb.convert("CMYK"), "TIFF")).pixels
    assert np.abs(cmyk.astype(int) - gradient()).max() <= 2


def test_alpha_is_laid_on_white() -> None:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:16] = (200, 0, 0, 255)
    photo = read_photo(encoded(Image.fromarray(pixels)))
    assert photo.pixels[0, 0].tolist() == [200, 0, 0]
    assert photo.pixels[31, 31].tolist() == [255, 255, 255]
    assert "transparent" in photo.remarks[0]
    palette = Image.fromarray(gradient()).convert("P")
    palette.info["transparency"] = 0
    assert read_photo(encoded(palette, transparency=0)).pixels.shape == (48, 64, 3)


def test_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    for form in ("GIF", "WEBP", "PNG"):
        photo = read_photo(encoded(frames[0], form, save_all=True, append_images=frames[1:]))
        assert photo.pixels[0, 0, 0] > 200
        assert photo.pixels[0, 0, 2] < 60
        assert "first frame" in photo.remarks[0]


def bomb(width: int, height: int) -> bytes:
    """A PNG header that claims any size, with next to no data."""
    return grey_png(width, height, 1, bytes(1000))


def grey_png(width: int, height: int, bits: int, rows: bytes) -> bytes:
    """A greyscale PNG written by hand; each row begins with a 0, "no filter"."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    body = zlib.compress(rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


WHOLE = encoded(Image.fromarray(gradient()))

BAD = {
    "text": (b"this is a letter, not a picture", "not a picture"),
    "nothing": (b"", "empty"),
    "truncated png": (WHOLE[: len(WHOLE) // 2], "truncated or damaged"),
    "truncated jpeg": (encoded(Image.fromarray(gradient(640, 480)), "JPEG")[:2000], "truncated or damaged"),
    "header only": (WHOLE[:20], "not a picture"),
    "one pixel": (encoded(Image.new("RGB", (1, 1))), "at least 16"),
    "a strip": (encoded(Image.new("RGB", (30_000, 20))), "too elongated"),
    "bomb of 100 megapixels": (bomb(10_000, 10_000), "limit is 60 million"),
    "bomb of 10 gigapixels": (bomb(100_000, 100_000), "limit is 60 million"),
    "a pickle": (b"\x80\x04\x95" + bytes(40), "not a picture"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' width='90' height='90'/>", "not a picture"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n", "not a picture"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_rest_gets_a_sentence(case: str) -> None:
    data, words = BAD[case]
    with pytest.raises(PhotoError, match=words) as caught:
        read_photo(data, name="upload.png")
    assert "upload.png" in str(caught.value)


def test_two_hundred_megabytes_are_refused_without_reading_them(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="200 MB; the limit is 64"):
        read_photo(bytes(200 * 2**20), name="huge.png")
    sparse = tmp_path / "huge.png"
    with sparse.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(PhotoError, match="limit is 64"):
        read_photo(sparse)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="a device without an end")
def test_what_has_no_end_is_refused() -> None:
    with pytest.raises(PhotoError, match="zero"):
        read_photo("/dev/zero")


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="cannot be read"):
        read_photo(tmp_path / "absent.jpg")
    with pytest.raises(PhotoError, match="is a folder"):
        read_photo(tmp_path)


def test_limiting_keeps_the_shape_and_says_so() -> None:
    photo = read_photo(encoded(Image.fromarray(gradient(400, 200))))
    small = photo.limited(100)
    assert small.size == (100, 50)
    assert "instead of 400×200" in small.remarks[-1]
    assert photo.limited(400) is photo


def test_label_images_give_stored_values() -> None:
    values = np.arange(20, dtype=np.uint8).reshape(4, 5)
    palette = Image.fromarray(values)
    palette.putpalette([255 - i for i in range(256) for _ in range(3)])
    assert (read_label_image(encoded(palette)) == values).all()
    assert (read_label_image(encoded(Image.fromarray(values.astype(np.uint16)))) == values).all()
    with pytest.raises(LabelError, match="colour picture"):
        read_label_image(encoded(Image.fromarray(gradient())))
    with pytest.raises(LabelError, match="0 to 255"):
        read_label_image(encoded(Image.fromarray(np.full((4, 4), 700, np.uint16))))


def test_label_images_of_few_bits_are_not_stretched() -> None:
    assert read_label_image(grey_png(2, 2, 4, bytes([0, 0x1A, 0, 0xF0]))).tolist() == [[1, 10], [15, 0]]
    assert read_label_image(grey_png(4, 1, 2, bytes([0, 0b00011011]))).tolist() == [[0, 1, 2, 3]]
