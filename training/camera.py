"""Record a camera of this machine for some seconds, to be segmented like any other video.

A network on a processor takes longer for a frame than a camera, so frames would be lost if they were segmented as they come.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from sim2street.models.errors import ConfigError, PhotoError
from sim2street.training.video import USUAL_RATE, Film

DEVICES: Final[dict[str, tuple[str, str]]] = {"linux": ("/dev/video{}", "v4l2"), "darwin": ("{}", "avfoundation")}
"""By `sys.platform`: how camera number N is called, and FFmpeg's name of the system's cameras."""


def record(number: int, seconds: float, out: Path, *, progress: Callable[[int, int], None] | None = None) -> int:
    """Record a camera into a video, which is in place once it is complete.

    Args:
        number: of the camera, 0 for the first.
        seconds: how long; a camera that ends earlier gives less.
        out: the video.
        progress: called with tenths of seconds recorded and in all.

    Returns:
        Number of frames.

    Raises:
        ConfigError: PyAV is not installed, or the system's cameras are not supported.
        PhotoError: there is no such camera, it is in use, or it gives no frame.
    """
    try:
        import av
    except ImportError as error:
        raise ConfigError('Reading a camera needs PyAV: pip install "sim2street[video]".') from error
    if sys.platform not in DEVICES:
        raise ConfigError(
            f"Cameras are read on Linux and macOS, not on {sys.platform}. Record a video and give its file instead."
        )
    name, kind = DEVICES[sys.platform]
    name, count = name.format(number), 0
    try:
        with av.open(name, "r", format=kind) as camera:
            stream = camera.streams.video[0]
            rate = Fraction(stream.average_rate or USUAL_RATE)
            with Film.written(out, rate) as film:
                start: float | None = None
                for frame in camera.decode(stream):
                    now = float(frame.time or 0)
                    start = now if start is None else start
                    if now - start >= seconds:
                        break
                    film.add(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
                    count += 1
                    if progress is not None:
                        progress(min(round(10 * (now - start)), round(10 * seconds)), round(10 * seconds))
                if not count:
                    raise PhotoError(f"Camera {number} ({name}) gave no frame. Is another program using it?")
    except (av.FFmpegError, OSError, IndexError) as error:
        raise PhotoError(
            f"Camera {number} ({name}) cannot be read: {getattr(error, 'strerror', None) or error}. Is it connected, and"
            " may this user read it?"
        ) from error
    return count
