"""Test-time adaptation: adapt a trained checkpoint to unlabelled photos.

It needs neither source pictures nor labels. Only the batch norms change: their statistics (AdaBN), or also their scales and
shifts (TENT). An `Adaptation` stores just these tensors. The original is not changed, so it can always be used again.
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
"""Methods that need only a trained network and unlabelled photos."""
TITLE_LENGTH: Final = 80
"""Longest title of a checkpoint, in characters."""
STEPS_SHARE: Final = 0.7
"""Share of a time limit for TENT's steps; the rest is for the final batch-norm statistics."""


@dataclass(frozen=True)
class AdaptOptions:
    """How to adapt; the defaults are those of TENT's authors.

    Attributes:
        method: one of `AT_TEST_TIME`.
        passes: TENT's passes over the photos, 1 to 100.
        rate: learning rate of TENT's Adam, above 0 and at most 1.
        seconds: time limit after which no further photo is started; None for no limit.

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
    """The result of an adaptation.

    Attributes:
        options: the options it was made with.
        tensors: name in the state dict of the network's core -> new value of a batch norm's tensor, on the CPU.
        photos: number of photos from which the statistics were computed.
        unread: a sentence for each photo that could not be read.
        stopped: whether the time limit was reached before all passes were complete.
    """

    options: AdaptOptions
    tensors: dict[str, Tensor]
    photos: int
    unread: list[str] = field(default_factory=list)
    stopped: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of the tensors, as hex."""
        digest = hashlib.sha256()
        for key, value in sorted(self.tensors.items()):
            digest.update(key.encode())
            digest.update(value.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def apply(self, segmenter: Segmenter) -> Segmenter:
        """Load the tensors into a network with the same architecture and return it."""
        segmenter.core.load_state_dict(self.tensors, strict=False)
        return segmenter


class AdaptedCheckpoint(Checkpoint):
    """A checkpoint with an adaptation, in memory only and without metrics.

    Args:
        original: the checkpoint that was adapted; not changed.
        adaptation: the adaptation to apply.
    """

    def __init__(self, original: Checkpoint, adaptation: Adaptation) -> None:
        sha256 = hashlib.sha256(f"{original.config.weights_sha256} {adaptation.digest}".encode()).hexdigest()
        config = adapted_config(original, adaptation).model_copy(update={"weights_sha256": sha256})
        super().__init__(original.path, config, {})
        self.original = original
        self.adaptation = adaptation

    @property
    def name(self) -> str:
        """The original's name followed by the method's."""
        return f"{self.original.name}_{self.adaptation.options.method}"

    def load(self) -> Segmenter:
        """The original's network with the adaptation's tensors."""
        return self.adaptation.apply(self.original.load())


@dataclass(frozen=True)
class Change:
    """The change of the prediction for one photo.

    Attributes:
        photo: name of the photo.
        entropy: mean normalised entropy in [0,1], before and after.
        changed: share of the pixels whose predicted class changed, in [0,1].
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
    """Adapt a predictor's network in place to photos, one after the other, at the predictor's size and windows.

    Args:
        predictor: its network is adapted, so it must not be shared with other users. It is one from `Checkpoint.load`:
            `Predictor.from_checkpoint` has its batch norms merged, which leaves nothing to adapt.
        photos: photos, or paths of files that are read one at a time.
        options: method and settings.
        progress: called with photos done and photos in all, over all passes.

    Raises:
        ConfigError: the network has no batch norm, or one that sees a single value per channel; or the learning rate is so
            large that tensors became NaN or infinite.
        PhotoError: none of the photos can be read.
    """
    network = predictor.segmenter
    if not batch_norms(network):
        raise ConfigError(
            "This network has no batch norm, and AdaBN and TENT adapt nothing else. Choose another checkpoint."
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
            "A batch norm of this network sees a single value per channel, from which no statistics can be computed. Choose"
            " another checkpoint."
        ) from error
    finally:
        network.requires_grad_(True).eval()
    if not stream.read:
        raise PhotoError(f"None of the {len(photos)} photos can be read. {' '.join(stream.unread.values())}".strip())
    tensors = _norm_tensors(network.core)
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values() if value.is_floating_point()):
        raise ConfigError(f"The weights became NaN or infinite; try a learning rate below {options.rate:g}.")
    return Adaptation(options, tensors, stream.read, list(stream.unread.values()), stream.stopped)


def compare(
    before: Predictor,
    after: Predictor,
    photos: Sequence[Photo | str | Path],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[Change]:
    """Predict photos before and after adaptation; photos that cannot be read are left out."""
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
    """Summarise the changes over all photos, and what they do not tell."""
    before, after = (float(np.mean([change.entropy[place] for change in changes])) for place in (0, 1))
    changed = float(np.mean([change.changed for change in changes]))
    said = f"Mean entropy {before:.3f} before and {after:.3f} after; {100 * changed:.1f} % of the pixels changed class."
    warning = (
        "More certain does not mean more accurate."
        if after < before
        else "The network has not become more certain, so adapting has probably not helped."
    )
    return f"{said} {warning}"


def adapted_config(original: Checkpoint, adaptation: Adaptation) -> CheckpointConfig:
    """Config of the adapted checkpoint: the original's, with method, title, target and initialisation updated."""
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
    """Run TENT's optimisation steps."""
    method = build_method("tent", network).train()
    optimiser = Adam([each for each in network.parameters() if each.requires_grad], lr=options.rate)
    for _ in range(options.passes):
        for pair in stream.once():
            for update in method.step(pair):
                torch.stack(list(update.losses.values())).sum().backward()
                optimiser.step()
                optimiser.zero_grad()


class _Stream:
    """Yields photos as pairs without a source, pass after pass, within the time limit.

    A photo that cannot be read is tried only once.
    """

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
        """Yield all photos once; only the final pass may use the whole time, and it yields at least one photo."""
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
    """Copies of the batch norms' tensors, by their names in the core's state dict."""
    norms = {name for name, module in core.named_modules() if isinstance(module, nn.BatchNorm2d)}
    return {
        key: value.detach().cpu().clone() for key, value in core.state_dict().items() if key.rpartition(".")[0] in norms
    }
