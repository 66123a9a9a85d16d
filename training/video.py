"""Video: a clip × predictors -> labels of every frame, an overlay for each checkpoint, and all side by side.

DIR/<clip>/<checkpoint>/labels/000000.png   train ids of each frame, lossless
DIR/<clip>/<checkpoint>/overlay.mp4         the same in colour, laid over the frame
DIR/<clip>/side_by_side.mp4                 the clip and the overlays of all checkpoints, left to right
DIR/<clip>/video.json                       what the labels were made of; what is whole already is not made again

PyAV decodes and encodes (the extra `video`). Sound and metadata, such as the place, are not written. Faces are not blurred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sim2street.models.drawing import overlay
from sim2street.models.errors import ConfigError, PhotoError, UnreadableError
from sim2street.models.label_space import LabelSpace
from sim2street.models.photo import MAX_PIXELS, read_label_image
from sim2street.models.predictor import Predictor
from sim2street.models.storage.files import partial_of, read_json, sha256_of, write_json, written_whole
from sim2street.training.datasets.writer import is_whole_png

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

VIDEO_SUFFIXES: Final = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts")
"""How clips are called, in lower case."""
CODECS: Final = ("libx264", "mpeg4")
"""Encoders in order of preference; the second is part of every build of FFmpeg."""
USUAL_RATE: Final = 25
"""Frames a second where the file does not say."""
WIDEST: Final = 3840
"""Pixels that the side-by-side clip is at most wide; frames are shrunk by whole factors until they fit."""


def is_video(source: str) -> bool:
    """Whether a file is called like a clip."""
    return Path(source).suffix.lower() in VIDEO_SUFFIXES


@dataclass
class Clip:
    """A video that is read from its first frame on.

    Attributes:
        path: the file.
        rate: frames a second.
        frames: how many there are about; 0 where the file does not say.
        fault: why reading ended early, as a sentence; empty where it did not.
    """

    path: Path
    rate: Fraction = Fraction(USUAL_RATE)
    frames: int = 0
    fault: str = field(default="", init=False)

    @classmethod
    def open(cls, path: Path) -> Clip:
        """Read what the file says of itself.

        Raises:
            ConfigError: PyAV is not installed.
            PhotoError: the file is no video, or too large.
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
        """Yield (H, W, 3) uint8 RGB frames, upright; a clip that breaks off ends there, and `fault` says so.

        Raises:
            PhotoError: it has no frame that can be read.
        """
        import av

        count = 0
        self.fault = ""
        with _opened(self.path) as (container, stream):
            try:
                for frame in container.decode(stream):
                    pixels = frame.to_ndarray(format="rgb24")
                    yield np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90), dtype=np.uint8)
                    count += 1
            except av.FFmpegError as error:
                self.fault = f"{self.path} is damaged after {count} frames ({error.strerror}); it was read up to there."
        if not count:
            raise PhotoError(f"{self.path} holds no frame that can be read. Export it again, as MP4 for example.")
        if not self.fault and self.frames > count + 1:
            self.fault = (
                f"{self.path} should have {self.frames} frames and ends after {count}; it was read up to there."
            )


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
        source: the clip.
        predictors: by the name of the checkpoint's folder below `out`.
        made_by: by the same names what identifies weights and settings; labels made by others are made again.
        out: folder of this clip.
        progress: called with frames done and frames in all.

    Returns:
        A sentence where the clip broke off early; else empty.

    Raises:
        ConfigError, PhotoError: see `Clip`.
    """
    clip = Clip.open(source)
    out.mkdir(parents=True, exist_ok=True)
    made = {"video": sha256_of(source), "checkpoints": dict(made_by)}
    before = _made_before(out / "video.json", made)
    write_json(out / "video.json", made)
    with ExitStack() as stack:
        films = {name: stack.enter_context(_Film.written(out / name / "overlay.mp4", clip.rate)) for name in predictors}
        beside = stack.enter_context(_Film.written(out / "side_by_side.mp4", clip.rate))
        for number, frame in enumerate(clip.read()):
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
    """Labels of a frame: those that are there already if they may be kept, else new ones, which are written."""
    if keep and is_whole_png(file):
        return read_label_image(file)
    labels = predictor(frame).labels
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
    """Names of the checkpoints whose labels there are of this clip, by these weights and settings."""
    try:
        found = read_json(file) if file.exists() else None
    except UnreadableError:
        return set()
    if not isinstance(found, dict) or found.get("video") != made["video"]:
        return set()
    known = found.get("checkpoints")
    return {name for name, by in made["checkpoints"].items() if isinstance(known, dict) and known.get(name) == by}


class _Film:
    """A clip that is written frame by frame; the first frame says how large it is."""

    def __init__(self, container: Any, rate: Fraction) -> None:
        self.container, self.rate = container, rate
        self.stream: Any = None

    @classmethod
    @contextmanager
    def written(cls, path: Path, rate: Fraction) -> Iterator[_Film]:
        """Write a clip that is in place once it is whole, and not at all after an error."""
        import av

        path.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_of(path)
        try:
            with av.open(str(partial), "w", format="mp4") as container:
                film = cls(container, rate)
                yield film
                if film.stream is not None:
                    container.mux(film.stream.encode())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Append (H, W, 3) uint8 RGB; the last odd row or column is left out, since codecs halve the colours."""
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
    """A file and the first of its streams of pictures."""
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
                f"{path} holds no pictures, only {', '.join({s.type for s in container.streams}) or 'nothing'}."
            )
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield container, stream
