"""Engine: reads photos with checkpoints for all visitors of a process, one at a time, and keeps what it may.

Networks are bounded in bytes and dropped least recently used first. Readings of gallery photos are shared by all;
what is made of a person's own photo is kept under that visitor only, until the visit ends or lies idle. A comparison
under way holds what it has read, however many others crowd the shelves. Everything is in memory, nothing on disk. No
UI library in here.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Final, NamedTuple

import torch

from sim2street.app.content.byte_cache import ByteCache
from sim2street.app.content.gallery import Scene, thumbnail_jpeg
from sim2street.app.content.panes import Pane, pane
from sim2street.models.compiled_code import is_compiled
from sim2street.models.errors import Sim2StreetError, is_out_of_memory
from sim2street.models.label_space import LabelSpace
from sim2street.models.numbering import MisnumberedError
from sim2street.models.photo import Photo
from sim2street.models.predictor import Predictor, best_device
from sim2street.models.segmenter import Segmenter
from sim2street.models.storage.checkpoint import Checkpoint

LOGGER: Final = logging.getLogger(__name__)

NETWORK_BYTES: Final = 2 * 2**30
"""Loaded networks; a ResNet-101 DeepLab takes 180 MB, a MiT-B5 some 340 MB."""
SHARED_BYTES: Final = 256 * 2**20
"""Readings of gallery photos."""
PRIVATE_BYTES: Final = 512 * 2**20
"""Uploaded photos and their readings, of all visitors together; at 1024 × 768 pixels a reading takes some 7 MB."""
PRIVATE_SECONDS: Final = 3600.0
"""Idle time after which a visitor's photo and readings are dropped, should the end of the visit go unnoticed."""

THREE_SCALES: Final = (0.75, 1.0, 1.25)
"""Factors on the size that a person may average over."""


@dataclass(frozen=True)
class Settings:
    """How photos are read.

    Attributes:
        flip: average with the mirrored photo.
        scales: factors on the size, averaged.
    """

    flip: bool = False
    scales: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Failure:
    """Why a checkpoint could not read a photo.

    Attributes:
        reason: as a sentence.
        passing: another try may succeed, as when memory was short; such an answer is kept for nobody else.
    """

    reason: str
    passing: bool = False


@dataclass(frozen=True, eq=False)
class OwnPhoto:
    """A visitor's photo.

    Attributes:
        scene: as it is shown and read.
        data: the file as it came, for a ground truth that is added later.
        name: of the file, for people.
        truth: contents and name of the label image that came with it, for another numbering of its classes.
        problem: why the scene has no ground truth although there is a label image.
    """

    scene: Scene
    data: bytes
    name: str
    truth: tuple[bytes, str] | None = None
    problem: MisnumberedError | None = None

    @cached_property
    def thumbnail(self) -> str:
        """See `gallery.thumbnail_jpeg`."""
        return thumbnail_jpeg(self.scene)


@dataclass(frozen=True, eq=False)
class Filmstrip:
    """A visitor's photos.

    Attributes:
        photos: in the order in which they came, at least one; no two have the same contents.
        chosen: place of the one that is shown.
    """

    photos: tuple[OwnPhoto, ...]
    chosen: int = 0

    @property
    def size(self) -> int:
        """Bytes in memory; photos that all visitors share are not counted."""
        return sum(
            own.scene.photo.pixels.nbytes + len(own.data) + len(own.truth[0] if own.truth else b"")
            for own in self.photos
            if own.scene.private
        )


class Turns:
    """Lets one in at a time, in order of arrival: the one queue for the device."""

    def __init__(self) -> None:
        self._line: deque[object] = deque()
        self._moved = threading.Condition()

    def __len__(self) -> int:
        return len(self._line)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn, hold it for the block."""
        ticket = object()
        with self._moved:
            self._line.append(ticket)
        try:
            with self._moved:
                self._moved.wait_for(lambda: self._line[0] is ticket)
            yield
        finally:
            with self._moved:
                self._line.remove(ticket)
                self._moved.notify_all()


def release_memory() -> None:
    """Hand memory of dropped networks back to the graphics card."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


LOADED: Final[ByteCache[Predictor]] = ByteCache(NETWORK_BYTES, on_drop=release_memory)
"""Networks on the device, by their checkpoint's folder, the sha256 of its weights, and whether norms are merged."""


def predictor(checkpoint: Checkpoint, settings: Settings) -> Predictor:
    """Predicts with the checkpoint's network on the best device; the network is loaded once.

    Raises:
        CheckpointError: the weights do not fit the network that the config names.
    """
    # On processors the pages show what the figures were measured with.
    precision = "bf16" if best_device().type == "cuda" else "fp32"
    load = partial(Predictor.from_checkpoint, checkpoint, precision=precision)
    return _kept(checkpoint, load, merged=True).viewing(flip=settings.flip, scales=settings.scales)


def network(checkpoint: Checkpoint) -> Segmenter:
    """The checkpoint's network on the best device as it was trained, for what looks inside; loaded once.

    Raises:
        CheckpointError: the weights do not fit the network that the config names.
    """
    return _kept(checkpoint, lambda: Predictor(checkpoint.load()), merged=False).segmenter


def _kept(checkpoint: Checkpoint, load: Callable[[], Predictor], *, merged: bool) -> Predictor:
    key = (str(checkpoint.path), checkpoint.config.weights_sha256, merged)
    found = LOADED.get(key)
    if found is None:
        found = load()
        tensors = [*found.segmenter.parameters(), *found.segmenter.buffers()]
        LOADED.put(key, found, sum(tensor.nbytes for tensor in tensors))
    return found


def predict_pane(checkpoint: Checkpoint, photo: Photo, space: LabelSpace, settings: Settings) -> Pane:
    """Read a photo; a function of plain values, so that it can also run in a process that is lent a graphics card."""
    return pane(predictor(checkpoint, settings)(photo, space))


def answer_pane(checkpoint: Checkpoint, photo: Photo, space: LabelSpace, settings: Settings) -> Pane | Failure:
    """`predict_pane`, or why it could not: what is raised in a process that is lent does not come back as it was."""
    return attempt(predict_pane, checkpoint, photo, space, settings)


Predict = Callable[[Checkpoint, Photo, LabelSpace, Settings], Pane | Failure]


def attempt(
    predict: Predict, checkpoint: Checkpoint, photo: Photo, space: LabelSpace, settings: Settings
) -> Pane | Failure:
    """Read a photo; what a checkpoint, a photo or a full memory is to blame for becomes the answer."""
    try:
        return predict(checkpoint, photo, space, settings)
    except Sim2StreetError as error:
        return Failure(str(error))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            # A network that stumbles takes down its own pane, not the page; the log tells the rest.
            LOGGER.exception("%s could not read a photo of %s pixels", checkpoint.name, photo.size)
            return Failure("This checkpoint stumbled over the photo; the server's log says where.", passing=True)
    # Not in the handler: the error holds what the reading had on the card.
    release_memory()
    return Failure("There was not enough memory for this photo; try a smaller one.", passing=True)


class Engine:
    """Answers by scene, checkpoint and settings.

    Args:
        predict: how a photo is read; replaced where the device is lent call by call.
    """

    def __init__(self, predict: Predict = predict_pane) -> None:
        self.predict = predict
        self.turns = Turns()
        self.shared: ByteCache[Pane | Failure] = ByteCache(SHARED_BYTES)
        self.private: ByteCache[Pane | Failure | Filmstrip] = ByteCache(PRIVATE_BYTES, idle_seconds=PRIVATE_SECONDS)
        self._held: dict[str, dict[_Key, Pane | Failure]] = {}
        self._here: Counter[str] = Counter()
        self._left: set[str] = set()
        self._lock = threading.Lock()
        self._changing = threading.RLock()  # filmstrips: two photos may arrive at once

    def known(self, scene: Scene, checkpoint: Checkpoint, settings: Settings, visitor: str) -> Pane | Failure | None:
        """What was read already; None where `read` has to be called."""
        key = _key(scene, checkpoint, settings)
        with self._lock:
            held = self._held.get(visitor, {}).get(key)
        if held is not None:
            return held
        found = self.private.get((visitor, *key)) if scene.private else self.shared.get(key)
        return None if isinstance(found, Filmstrip) else found

    def read(self, scene: Scene, checkpoint: Checkpoint, settings: Settings, visitor: str) -> Pane | Failure:
        """Read a photo with a checkpoint when its turn comes, and remember the answer.

        Args:
            scene: a private one is remembered for its visitor only.
            checkpoint: opened.
            settings: how to read.
            visitor: name of the session.
        """
        with self.awaited(visitor), self.turns.turn():
            if visitor in self._left:  # nobody waits for it any more
                return Failure("The visit has ended.")
            # Somebody may have asked for the same meanwhile.
            answer = self.known(scene, checkpoint, settings, visitor) or self._answer(scene, checkpoint, settings)
            self._remember(scene, _key(scene, checkpoint, settings), answer, visitor)
            return answer

    def read_once(self, scene: Scene, checkpoint: Checkpoint, settings: Settings) -> Pane | Failure:
        """Read a photo when its turn comes and remember nothing: for whole sets, which would crowd out all else."""
        with self.turns.turn():
            return self._answer(scene, checkpoint, settings)

    @contextmanager
    def awaited(self, visitor: str) -> Iterator[None]:
        """Within the block something is made for a visitor; if they leave meanwhile, nothing of it is kept."""
        with self._lock:
            self._here[visitor] += 1
        try:
            yield
        finally:
            with self._lock:
                self._here[visitor] -= 1
                if not self._here[visitor]:
                    del self._here[visitor]
                    self._left.discard(visitor)

    def release(self, visitor: str) -> None:
        """A comparison is done, or given up: what it has read may go when others need the room."""
        with self._lock:
            self._held.pop(visitor, None)

    def keep(self, visitor: str, photo: OwnPhoto) -> None:
        """Keep a visitor's own photo in memory for the visit, and show it; one of the same contents is replaced."""
        with self._changing:
            photos = list(self.filmstrip(visitor))
            digests = [own.scene.photo.digest for own in photos]
            place = digests.index(photo.scene.photo.digest) if photo.scene.photo.digest in digests else len(photos)
            photos[place:] = [photo, *photos[place + 1 :]]
            self._put(visitor, Filmstrip(tuple(photos), place))

    def add(self, visitor: str, photos: Sequence[OwnPhoto]) -> None:
        """Put photos behind those of the visitor, except the ones that are there; if none is shown, the first is."""
        with self._changing:
            there = self._strip(visitor) or Filmstrip(())
            digests = {own.scene.photo.digest for own in there.photos}
            new = tuple(own for own in photos if own.scene.photo.digest not in digests)
            if new:
                self._put(visitor, Filmstrip(there.photos + new, there.chosen))

    def kept(self, visitor: str) -> OwnPhoto | None:
        """The visitor's photo that is shown, if there is one and it has not lain idle."""
        found = self._strip(visitor)
        return None if found is None else found.photos[found.chosen]

    def filmstrip(self, visitor: str) -> tuple[OwnPhoto, ...]:
        """All photos of a visitor, in the order in which they came."""
        found = self._strip(visitor)
        return () if found is None else found.photos

    def choose(self, visitor: str, digest: str) -> None:
        """Show another of the visitor's photos; a digest that is not among them changes nothing."""
        with self._changing:
            for place, own in enumerate(photos := self.filmstrip(visitor)):
                if own.scene.photo.digest == digest:
                    self._put(visitor, Filmstrip(photos, place))

    def remove(self, visitor: str, digest: str) -> None:
        """Drop one of the visitor's photos and what was made of it; the one before it is shown if it was shown."""
        with self._changing:
            found = self._strip(visitor)
            if found is None:
                return
            shown = found.photos[found.chosen]
            photos = tuple(own for own in found.photos if own.scene.photo.digest != digest)
            self.private.forget(lambda key: isinstance(key, tuple) and key[0] == visitor and key[1][0] == digest)
            if photos:
                self._put(
                    visitor, Filmstrip(photos, photos.index(shown) if shown in photos else max(0, found.chosen - 1))
                )
            else:
                self.private.forget(lambda key: key == (visitor, "photo"))

    def _strip(self, visitor: str) -> Filmstrip | None:
        found = self.private.get((visitor, "photo"))
        return found if isinstance(found, Filmstrip) else None

    def _put(self, visitor: str, strip: Filmstrip) -> None:
        with self._lock:
            if visitor not in self._left:
                self.private.put((visitor, "photo"), strip, strip.size)

    def forget(self, visitor: str) -> None:
        """Drop all that was kept of a visitor, and what is being read at this moment once it is read."""
        with self._lock:
            self._held.pop(visitor, None)
            if visitor in self._here:
                self._left.add(visitor)
        self.private.forget(lambda key: isinstance(key, tuple) and key[0] == visitor)

    def _remember(self, scene: Scene, key: _Key, answer: Pane | Failure, visitor: str) -> None:
        with self._lock:
            if visitor in self._left:
                return
            held = self._held.setdefault(visitor, {})
            if any(other.photo != key.photo for other in held):  # the visitor has gone on to another photo
                held.clear()
            held[key] = answer
            if isinstance(answer, Failure) and answer.passing:
                return
            if scene.private:
                self.private.put((visitor, *key), answer, _size(answer))
            else:
                self.shared.put(key, answer, _size(answer))

    def _answer(self, scene: Scene, checkpoint: Checkpoint, settings: Settings) -> Pane | Failure:
        answer = attempt(self.predict, checkpoint, scene.photo, scene.space, settings)
        # Another process sends its own copy of the label space.
        return answer if isinstance(answer, Failure) else replace(answer, space=scene.space)


def device_name() -> str:
    """Where photos are read, for people."""
    processor = "processor, with compiled code" if is_compiled() else "processor"
    return {"cuda": "graphics card", "mps": "Apple graphics"}.get(best_device().type, processor)


class _Key(NamedTuple):
    """What a reading is of: the photo and how it is read, then who reads it in which classes."""

    photo: tuple[str, Settings]
    checkpoint: tuple[str, str, LabelSpace]


def _key(scene: Scene, checkpoint: Checkpoint, settings: Settings) -> _Key:
    reader = (str(checkpoint.path), checkpoint.config.weights_sha256, scene.space)
    return _Key((scene.photo.digest, settings), reader)


def _size(answer: Pane | Failure) -> int:
    """Bytes of an answer, its encoded pictures included, which are at most as large as the planes."""
    if isinstance(answer, Failure):
        return 1024
    planes = (answer.labels, answer.entropy, answer.confidence, answer.candidates, answer.candidate_shares)
    return 2 * sum(plane.nbytes for plane in planes if plane is not None)


ENGINE: Final = Engine()
"""One for the process, whichever page asks."""
