"""A training step of this project and a plain rendering of the authors' step, on the same images and the same networks.

The plain steps keep the authors' order of operations in eager PyTorch: images stored channel by channel, every map
upsampled before it is compared, one backward pass a term. Both sides take the images as given; loading is not measured.
"""

from __future__ import annotations

import copy
import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.peers import plainly_stacked
from sim2street.models.label_space import IGNORE
from sim2street.models.networks.daformer import EncoderAndHead
from sim2street.models.networks.for_training import LinearByRows, PointwiseByRows
from sim2street.training.config import load_recipe
from sim2street.training.methods.advent import ADVENT
from sim2street.training.methods.daformer import DAFormer
from sim2street.training.methods.parts.class_mix import choose_classes
from sim2street.training.methods.parts.strong_augmentation import augment
from sim2street.training.pair import DomainPair
from sim2street.training.run.loop import Run

RECIPES = {"ADVENT": "demo_game_to_fog__advent_cnn", "DAFormer": "demo_game_to_fog__daformer_mit"}
FEW = ["sources.0.count=2", "target.count=2", "evaluations=[]", "workers=0", "sampling=uniform"]

Step = Callable[[], object]


@contextmanager
def both(name: str) -> Iterator[tuple[Step, Step, str]]:
    """A step of the loop and a plain one, and in words what they are steps of.

    Args:
        name: a key of `RECIPES`.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = load_recipe(RECIPES[name], FEW)
        run = Run(config, Path(folder), resume=False)
        pair = next(run.pairs.stream(0))
        plain = PLAIN[name](_plain_layers(copy.deepcopy(run.method)))
        images = pair.source_images
        try:
            yield (
                lambda: run.take_step(itertools.repeat(pair)),
                lambda: plain(pair),
                f"{config.batch} + {config.batch} crops of {images.shape[3]}×{images.shape[2]}",
            )
        finally:
            if run.journal is not None:
                run.journal.close()


def _plain_layers(method: nn.Module) -> nn.Module:
    """A method's networks as PyTorch computes them when nothing is said."""
    for layer in method.modules():
        for quick, plain in ((LinearByRows, nn.Linear), (PointwiseByRows, nn.Conv2d)):
            if type(layer) is quick:
                layer.__class__ = plain
    return method.to(memory_format=torch.contiguous_format)  # pyright: ignore


class PlainADVENT:
    """ADVENT's step (github.com/valeoai/ADVENT, train_adversarial_entropy)."""

    def __init__(self, method: ADVENT) -> None:
        self.method = method
        self.networks = [method.networks[name] for name in method.trained]
        self.optimisers = [torch.optim.SGD(self.networks[0].parameters(), lr=0.0, momentum=0.9, weight_decay=5e-4)]
        self.optimisers += [
            torch.optim.Adam(each.parameters(), lr=0.0, betas=(0.9, 0.99)) for each in self.networks[1:]
        ]

    def __call__(self, pair: DomainPair) -> None:
        """Take one step."""
        segmenter, discriminators = self.networks[0], self.networks[1:]
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        for each in discriminators:
            each.requires_grad_(False)
        source = _heads(segmenter, pair.source_images)
        cross_entropies = [F.cross_entropy(logits, pair.source_labels, ignore_index=IGNORE) for logits in source]
        _sum(cross_entropies, (1.0, 0.1)).backward()
        target = _heads(segmenter, pair.target_images)
        fooled = [_verdict(judge, logits, 0.0) for judge, logits in zip(discriminators, target, strict=False)]
        _sum(fooled, (1e-3, 2e-4)).backward()
        for each in discriminators:
            each.requires_grad_(True)
        for maps, domain in ((source, 0.0), (target, 1.0)):
            for judge, logits in zip(discriminators, maps, strict=False):
                (_verdict(judge, logits.detach(), domain) / 2).backward()
        for optimiser in self.optimisers:
            optimiser.step()


class PlainDAFormer:
    """DAFormer's step (github.com/lhoyer/DAFormer, DACS.forward_train)."""

    def __init__(self, method: DAFormer) -> None:
        self.method = method
        self.student, self.teacher, self.anchor = method.segmenter, method.teacher, method.anchor
        self.optimiser = torch.optim.AdamW(self.student.parameters(), lr=0.0, weight_decay=0.01)

    def __call__(self, pair: DomainPair) -> None:
        """Take one step."""
        options, student = self.method.options, self.student
        self.optimiser.zero_grad()
        with torch.no_grad():
            for mine, theirs in zip(self.teacher.segmenter.parameters(), student.parameters(), strict=True):
                mine.data = options.teacher_momentum * mine.data + (1 - options.teacher_momentum) * theirs.data
        logits, features = _plainly_segmented(student, pair.source_images)
        F.cross_entropy(logits, pair.source_labels, ignore_index=IGNORE).backward(retain_graph=self.anchor is not None)
        if self.anchor is not None:
            stage = options.distance_stage
            with torch.no_grad():
                fixed = self.anchor.encode(pair.source_images)[stage]
            distance = (features[stage] - fixed).norm(dim=1)
            things = self._things(pair.source_labels, distance.shape[-2:])
            (options.distance_weight * distance[things].mean()).backward()
        with torch.no_grad():
            probabilities = torch.softmax(_plainly_segmented(self.teacher.segmenter, pair.target_images)[0], dim=1)
            highest, pseudo = probabilities.max(dim=1)
            weights = torch.full_like(highest, float((highest >= options.threshold).sum()) / highest.numel())
        images, labels, chosen = [], [], choose_classes(pair.source_labels)
        for index, classes in enumerate(chosen):
            mask = (pair.source_labels[index][None] == classes[:, None, None]).sum(dim=0)
            images.append(mask * pair.source_images[index] + (1 - mask) * pair.target_images[index])
            labels.append(mask * pair.source_labels[index] + (1 - mask) * pseudo[index])
            weights[index] = mask + (1 - mask) * weights[index]
        logits, _ = _plainly_segmented(student, augment(torch.stack(images), options.jitter))
        losses = F.cross_entropy(logits, torch.stack(labels), ignore_index=IGNORE, reduction="none")
        (losses * weights).mean().backward()
        self.optimiser.step()

    def _things(self, labels: Tensor, size: torch.Size) -> Tensor:
        """Cells of which three quarters are one class of things, by the authors' one-hot maps."""
        space = self.student.labels
        hot = F.one_hot(torch.where(labels == IGNORE, space.count, labels), space.count + 1).permute(0, 3, 1, 2)
        share, label = F.avg_pool2d(hot.float(), labels.shape[-1] // size[-1]).max(dim=1)
        return torch.isin(label, torch.tensor(space.things)) & (share >= 0.75)


PLAIN: dict[str, Callable[..., Callable[[DomainPair], None]]] = {"ADVENT": PlainADVENT, "DAFormer": PlainDAFormer}


def _heads(segmenter: nn.Module, images: Tensor) -> list[Tensor]:
    output = segmenter(images)
    return [output.logits] if output.auxiliary is None else [output.logits, output.auxiliary]


def _verdict(judge: nn.Module, logits: Tensor, domain: float) -> Tensor:
    shares = F.softmax(logits, dim=1)
    verdict = judge(-shares * torch.log2(shares + 1e-30) / torch.log2(torch.tensor(float(shares.shape[1]))))
    return F.binary_cross_entropy_with_logits(verdict, torch.full_like(verdict, domain))


def _sum(losses: list[Tensor], weights: tuple[float, ...]) -> Tensor:
    return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=False)]).sum()


def _plainly_segmented(segmenter: nn.Module, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits at the images' size, and features, with a head that works layer after layer."""
    core = segmenter.core
    assert isinstance(core, EncoderAndHead)
    features = core.encode(segmenter.normalise(images))  # pyright: ignore
    logits = plainly_stacked(core.head, list(features.values()))
    return F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False), features
