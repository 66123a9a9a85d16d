"""A short clip to compare on: some frames of it per second, decoded once in a worker process.

Imports no UI library, and at its head nothing large: a worker loads this module within its limit of memory.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from sim2street.models.errors import ConfigError, PhotoError
from sim2street.models.photo import MAX_PIXELS, check_size

if TYPE_CHECKING:
    from sim2street.app.content.gallery import Scene

CLIP: Final = "Your clip"
"""Name of the source."""
LONGEST: Final = 30.0
"""Seconds that a clip may last."""
SPACING: Final = 0.5
"""Seconds between two frames that are taken, so that a clip has at most 61."""
QUALITY: Final = 95
"""Frames are kept as JPEG: raw, those of one clip would take 100 MB of a session's memory."""


@dataclass(frozen=True)
class Clip:
    """The frames taken of a clip.

    Attributes:
        name: as the file is called.
        frames: JPEG files, longest side at most `panes.LONG_SIDE`.
        seconds: when each is shown, from the beginning of the clip.
        remark: why there are fewer frames than the clip should have; empty if there are not.
    """

    name: str
    frames: tuple[bytes, ...]
    seconds: tuple[float, ...]
    remark: str = ""

    def scene(self, number: int) -> Scene:
        """One frame, ready to be predicted; like an uploaded photo it is the visitor's own."""
        from sim2street.app.content import gallery

        return gallery.uploaded_scene(self.frames[number], f"{self.name} at {self.seconds[number]:.1f} s")


def read_clip(data: bytes, name: str) -> Clip:
    """Take frames of an uploaded clip.

    Raises:
        PhotoError: it is not a video, has no frame, is longer than `LONGEST`, or takes too long to decode.
        ConfigError: PyAV is not installed.
        LimitError: see `decode_workers.Workers.run`.
    """
    from sim2street.app.content.decode_workers import WORKERS_OF_SERVER
    from sim2street.app.content.panes import LONG_SIDE

    return WORKERS_OF_SERVER.run(decode, data, LONG_SIDE, name=name)


def decode(data: bytes, long_side: int, *, name: str) -> Clip:
    """Decode in this process, see `read_clip`; the longest side of a frame is at most `long_side` pixels."""
    try:
        import av
    except ImportError as error:
        raise ConfigError('Reading clips needs PyAV: pip install "sim2street[video]".') from error
    try:
        container = av.open(io.BytesIO(data), "r")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise PhotoError(f"{name} cannot be opened as a video: {getattr(error, 'strerror', None) or error}.") from error
    frames: list[bytes] = []
    seconds: list[float] = []
    remark = ""
    with container:
        if not container.streams.video:
            raise PhotoError(f"{name} contains no pictures. Choose a video, for example an MP4.")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.thread_count = 2  # each thread needs memory of its own
        _check(name, stream, (container.duration or 0) / av.time_base)
        shown = 0.0
        try:
            for number, frame in enumerate(container.decode(stream)):
                shown = float(frame.time) if frame.time is not None else number / 25
                start = seconds[0] if seconds else shown
                if shown - start > LONGEST:
                    raise _too_long(name, f"more than {LONGEST:.0f}")
                if not seconds or shown >= seconds[-1] + SPACING - 1e-3:
                    frames.append(_jpeg(frame, long_side))
                    seconds.append(shown)
        except av.FFmpegError as error:
            remark = f"{name} is damaged after {shown:.1f} s ({error.strerror}); only the frames before that are shown."
    if not frames:
        raise PhotoError(f"{name} contains no readable frame. Export it again, for example as MP4.")
    return Clip(name, tuple(frames), tuple(each - seconds[0] for each in seconds), remark)


def _check(name: str, stream: object, lasts: float) -> None:
    """Refuse what is too long or too large before a frame is decoded."""
    if lasts > LONGEST + SPACING:
        raise _too_long(name, f"{lasts:.0f}")
    width, height = getattr(stream, "width", 0) or 0, getattr(stream, "height", 0) or 0
    if width and height:
        check_size(f"A frame of {name}", (width, height))
    if width * height > MAX_PIXELS:
        raise PhotoError(f"{name} has frames of {width}×{height}; expected up to {MAX_PIXELS // 10**6} megapixels.")


def _too_long(name: str, lasts: str) -> PhotoError:
    return PhotoError(
        f"{name} lasts {lasts} seconds; expected up to {LONGEST:.0f}. Cut a part out of it, or segment all of it with"
        " `sim2street predict`."
    )


def _jpeg(frame: object, long_side: int) -> bytes:
    """A frame, upright and at most as large as it is shown."""
    pixels = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)  # pyright: ignore[reportAttributeAccessIssue]
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((long_side, long_side))
    packed = io.BytesIO()
    picture.save(packed, format="JPEG", quality=QUALITY, subsampling=0)
    return packed.getvalue()
