"""How far apart two domains are for a network: entropy, features, a proxy distance and batch-norm statistics.

Each network reads some pictures of each domain once; what is kept of that is small, stored in the cache, and shared by all
pairs that it is part of. No UI library in here.

proxy A-distance    2 (1 - 2 e), e the held-out error of a linear classifier that tells the domains apart by features of
                    single positions (Ben-David et al., NIPS 2006, as Ganin et al. use it); 0: it cannot, 2: it always can
batch-norm shift    mean over a layer's channels of |m_t - m_s| / s_s, means and deviations of what reaches the layer
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sim2street.app.content.background import BACKGROUND, Task
from sim2street.app.content.engine import Engine, network
from sim2street.app.content.labelled_sets import LabelledSet
from sim2street.models.errors import ConfigError, UnreadableError
from sim2street.models.predictor import best_device
from sim2street.models.storage.cache import GAPS, cache_folder, mark_used
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import written_whole

FORMAT: Final = 1
PICTURES: Final = 16
"""Pictures of each domain, evenly spread over it."""
POSITIONS: Final = 24
"""Positions of the feature map that are kept of each picture, drawn at random."""
BINS: Final = 32
"""Of the entropy's distribution."""
RIDGE: Final = 1e-2
"""Weight of the linear classifier's penalty, per sample, on standardised features."""


@dataclass(frozen=True, eq=False)
class DomainReading:
    """What is kept of a network's reading of a domain.

    Attributes:
        entropy: (BINS,) share of the pixels by entropy in [0,1], summing to one.
        features: (N, D) float32 of single positions of the deepest feature map.
        picture: (N,) which picture each is from.
        means: per batch-norm layer (C,), of what reaches it.
        deviations: per batch-norm layer (C,), likewise.
    """

    entropy: NDArray[np.float64]
    features: NDArray[np.float32]
    picture: NDArray[np.int64]
    means: list[NDArray[np.float64]]
    deviations: list[NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Gap:
    """How far apart two domains are for one network.

    Attributes:
        source: reading of one domain.
        target: of the other.
        plane: (N + M, 2) features of source, then target, on their two principal axes.
        explained: share of the variance that the two axes hold, in [0,1].
        distance: proxy A-distance in [0,2]; nearly 0 where a classifier does no better than chance.
        shifts: per batch-norm layer, from the input on; empty for a network without batch norm.
    """

    source: DomainReading
    target: DomainReading
    plane: NDArray[np.float64]
    explained: float
    distance: float
    shifts: list[float]


def gap_between(source: DomainReading, target: DomainReading) -> Gap:
    """Compare two readings by the same network."""
    plane, explained = principal_plane(np.concatenate([source.features, target.features]))
    return Gap(source, target, plane, explained, proxy_distance(source, target), batch_norm_shifts(source, target))


def principal_plane(features: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """(N, D) -> (N, 2) on the two axes of largest variance, and the share of the variance that they hold."""
    centred = features.astype(np.float64) - features.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    total = float((values**2).sum())
    return left[:, :2] * values[:2], float((values[:2] ** 2).sum() / total) if total else 0.0


def proxy_distance(source: DomainReading, target: DomainReading) -> float:
    """Proxy A-distance in [0,2] by a linear classifier, which never sees positions of the pictures that it is tested on.

    Pictures of even and odd places take turns as training and test; the error is the mean of both.
    """
    features = np.concatenate([source.features, target.features]).astype(np.float64)
    domain = np.concatenate([np.full(len(source.features), -1.0), np.full(len(target.features), 1.0)])
    even = np.concatenate([source.picture, target.picture]) % 2 == 0
    error = np.mean([_held_out_error(features, domain, trained) for trained in (even, ~even)])
    return float(np.clip(2 * (1 - 2 * error), 0, 2))


def _held_out_error(features: NDArray[np.float64], domain: NDArray[np.float64], trained: NDArray[np.bool_]) -> float:
    """Error on the other samples of a linear classifier that ridge regression fits to the `trained` ones."""
    mean, deviation = features[trained].mean(axis=0), features[trained].std(axis=0)
    scaled = np.column_stack([(features - mean) / np.where(deviation > 0, deviation, 1), np.ones(len(features))])
    known = scaled[trained]
    penalty = RIDGE * len(known) * np.eye(known.shape[1])
    penalty[-1, -1] = 0  # the bias is free
    weights = np.linalg.solve(known.T @ known + penalty, known.T @ domain[trained])
    return float(((scaled[~trained] @ weights > 0) != (domain[~trained] > 0)).mean())


def batch_norm_shifts(source: DomainReading, target: DomainReading) -> list[float]:
    """Per layer, by how many of the source's deviations its channels' means differ, on average."""
    return [
        float((np.abs(there - here) / np.maximum(deviation, 1e-6)).mean())
        for here, there, deviation in zip(source.means, target.means, source.deviations, strict=True)
    ]


def stored_reading(labelled: LabelledSet, checkpoint: Checkpoint) -> DomainReading | None:
    """What was kept of a network's reading of a domain; None where there is nothing, or it is damaged."""
    path = _path(labelled, checkpoint)
    try:
        with np.load(path, allow_pickle=False) as stored:
            ends = np.cumsum(stored["channels"])[:-1]
            reading = DomainReading(
                stored["entropy"],
                stored["features"],
                stored["picture"],
                np.split(stored["means"], ends) if len(stored["channels"]) else [],
                np.split(stored["deviations"], ends) if len(stored["channels"]) else [],
            )
    except Exception:  # whatever a damaged file makes NumPy raise
        return None
    mark_used(path)
    return reading


def begin(engine: Engine, domains: Sequence[LabelledSet], checkpoints: Sequence[Checkpoint]) -> Task:
    """Read the domains with the networks in the background, where that was not done before.

    Raises:
        BusyError: too many computations wait already.
    """
    missing = [
        (labelled, checkpoint)
        for labelled in domains
        for checkpoint in checkpoints
        if stored_reading(labelled, checkpoint) is None
    ]
    total = sum(min(PICTURES, len(labelled)) for labelled, _ in missing)
    return BACKGROUND.start(task_key(domains, checkpoints), total, partial(_read_missing, engine, missing))


def task_key(domains: Sequence[LabelledSet], checkpoints: Sequence[Checkpoint]) -> tuple[str, ...]:
    """Name of the task that reads these."""
    return ("gap", *(each.key for each in domains), *(each.config.weights_sha256 for each in checkpoints))


def _read_missing(engine: Engine, missing: Sequence[tuple[LabelledSet, Checkpoint]], task: Task) -> None:
    for labelled, checkpoint in missing:
        _store(_path(labelled, checkpoint), read_domain(engine, labelled, checkpoint, task))


def read_domain(engine: Engine, labelled: LabelledSet, checkpoint: Checkpoint, task: Task) -> DomainReading:
    """Read some pictures of a domain, each when the engine's turn comes.

    Raises:
        Sim2StreetError: a picture cannot be read, or the network shows no features.
        StoppedError: somebody has stopped the task.
    """
    generator = np.random.default_rng(0)
    entropy, features, picture, moments = np.zeros(BINS), [], [], Moments()
    places = np.unique(np.linspace(0, len(labelled) - 1, min(PICTURES, len(labelled))).astype(int))
    for number, index in enumerate(places.tolist()):
        pixels = labelled.scene(index).photo.pixels
        with engine.turns.turn():
            # Read before `_look`: what is read in inference mode can serve nobody else afterwards.
            spread, maps = _look(checkpoint, network(checkpoint), pixels, moments)
        entropy += spread
        chosen = generator.choice(len(maps), min(POSITIONS, len(maps)), replace=False)
        features.append(maps[chosen])
        picture.append(np.full(len(chosen), number))
        task.report(task.done + 1)
    means, deviations = moments.result()
    return DomainReading(entropy / entropy.sum(), np.concatenate(features), np.concatenate(picture), means, deviations)


@torch.inference_mode()
def _look(
    checkpoint: Checkpoint, segmenter: nn.Module, pixels: NDArray[np.uint8], moments: Moments
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """(BINS,) pixels by entropy, and (h·w, D) features of one picture; what reaches batch norm goes into `moments`."""
    image = torch.from_numpy(pixels.copy()).to(best_device()).permute(2, 0, 1)[None] / 255
    with moments.gathered(segmenter):
        output = segmenter(image)
    if not output.features:
        raise ConfigError(f"The network {checkpoint.config.network} shows no features that could be compared.")
    log = output.logits.float().log_softmax(dim=1)
    entropy = -(log.exp() * log).sum(dim=1) / np.log(log.shape[1])
    counts = torch.histc(entropy.clamp(0, 1).cpu(), BINS, 0, 1)
    deepest = list(output.features.values())[-1][0].float().cpu()
    return counts.double().numpy(), deepest.flatten(1).T.numpy()


class Moments:
    """Means and deviations of what reaches each batch-norm layer, over all pictures."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, Tensor, int]] = {}

    @contextmanager
    def gathered(self, segmenter: nn.Module) -> Iterator[None]:
        """Within the block every pass through the network is counted."""
        hooks = [
            module.register_forward_pre_hook(partial(self._add, name))
            for name, module in segmenter.named_modules()
            if isinstance(module, nn.BatchNorm2d)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _add(self, name: str, _module: nn.Module, inputs: tuple[Tensor]) -> None:
        values = inputs[0].double()
        total, squares, count = self._sums.get(name, (0, 0, 0))
        self._sums[name] = (
            total + values.sum(dim=(0, 2, 3)).cpu(),
            squares + values.square().sum(dim=(0, 2, 3)).cpu(),
            count + values.shape[0] * values.shape[2] * values.shape[3],
        )

    def result(self) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
        """Per layer that was passed, in the network's order of passing, (C,) means and (C,) deviations."""
        means, deviations = [], []
        for total, squares, count in self._sums.values():
            mean = total / count
            means.append(mean.numpy())
            deviations.append((squares / count - mean.square()).clamp(min=0).sqrt().numpy())
        return means, deviations


def _path(labelled: LabelledSet, checkpoint: Checkpoint) -> Path:
    name = f"{labelled.pictures.slug}_{labelled.fingerprint[:16]}_{checkpoint.config.weights_sha256[:16]}_{FORMAT}"
    return cache_folder() / GAPS / (re.sub(r"[^\w.+-]", "-", name) + ".npz")


def _store(path: Path, reading: DomainReading) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as half, half.open("wb") as file:  # to a name NumPy would add its own ending
            np.savez_compressed(
                file,
                entropy=reading.entropy,
                features=reading.features,
                picture=reading.picture,
                channels=np.array([len(mean) for mean in reading.means], np.int64),
                means=np.concatenate(reading.means) if reading.means else np.zeros(0),
                deviations=np.concatenate(reading.deviations) if reading.deviations else np.zeros(0),
            )
    except OSError as error:
        raise UnreadableError(
            f"What was read cannot be kept in {path.parent}: {error.strerror or error}. Set SIM2STREET_CACHE to a folder that"
            " can be written to."
        ) from error


INTRODUCTION: Final = (
    "A network shows a gap between two domains before any label is compared: it is less certain, its features separate the"
    " domains, and its batch-norm layers see different statistics. Adaptation should close this gap."
)
HOW: Final = (
    f"Computed from {PICTURES} pictures of each domain at Compare's display size, with {POSITIONS} positions of the deepest"
    " feature map of each. Most rendered looks show the same streets, so the gap between them is one of appearance alone. The"
    " proxy A-distance is 2 (1 − 2ε), where ε is the error of a linear classifier on held-out pictures: 0 if it cannot"
    " separate the domains, 2 if it always can."
)


def in_words(before: Gap, after: Gap) -> str:
    """What the two gaps say, in one sentence or two."""
    change = after.distance - before.distance
    if abs(change) < 0.05:
        said = f"The features tell the domains apart as well after as before (proxy A-distance {after.distance:.2f})."
    else:
        nearer = "nearer to each other" if change < 0 else "further apart"
        said = (
            f"After, the domains' features are {nearer}: the proxy A-distance goes from {before.distance:.2f} to"
            f" {after.distance:.2f}."
        )
    sure = [mean_entropy(gap.target) for gap in (before, after)]
    return f"{said} The mean entropy on the target goes from {sure[0]:.2f} to {sure[1]:.2f}."


def mean_entropy(reading: DomainReading) -> float:
    """In [0,1], by the middles of the bins."""
    return float((reading.entropy * (np.arange(BINS) + 0.5) / BINS).sum())
