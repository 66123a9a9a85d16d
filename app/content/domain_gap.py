"""How far apart two domains are for a network: entropy, features, proxy A-distance and batch-norm statistics.

Each network predicts a few pictures of each domain once; the small summary of them is stored in the cache and used for
every pair with that domain. Imports no UI library.

proxy A-distance    2 (1 - 2 e), where e is the held-out error of a linear classifier that separates the domains by the
                    features at single positions (Ben-David et al., NIPS 2006, as Ganin et al. use it); 0 if it cannot
                    separate them, 2 if it always can
batch-norm shift    mean over a layer's channels of |m_t - m_s| / s_s, where m and s are the mean and standard deviation of
                    the layer's input on source and target
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
from sim2street.app.content.figures import encoder_of, miou_on_target
from sim2street.app.content.labelled_sets import LabelledSet
from sim2street.models.errors import ConfigError, UnreadableError
from sim2street.models.predictor import best_device
from sim2street.models.storage.cache import GAPS, cache_folder, mark_used
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import written_whole

FIRST_PAIR: Final = ("street_scenes/game", "street_scenes/fog")
"""Source and target that a page begins with."""
FORMAT: Final = 1
PICTURES: Final = 16
"""Pictures taken from each domain, evenly spread over it."""
POSITIONS: Final = 24
"""Random positions of the feature map that are kept of each picture."""
BINS: Final = 32
"""Bins of the entropy histogram."""
RIDGE: Final = 1e-2
"""Weight of the linear classifier's penalty, per sample, on standardised features."""


@dataclass(frozen=True, eq=False)
class DomainReading:
    """Summary of a network's predictions on a domain.

    Attributes:
        entropy: (BINS,) share of the pixels by entropy in [0,1], summing to one.
        features: (N, D) float32 features at single positions of the deepest feature map.
        picture: (N,) number of the picture that each is from.
        means: for each batch-norm layer, (C,) means of its input.
        deviations: for each batch-norm layer, (C,) standard deviations of its input.
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
        source: reading of the source domain.
        target: reading of the target domain.
        plane: (N + M, 2) features of source, then target, on their two principal axes.
        explained: share of the variance on the two axes, in [0,1].
        distance: proxy A-distance in [0,2]; close to 0 if a classifier does no better than chance.
        shifts: batch-norm shift of each layer, from input to output; empty for a network without batch norm.
    """

    source: DomainReading
    target: DomainReading
    plane: NDArray[np.float64]
    explained: float
    distance: float
    shifts: list[float]


def first_networks(checkpoints: Sequence[Checkpoint]) -> tuple[Checkpoint, Checkpoint]:
    """Choose what a page begins with: source-only, and the network on its encoder that adaptation to the target served best.

    Of those adapted to the target of `FIRST_PAIR`, the one with the highest mIoU there is taken, the first of equals.

    Args:
        checkpoints: at least one.
    """
    target = FIRST_PAIR[1]
    adapted = [each for each in checkpoints if each.config.target == target]
    after = max(adapted, key=miou_on_target, default=checkpoints[-1])
    plain = [each for each in checkpoints if each.config.method == "source_only"]
    alike = [each for each in plain if encoder_of(each.config) == encoder_of(after.config)]
    return next(iter([*alike, *plain, checkpoints[0]])), after


def gap_between(source: DomainReading, target: DomainReading) -> Gap:
    """Compare two readings by the same network."""
    plane, explained = principal_plane(np.concatenate([source.features, target.features]))
    return Gap(source, target, plane, explained, proxy_distance(source, target), batch_norm_shifts(source, target))


def principal_plane(features: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Project (N, D) features on the two axes of largest variance: (N, 2), and these axes' share of the variance in [0,1]."""
    centred = features.astype(np.float64) - features.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    total = float((values**2).sum())
    return left[:, :2] * values[:2], float((values[:2] ** 2).sum() / total) if total else 0.0


def proxy_distance(source: DomainReading, target: DomainReading) -> float:
    """Proxy A-distance in [0,2] by a linear classifier that is tested on pictures other than those it is trained on.

    It is trained on the even pictures and tested on the odd ones, then the reverse; the error is the mean of both.
    """
    features = np.concatenate([source.features, target.features]).astype(np.float64)
    domain = np.concatenate([np.full(len(source.features), -1.0), np.full(len(target.features), 1.0)])
    even = np.concatenate([source.picture, target.picture]) % 2 == 0
    error = np.mean([_held_out_error(features, domain, trained) for trained in (even, ~even)])
    return float(np.clip(2 * (1 - 2 * error), 0, 2))


def _held_out_error(features: NDArray[np.float64], domain: NDArray[np.float64], trained: NDArray[np.bool_]) -> float:
    """Fit a linear classifier to the `trained` samples by ridge regression; returns its error on the others, in [0,1]."""
    mean, deviation = features[trained].mean(axis=0), features[trained].std(axis=0)
    scaled = np.column_stack([(features - mean) / np.where(deviation > 0, deviation, 1), np.ones(len(features))])
    known = scaled[trained]
    penalty = RIDGE * len(known) * np.eye(known.shape[1])
    penalty[-1, -1] = 0  # the bias is free
    weights = np.linalg.solve(known.T @ known + penalty, known.T @ domain[trained])
    return float(((scaled[~trained] @ weights > 0) != (domain[~trained] > 0)).mean())


def batch_norm_shifts(source: DomainReading, target: DomainReading) -> list[float]:
    """For each layer, the mean difference of its channels' means, in standard deviations of the source."""
    return [
        float((np.abs(there - here) / np.maximum(deviation, 1e-6)).mean())
        for here, there, deviation in zip(source.means, target.means, source.deviations, strict=True)
    ]


def stored_reading(labelled: LabelledSet, checkpoint: Checkpoint) -> DomainReading | None:
    """Load the stored reading of a domain; None if there is none or it is damaged."""
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
    """Start to compute the missing readings of all domains with all checkpoints, in the background.

    Raises:
        BusyError: too many computations are already waiting.
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
    """Key of the background task for these domains and checkpoints."""
    return ("gap", *(each.key for each in domains), *(each.config.weights_sha256 for each in checkpoints))


def _read_missing(engine: Engine, missing: Sequence[tuple[LabelledSet, Checkpoint]], task: Task) -> None:
    for labelled, checkpoint in missing:
        _store(_path(labelled, checkpoint), read_domain(engine, labelled, checkpoint, task))


def read_domain(engine: Engine, labelled: LabelledSet, checkpoint: Checkpoint, task: Task) -> DomainReading:
    """Predict `PICTURES` pictures of a domain; waits for the engine's turn before each.

    Raises:
        Sim2StreetError: a picture cannot be read, or the network does not return features.
        StoppedError: the task was stopped.
    """
    generator = np.random.default_rng(0)
    entropy, features, picture, moments = np.zeros(BINS), [], [], Moments()
    places = np.unique(np.linspace(0, len(labelled) - 1, min(PICTURES, len(labelled))).astype(int))
    for number, index in enumerate(places.tolist()):
        pixels = labelled.scene(index).photo.pixels
        with engine.turns.turn():
            # Load the network before `_look`: weights loaded in inference mode could not be used outside it.
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
    """Predict one picture: (BINS,) pixels by entropy and (h·w, D) features; batch-norm inputs are added to `moments`."""
    image = torch.from_numpy(pixels.copy()).to(best_device()).permute(2, 0, 1)[None] / 255
    with moments.gathered(segmenter):
        output = segmenter(image)
    if not output.features:
        raise ConfigError(
            f"The network {checkpoint.config.network} does not return features to compare. Choose another checkpoint."
        )
    log = output.logits.float().log_softmax(dim=1)
    entropy = -(log.exp() * log).sum(dim=1) / np.log(log.shape[1])
    counts = torch.histc(entropy.clamp(0, 1).cpu(), BINS, 0, 1)
    deepest = list(output.features.values())[-1][0].float().cpu()
    return counts.double().numpy(), deepest.flatten(1).T.numpy()


class Moments:
    """Means and standard deviations of the input of each batch-norm layer, over all pictures."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, Tensor, int]] = {}

    @contextmanager
    def gathered(self, segmenter: nn.Module) -> Iterator[None]:
        """Record every forward pass of the network within the block."""
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
        """(C,) means and (C,) deviations of each layer, in the order in which the network first used them."""
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
            f"Results cannot be stored in {path.parent}: {error.strerror or error}. Set SIM2STREET_CACHE to a writable"
            " folder."
        ) from error


INTRODUCTION: Final = (
    "A gap between two domains can be seen without labels: on the target a network is less certain, its features tell the"
    " domains apart, and its batch norms see other statistics. Adaptation should narrow the gap."
)
HOW: Final = (
    f"Computed from {PICTURES} images of each domain at Compare's display size, with {POSITIONS} positions of the deepest"
    " feature map of each. Most rendered looks show the same streets, so the gap between them is one of appearance alone. The"
    " proxy A-distance is 2 (1 − 2ε), where ε is the error of a linear classifier on held-out images: 0 if it cannot"
    " separate the domains, 2 if it always can."
)


def in_words(before: Gap, after: Gap) -> str:
    """Describe the change from one gap to the other in two sentences."""
    change = after.distance - before.distance
    if abs(change) < 0.05:
        said = (
            f"Adaptation leaves the domains' features as separable as before (proxy A-distance {after.distance:.2f})."
        )
    else:
        nearer = "closer together" if change < 0 else "further apart"
        said = (
            f"After adaptation the domains' features are {nearer}: the proxy A-distance goes from {before.distance:.2f} to"
            f" {after.distance:.2f}."
        )
    sure = [mean_entropy(gap.target) for gap in (before, after)]
    return f"{said} The mean entropy on the target goes from {sure[0]:.2f} to {sure[1]:.2f}."


def mean_entropy(reading: DomainReading) -> float:
    """Mean entropy in [0,1], from the centres of the bins."""
    return float((reading.entropy * (np.arange(BINS) + 0.5) / BINS).sum())
