"""A visitor's clip: which frames are taken, and every way in which it can be no clip."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sim2street.app.content.clip import decode, read_clip
from sim2street.models.errors import PhotoError

av = pytest.importorskip("av")


def film(frames: int, rate: int = 10, size: tuple[int, int] = (64, 48), codec: str = "mpeg4") -> bytes:
    """A clip whose frames become lighter from black to white."""
    packed = io.BytesIO()
    with av.open(packed, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=Fraction(rate))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            pixels = np.full((size[1], size[0], 3), 255 * number // frames, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return packed.getvalue()


def sound() -> bytes:
    packed = io.BytesIO()
    with av.open(packed, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return packed.getvalue()


def test_two_frames_a_second_are_taken_in_a_worker_at_the_size_of_the_page() -> None:
    clip = read_clip(film(25, size=(2048, 256)), "drive.mp4")
    assert clip.seconds == pytest.approx((0.0, 0.5, 1.0, 1.5, 2.0))
    assert clip.remark == ""
    scenes = [clip.scene(number) for number in range(5)]
    assert [scene.photo.size for scene in scenes] == [(1024, 128)] * 5
    assert all(scene.private for scene in scenes), "kept for the visitor alone"
    shades = [int(scene.photo.pixels.mean()) for scene in scenes]
    assert shades == pytest.approx([255 * number // 25 for number in (0, 5, 10, 15, 20)], abs=4)
    assert scenes[3].photo.name == "drive.mp4 at 1.5 s"
    assert len({scene.photo.digest for scene in scenes}) == 5
    assert clip.scene(3).photo.digest == scenes[3].photo.digest, "so that a frame is predicted once"


def test_thirty_seconds_are_the_most() -> None:
    assert len(decode(film(60, rate=2), 1024, name="half_a_minute.mp4").frames) == 60
    with pytest.raises(PhotoError, match=r"long.mp4 lasts 40 seconds; expected up to 30. Cut a part out of it"):
        decode(film(80, rate=2), 1024, name="long.mp4")


def test_a_clip_that_does_not_say_how_long_it_is_ends_at_thirty_seconds() -> None:
    packed = io.BytesIO()
    with av.open(packed, "w", format="m4v") as container:  # a bare stream: neither length nor times
        stream = container.add_stream("mpeg4", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        for _ in range(25 * 31):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    with pytest.raises(PhotoError, match="expected up to 30"):
        decode(packed.getvalue(), 1024, name="bare.m4v")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no video at all", "cannot be opened as a video"),
        (b"", "cannot be opened as a video"),
        (sound(), "contains no pictures"),
        (film(0), "no readable frame|cannot be opened|contains no pictures"),
        (film(20)[:60], "cannot be opened as a video"),
    ],
)
def test_what_is_no_clip_gets_a_sentence(data: bytes, words: str) -> None:
    with pytest.raises(PhotoError, match=words) as found:
        read_clip(data, "mine.mp4")
    assert str(found.value).startswith("mine.mp4 ")


def test_a_cut_clip_shows_what_there_is(tmp_path: Path) -> None:
    """As a download that broke off: in a format that can be read from the front."""
    path = tmp_path / "cut.mkv"
    generator = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(60):
            pixels = generator.integers(0, 256, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    clip = decode(path.read_bytes()[: path.stat().st_size // 2], 1024, name="cut.mkv")
    assert 3 <= len(clip.frames) <= 8
    assert Image.open(io.BytesIO(clip.frames[0])).size == (64, 48)
