"""DANN on points in a plane: the source, the target turned against it, and features learned with a reversed gradient."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from sim2street.app.content import charts
from sim2street.app.content.demonstrations.parts import Demonstration, Request, Shown, Slider
from sim2street.models.networks.discriminators import FeatureDiscriminator
from sim2street.training.methods.losses import Domain, position_loss
from sim2street.training.methods.parts.gradient_reversal import reversal_factor, reverse_gradient

POINTS: Final = 128
"""Points of each domain."""
TURN: Final = 0.6
"""Angle in radians by which the target is turned against the source."""
NOISE: Final = 0.1
STEPS: Final = 300
SNAPSHOTS: Final = 20
"""Features are kept at the start and at this many equal shares of the run."""
ARROWS: Final = 24
"""Points of each domain at which the gradient is drawn."""
LEARNING_RATE: Final = 0.01


@dataclass(frozen=True)
class Snapshot:
    """The features at one moment of the run.

    Attributes:
        features: (2 · POINTS, 2), source first.
        forces: (2 · POINTS, 2), the direction in which the reversed gradient moves each feature, before its weight.
        accuracies: of the classifier on source and target and of the discriminator, in [0,1].
    """

    features: Tensor
    forces: Tensor
    accuracies: tuple[float, float, float]


def moons(generator: torch.Generator, turn: float) -> tuple[Tensor, Tensor]:
    """Points (POINTS, 2) of two interleaved half circles around the origin, turned by an angle, and their class (POINTS,)."""
    labels = torch.arange(POINTS) % 2
    angle = math.pi * torch.rand(POINTS, generator=generator)
    upper = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1)
    points = torch.where(labels[:, None] == 0, upper, -upper)
    points = points + NOISE * torch.randn(POINTS, 2, generator=generator)
    cosine, sine = math.cos(turn), math.sin(turn)
    return points @ torch.tensor([[cosine, sine], [-sine, cosine]]), labels


class Toy(nn.Module):
    """Features of points, their classifier, and the project's discriminator."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
        self.classifier = nn.Linear(2, 2)
        self.discriminator = FeatureDiscriminator(2, width=64)
        for module in self.discriminator.modules():
            if isinstance(module, nn.Dropout2d):
                module.p = 0.0  # of two features, dropping whole channels would leave nothing to learn from

    def domain_loss(self, source: Tensor, target: Tensor, factor: float) -> Tensor:
        """The discriminator's loss on features (N, 2) of both domains, its gradient reversed and weighted by `factor`."""
        halves = ((source, Domain.SOURCE), (target, Domain.TARGET))
        return torch.stack(
            [0.5 * position_loss(self.judged(reverse_gradient(each, factor)), domain) for each, domain in halves]
        ).sum()

    def judged(self, features: Tensor) -> Tensor:
        """The discriminator's logits (1, 2, 1, N): each point is a position of a feature map."""
        return self.discriminator(features.T.reshape(1, 2, 1, -1))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread within the block: on tensors this small, waiting for a second takes most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@functools.lru_cache(maxsize=16)
@one_thread()
def trained(weight: float, seed: int) -> tuple[Snapshot, ...]:
    """Train the toy with a weight of the reversed gradient; its features at each of `SNAPSHOTS` + 1 moments."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        toy = Toy()
    generator = torch.Generator().manual_seed(seed)
    (source, labels), (target, truth) = moons(generator, 0.0), moons(generator, TURN)
    optimiser = torch.optim.Adam(toy.parameters(), lr=LEARNING_RATE)
    kept = []
    for step in range(STEPS + 1):
        if step % (STEPS // SNAPSHOTS) == 0:
            kept.append(snapshot(toy, source, labels, target, truth))
        features = toy.features(source)
        factor = weight * reversal_factor(step / STEPS)
        loss = nn.functional.cross_entropy(toy.classifier(features), labels)
        loss = loss + toy.domain_loss(features, toy.features(target), factor)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return tuple(kept)


def snapshot(toy: Toy, source: Tensor, labels: Tensor, target: Tensor, truth: Tensor) -> Snapshot:
    """Features of both domains (N, 2), and the force of a reversed gradient of weight 1 on each."""
    features = toy.features(torch.cat([source, target])).detach().requires_grad_(True)
    first, second = features.split(len(source))
    (gradient,) = torch.autograd.grad(toy.domain_loss(first, second, 1.0), features)
    with torch.no_grad():
        right = toy.classifier(features).argmax(dim=1) == torch.cat([labels, truth])
        domains = toy.judged(features).argmax(dim=1).flatten() == torch.cat([labels * 0 + 1, truth * 0])
    on_source, on_target = right.float().split(len(source))
    accuracies = (float(on_source.mean()), float(on_target.mean()), float(domains.float().mean()))
    return Snapshot(features.detach(), -gradient, accuracies)


def show(request: Request) -> Shown:
    """The features at a share of the run, and lambda over the run."""
    progress, weight = request.number("progress"), request.number("weight")
    moment = trained(weight, request.count("seed"))[round(progress * SNAPSHOTS)]
    on_source, on_target, seen = (100 * accuracy for accuracy in moment.accuracies)
    factor = weight * reversal_factor(progress)
    words = (
        f"After {100 * progress:.0f} % of the run the classifier is right on {on_source:.0f} % of the source points and"
        f" **{on_target:.0f} % of the target points**, whose classes it never saw. The discriminator knows the domain of"
        f" {seen:.0f} %; 50 % is chance. Circles and crosses are the classes; lines show where the reversed gradient, here of"
        f" weight {factor:.2f}, moves features. With weight 0 it is off: that is the control."
    )
    return Shown(words, charts=(plane(moment, factor), schedule(progress, weight)))


def plane(moment: Snapshot, factor: float) -> go.Figure:
    """The feature plane: a domain per colour, a class per symbol, and the reversed gradient's pull."""
    points = moment.features.split(POINTS)
    figure = charts.plane([part.tolist() for part in points], ["source", "target"])
    symbols = ["circle" if each == 0 else "cross" for each in (torch.arange(POINTS) % 2).tolist()]
    figure.update_traces(marker={"symbol": symbols, "size": 7})
    reach = 0.25 * float(moment.features.std()) / (float(moment.forces.norm(dim=1).mean()) or 1.0)
    ends = moment.features + factor * reach * moment.forces
    chosen = [*range(ARROWS), *range(POINTS, POINTS + ARROWS)]
    starts, tips = moment.features[chosen].tolist(), ends[chosen].tolist()
    lines = [(start, tip, (None, None)) for start, tip in zip(starts, tips, strict=True)]
    figure.add_scatter(
        x=[point[0] for line in lines for point in line],
        y=[point[1] for line in lines for point in line],
        mode="lines",
        name="reversed gradient",
        line={"color": "rgba(128,128,128,.9)", "width": 1.5},
        hoverinfo="skip",
    )
    return figure


def schedule(progress: float, weight: float) -> go.Figure:
    """The weight of the reversed gradient over the run, with this moment marked."""
    shares = [place / 100 for place in range(101)]
    return charts.curve(
        [(share, weight * reversal_factor(share)) for share in shares],
        (progress, weight * reversal_factor(progress)),
        across="share of the run",
        up="weight of the reversed gradient",
    )


DEMONSTRATION: Final = Demonstration(
    title="Two half moons, and the same turned by 34 degrees",
    controls=(
        Slider("progress", "Share of the run", 0.0, 1.0, 1.0, 1 / SNAPSHOTS),
        Slider("weight", "Weight of the reversed gradient", 0.0, 1.0, 0.5, 0.25),
        Slider("seed", "Start", 0, 4, 1, 1),
    ),
    show=show,
)
