"""Adapt: a finished checkpoint × somebody's unlabelled photos -> the same network, adapted to them at test time.

No source picture and no label is needed. What changes are the batch norms alone: their statistics (AdaBN), or these and
their scales and shifts (TENT). An `Adaptation` holds just these tensors, so that the original stays as it is, on disk and
in memory, and to undo is to use the original.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from sim2street.models.errors import ConfigError, PhotoError
from sim2street.models.photo import Photo, read_photo
from sim2street.models.predictor import Predictor
from sim2street.models.segmenter import Segmenter
from sim2street.models.storage.checkpoint import Checkpoint, CheckpointConfig
from sim2street.training.datasets.photo_folder import PhotoFolder
from sim2street.training.methods import METHODS, build_method
from sim2street.training.methods.adabn import batch_norms, recalibrate
from sim2street.training.pair import DomainPair

AT_TEST_TIME: Final = ("adabn", "tent")
"""Methods that need a trained network and unlabelled photos, and nothing else."""
TITLE_LENGTH: Final = 80
"""Longest title that a checkpoint may have, in characters."""
STEPS_SHARE: Final = 0.7
"""Of a limited time what goes to steps; the rest is for the statistics of the network that they end in."""


@dataclass(frozen=True)
class AdaptOptions:
    """How to adapt; the defaults are those of TENT's authors.

    Attributes:
        method: one of `AT_TEST_TIME`.
        passes: how often TENT sees each photo.
        rate: learning rate of TENT's Adam.
        seconds: after which no further photo is begun; None for no limit.

    Raises:
        ConfigError: a value is out of range.
    """

    method: str = "tent"
    passes: int = 1
    rate: float = 1e-3
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.method not in AT_TEST_TIME:
            raise ConfigError(f"The method is {self.method!r}; expected {' or '.join(AT_TEST_TIME)}.")
        if not 1 <= self.passes <= 100:
            raise ConfigError(f"passes is {self.passes}; expected 1 to 100.")
        if not 0 < self.rate <= 1:
            raise ConfigError(f"The learning rate is {self.rate:g}; expected more than 0 and at most 1.")


@dataclass(frozen=True, eq=False)
class Adaptation:
    """What adapting gave.

    Attributes:
        options: how it was done.
        tensors: the batch norms' new values by their names in the network's core, on the CPU.
        photos: how many photos the statistics are of.
        unread: a sentence for each photo that could not be read.
        stopped: whether the time was over before all photos had been seen as often as asked.
    """

    options: AdaptOptions
    tensors: dict[str, Tensor]
    photos: int
    unread: list[str] = field(default_factory=list)
    stopped: bool = False

    @property
    def digest(self) -> str:
        """Hex sha256 of the tensors."""
        digest = hashlib.sha256()
        for key, value in sorted(self.tensors.items()):
            digest.update(key.encode())
            digest.update(value.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def apply(self, segmenter: Segmenter) -> Segmenter:
        """Put the tensors into a network of the same kind and return it."""
        segmenter.core.load_state_dict(self.tensors, strict=False)
        return segmenter


class AdaptedCheckpoint(Checkpoint):
    """A checkpoint with an adaptation on top, in memory alone; no figure was measured of it.

    Args:
        original: stays as it is.
        adaptation: see there.
    """

    def __init__(self, original: Checkpoint, adaptation: Adaptation) -> None:
        sha256 = hashlib.sha256(f"{original.config.weights_sha256} {adaptation.digest}".encode()).hexdigest()
        config = adapted_config(original, adaptation).model_copy(update={"weights_sha256": sha256})
        super().__init__(original.path, config, {})
        self.original = original
        self.adaptation = adaptation

    @property
    def name(self) -> str:
        """The original's with the method's behind it."""
        return f"{self.original.name}_{self.adaptation.options.method}"

    def load(self) -> Segmenter:
        """The original's network with the adaptation's tensors."""
        return self.adaptation.apply(self.original.load())


@dataclass(frozen=True)
class Change:
    """One photo before and after.

    Attributes:
        photo: its name.
        entropy: mean normalised entropy in [0,1], before and after.
        changed: share in [0,1] of the pixels whose class is another one.
    """

    photo: str
    entropy: tuple[float, float]
    changed: float


def adapt(
    predictor: Predictor,
    photos: Sequence[Photo | str | Path],
    options: AdaptOptions,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Adaptation:
    """Adapt to photos, shown one after the other as the predictor shows them to its network.

    Args:
        predictor: of a network of one's own; it is the adapted one afterwards.
        photos: files are read when their turn comes.
        options: how.
        progress: called with photos done and photos in all, each counted as often as it is shown.

    Raises:
        ConfigError: the network has no batch norm, or gives one a single value, or the rate is so large that the steps
            lead to values that are not numbers.
        PhotoError: none of the photos can be read.
    """
    network = predictor.segmenter
    if not batch_norms(network):
        raise ConfigError(
            "This network has no batch norm, which is all that AdaBN and TENT adapt. Choose another checkpoint."
        )
    shows = 1 + (options.passes if options.method == "tent" else 0)
    stream = _Stream(predictor, photos, shows * len(photos), progress, options.seconds)
    try:
        if options.method == "tent":
            _descend(network, stream, options)
        recalibrate(network, stream.once(final=True))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ConfigError(
            "A batch norm of this network sees a single value of each photo, which has no statistics. Choose another"
            " checkpoint."
        ) from error
    finally:
        network.requires_grad_(True).eval()
    if not stream.read:
        raise PhotoError(f"None of the {len(photos)} photos can be read. {' '.join(stream.unread.values())}".strip())
    tensors = _norm_tensors(network.core)
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values() if value.is_floating_point()):
        raise ConfigError(f"The steps led to values that are not numbers; a rate below {options.rate:g} may help.")
    return Adaptation(options, tensors, stream.read, list(stream.unread.values()), stream.stopped)


def compare(
    before: Predictor,
    after: Predictor,
    photos: Sequence[Photo | str | Path],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[Change]:
    """Read photos with both networks; those that cannot be read are left out."""
    changes = []
    for number, source in enumerate(photos, start=1):
        if progress is not None:
            progress(number, len(photos))
        try:
            photo = _opened(source)
        except PhotoError:
            continue
        first, second = before(photo), after(photo)
        entropy = (float(first.entropy.mean(dtype=np.float64)), float(second.entropy.mean(dtype=np.float64)))
        changes.append(Change(photo.name, entropy, float((first.labels != second.labels).mean())))
    return changes


def summary(changes: Sequence[Change]) -> str:
    """Before and after over all photos, as a sentence."""
    before, after = (float(np.mean([change.entropy[place] for change in changes])) for place in (0, 1))
    changed = float(np.mean([change.changed for change in changes]))
    return f"Mean entropy {before:.3f} before and {after:.3f} after; {100 * changed:.1f} % of the pixels changed class."


def adapted_config(original: Checkpoint, adaptation: Adaptation) -> CheckpointConfig:
    """What the adapted weights are: the original's config with the method, the photos and where it started."""
    config, method = original.config, adaptation.options.method
    count = f"{adaptation.photos} photo{'' if adaptation.photos == 1 else 's'}"
    behind = f", {METHODS[method].title} on {count}"
    targets = [part for part in (config.target or "").split(" + ") if part]
    changes: dict[str, Any] = {
        "title": f"{config.title[: TITLE_LENGTH - len(behind)]}{behind}",
        "method": method,
        "target": " + ".join(dict.fromkeys([*targets, PhotoFolder.name])),
        "initialisation": f"{original.repository or original.name} ({config.method})",
        "weights_sha256": "",
    }
    return config.model_copy(update=changes)


def _descend(network: Segmenter, stream: _Stream, options: AdaptOptions) -> None:
    """TENT's steps."""
    method = build_method("tent", network).train()
    optimiser = Adam([each for each in network.parameters() if each.requires_grad], lr=options.rate)
    for _ in range(options.passes):
        for pair in stream.once():
            for update in method.step(pair):
                torch.stack(list(update.losses.values())).sum().backward()
                optimiser.step()
                optimiser.zero_grad()


class _Stream:
    """Photos as pairs without a source, pass after pass: those that cannot be read once, and none after the time is over."""

    def __init__(
        self,
        predictor: Predictor,
        photos: Sequence[Photo | str | Path],
        total: int,
        progress: Callable[[int, int], None] | None,
        seconds: float | None,
    ) -> None:
        self.predictor, self.photos, self.total, self.progress = predictor, photos, total, progress
        self.began, self.seconds = time.monotonic(), seconds
        self.unread: dict[int, str] = {}
        self.read = 0
        self.stopped = False
        self._shown = 0

    def once(self, *, final: bool = False) -> Iterator[DomainPair]:
        """All photos once; the last pass has the rest of the time, and at least one photo."""
        self.read = 0
        for number, source in enumerate(self.photos):
            if self._over(1.0 if final else STEPS_SHARE) and (self.read or not final):
                self.stopped = True
                return
            if number not in self.unread:
                try:
                    pixels = _opened(source).pixels
                except PhotoError as error:
                    self.unread[number] = str(error)
                else:
                    yield from map(_pair, self.predictor.shown(pixels))
                    self.read += 1
            self._shown += 1
            if self.progress is not None:
                self.progress(self._shown, self.total)

    def _over(self, share: float) -> bool:
        return self.seconds is not None and time.monotonic() - self.began > share * self.seconds


def _opened(source: Photo | str | Path) -> Photo:
    return source if isinstance(source, Photo) else read_photo(source)


def _pair(images: Tensor) -> DomainPair:
    nothing = images[:0]
    return DomainPair(nothing, torch.zeros((0, *images.shape[2:]), dtype=torch.int64), images, ())


def _norm_tensors(core: nn.Module) -> dict[str, Tensor]:
    """Copies of what the batch norms hold, by their names in the core's state dict."""
    norms = {name for name, module in core.named_modules() if isinstance(module, nn.BatchNorm2d)}
    return {
        key: value.detach().cpu().clone() for key, value in core.state_dict().items() if key.rpartition(".")[0] in norms
    }
