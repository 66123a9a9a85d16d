"""Segment every frame of a video with several checkpoints, and write labels, overlays and a side-by-side clip.

DIR/<clip>/<checkpoint>/labels/000000.png   train ids of each frame, lossless
DIR/<clip>/<checkpoint>/overlay.mp4         the labels in colour over the frames
DIR/<clip>/side_by_side.mp4                 the clip and the overlays of all checkpoints, left to right
DIR/<clip>/video.json                       video, weights and settings; labels made with the same ones are reused

PyAV (the extra `video`) decodes and encodes. Sound and metadata such as the location are not written. Faces are not blurred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sim2street.models.drawing import overlay
from sim2street.models.errors import ConfigError, PhotoError, UnreadableError
from sim2street.models.label_space import LabelSpace
from sim2street.models.photo import MAX_PIXELS, check_size, read_label_image
from sim2street.models.predictor import Predictor
from sim2street.models.storage.files import failures_naming, partial_of, read_json, sha256_of, write_json, written_whole
from sim2street.training.datasets.writer import is_whole_png

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

VIDEO_SUFFIXES: Final = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts")
"""File suffixes of videos, in lower case."""
CODECS: Final = ("libx264", "mpeg4")
"""Encoders in order of preference; the second is part of every build of FFmpeg."""
USUAL_RATE: Final = 25
"""Frames per second assumed if the file does not state its rate."""
WIDEST: Final = 3840
"""Largest width of the side-by-side clip in pixels; frames are shrunk by a whole factor to fit."""


def is_video(source: str) -> bool:
    """Whether a file has the suffix of a video."""
    return Path(source).suffix.lower() in VIDEO_SUFFIXES


@dataclass
class Clip:
    """A video to be read frame by frame.

    Attributes:
        path: the file.
        rate: frames per second.
        frames: approximate number of frames; 0 if the file does not state it.
        fault: a sentence on why reading ended early; empty if it did not.
    """

    path: Path
    rate: Fraction = Fraction(USUAL_RATE)
    frames: int = 0
    fault: str = field(default="", init=False)

    @classmethod
    def open(cls, path: Path) -> Clip:
        """Read frame rate and length of a video file.

        Raises:
            ConfigError: PyAV is not installed.
            PhotoError: the file is not a video, or its frames are too large.
        """
        with _opened(path) as (_, stream):
            rate = stream.average_rate or Fraction(USUAL_RATE)
            if (stream.width or 0) * (stream.height or 0) > MAX_PIXELS:
                raise PhotoError(
                    f"{path} has frames of {stream.width}×{stream.height}; expected up to {MAX_PIXELS // 10**6} megapixels."
                )
            counted = stream.frames or int(rate * (stream.duration or 0) * (stream.time_base or 0))
            return cls(path, rate, counted)

    def read(self) -> Iterator[NDArray[np.uint8]]:
        """Yield upright (H, W, 3) uint8 RGB frames; it stops and sets `fault` where the file is damaged or their size changes.

        Raises:
            PhotoError: no frame can be read, or they are too small or too elongated.
        """
        import av

        count, size = 0, None
        self.fault = ""
        with _opened(self.path) as (container, stream):
            try:
                for frame in container.decode(stream):
                    if size is None:
                        size = frame.width, frame.height
                        check_size(f"A frame of {self.path}", size)
                    elif size != (frame.width, frame.height):
                        here = f"{frame.width}×{frame.height} instead of {size[0]}×{size[1]} pixels"
                        self.fault = f"{self.path} goes on with {here} after {count} frames; only those were read."
                        break
                    pixels = frame.to_ndarray(format="rgb24")
                    yield np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90), dtype=np.uint8)
                    count += 1
            except av.FFmpegError as error:
                self.fault = f"{self.path} is damaged after {count} frames ({error.strerror}); only those were read."
        if not count:
            raise PhotoError(f"{self.path} contains no readable frame. Export it again, for example as MP4.")
        if not self.fault and self.frames > count + 1:
            self.fault = f"{self.path} should have {self.frames} frames but ends after {count}; only those were read."


def predict_video(
    source: Path,
    predictors: Mapping[str, Predictor],
    made_by: Mapping[str, str],
    out: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Segment every frame with every predictor.

    Args:
        source: the video file.
        predictors: name of the checkpoint's folder below `out` -> its predictor.
        made_by: the same names -> an identifier of weights and settings; labels with another identifier are replaced.
        out: folder of this clip.
        progress: called with frames done and frames in all.

    Returns:
        A sentence if the video ended early; otherwise empty.

    Raises:
        ConfigError, PhotoError: see `Clip`.
    """
    clip = Clip.open(source)
    frames = clip.read()
    first = next(frames)  # a clip without frames leaves no folder behind
    out.mkdir(parents=True, exist_ok=True)
    made = {"video": sha256_of(source), "checkpoints": dict(made_by)}
    before = _made_before(out / "video.json", made)
    write_json(out / "video.json", made)
    with ExitStack() as stack:
        films = {name: stack.enter_context(Film.written(out / name / "overlay.mp4", clip.rate)) for name in predictors}
        beside = stack.enter_context(Film.written(out / "side_by_side.mp4", clip.rate))
        for number, frame in enumerate(chain((first,), frames)):
            row = [frame]
            for name, predictor in predictors.items():
                file = out / name / "labels" / f"{number:06d}.png"
                labels, space = _labels(file, frame, predictor, keep=name in before), predictor.segmenter.labels
                row.append(_painted(frame, labels, space))
                films[name].add(row[-1])
            beside.add(_side_by_side(row))
            if progress is not None:
                progress(number + 1, max(clip.frames, number + 1))
    return clip.fault


def _labels(file: Path, frame: NDArray[np.uint8], predictor: Predictor, *, keep: bool) -> NDArray[np.uint8]:
    """Labels of a frame: the stored ones if they may be reused, otherwise new ones, which are stored."""
    if keep and is_whole_png(file):
        return read_label_image(file)
    labels = predictor(frame, with_entropy=False).labels
    file.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(file) as partial:
        Image.fromarray(labels).save(partial, format="PNG")
    return labels


def _painted(frame: NDArray[np.uint8], labels: NDArray[np.uint8], space: LabelSpace) -> NDArray[np.uint8]:
    return overlay(frame, space.colourise(labels), labels)


def _side_by_side(row: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    factor = -(-sum(each.shape[1] for each in row) // WIDEST)
    return np.concatenate([each[::factor, ::factor] for each in row], axis=1)


def _made_before(file: Path, made: Mapping[str, Any]) -> set[str]:
    """Names of the checkpoints whose stored labels were made from this video with the same weights and settings."""
    try:
        found = read_json(file) if file.exists() else None
    except UnreadableError:
        return set()
    if not isinstance(found, dict) or found.get("video") != made["video"]:
        return set()
    known = found.get("checkpoints")
    return {name for name, by in made["checkpoints"].items() if isinstance(known, dict) and known.get(name) == by}


class Film:
    """A video file that is written frame by frame, at the size of its first frame."""

    def __init__(self, container: Any, rate: Fraction) -> None:
        self.container, self.rate = container, rate
        self.stream: Any = None

    @classmethod
    @contextmanager
    def written(cls, path: Path, rate: Fraction) -> Iterator[Film]:
        """Write a video; it appears at `path` only when it is complete, and not after an error."""
        import av

        path.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_of(path)
        try:
            with failures_naming(path), av.open(str(partial), "w", format="mp4") as container:
                film = cls(container, rate)
                yield film
                if film.stream is not None:
                    container.mux(film.stream.encode())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Append (H, W, 3) uint8 RGB; odd sides lose their last row or column, since yuv420p needs even ones."""
        import av

        if self.stream is None:
            codec = next(name for name in CODECS if name in av.codecs_available)
            self.stream = self.container.add_stream(codec, rate=self.rate)
            self.stream.height, self.stream.width = (2 * (side // 2) for side in picture.shape[:2])
            self.stream.pix_fmt = "yuv420p"
        even = picture[: self.stream.height, : self.stream.width]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        self.container.mux(self.stream.encode(frame))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its first video stream."""
    try:
        import av
    except ImportError as error:
        raise ConfigError('Reading videos needs PyAV: pip install "sim2street[video]".') from error
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise PhotoError(f"{path} cannot be opened as a video: {error.strerror or error}.") from error
    with container:
        if not container.streams.video:
            raise PhotoError(
                f"{path} has no video stream, only {', '.join({s.type for s in container.streams}) or 'nothing'}; choose a"
                " video."
            )
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield container, stream
