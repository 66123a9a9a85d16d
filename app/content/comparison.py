"""One comparison: a scene, the checkpoints that read it, and what is shown of both. No UI library in here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sim2street.app.content import figures, panes
from sim2street.app.content.answer import answer
from sim2street.app.content.engine import Engine, Failure, Settings
from sim2street.app.content.figures import Entrant
from sim2street.app.content.gallery import Scene
from sim2street.app.content.identities import identity
from sim2street.models.errors import LabelError
from sim2street.models.importers import FAMILIES
from sim2street.models.label_space import LabelSpace
from sim2street.models.labels import LABEL_SPACES
from sim2street.models.storage.catalog import SHIPPED, CatalogEntry, catalog
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.methods import METHODS

HEADING: Final = "Trained on rendered streets. How well does it read yours?"
INTRODUCTION: Final = (
    "Networks trained on labelled renderings, side by side on one photo. Point to read a pixel in all of them; zoom,"
    " drag and swipe move all of them."
)
"""The first words of every page that compares."""


def listed_checkpoints() -> list[CatalogEntry]:
    """The catalog as it is now, from source-only to the field's newest method; nothing is waited for."""
    methods = list(METHODS)

    def place(entry: CatalogEntry) -> tuple[int, int]:
        method = entry.checkpoint.config.method if entry.checkpoint else ""
        return _year_of(method), methods.index(method) if method in methods else len(methods)

    return sorted(catalog(wait=False), key=place)


def _year_of(method: str) -> int:
    """Year of a method that is trained here or whose weights are imported; unknown ones come last."""
    if method in METHODS:
        return METHODS[method].year or 0
    return next((family.year for family in FAMILIES.values() if family.method == method), 9999)


def suited(checkpoints: Sequence[Checkpoint], *, rendered: bool) -> list[Checkpoint]:
    """Those to begin with on rendered streets or on real photos; the person can choose any others.

    They are those adapted to pictures of that kind and the source-only ones of the same encoders: what was adapted to
    another kind says nothing of its method here. Source-only ones of the person's own are always among them. Where no
    checkpoint was adapted to the kind, all of them.
    """

    def fits(checkpoint: Checkpoint) -> bool:
        target = checkpoint.config.target
        return target is not None and target.startswith("street_scenes/") == rendered

    encoders = {figures.encoder_of(checkpoint.config) for checkpoint in checkpoints if fits(checkpoint)}
    if not encoders:
        return list(checkpoints)

    def is_baseline(checkpoint: Checkpoint) -> bool:
        own = checkpoint.path.parent != SHIPPED
        return checkpoint.config.target is None and (own or figures.encoder_of(checkpoint.config) in encoders)

    return [each for each in checkpoints if fits(each) or is_baseline(each)]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What is known so far of a scene.

    Attributes:
        scene: the photo and its ground truth.
        entrants: the checkpoints that have read it.
        bundle: all that the viewer draws, those still to come and those that failed included.
        waiting: the checkpoints that are still to come.
    """

    scene: Scene
    entrants: list[Entrant]
    bundle: dict[str, Any]
    waiting: list[Checkpoint]


def in_common_classes(scene: Scene, checkpoints: Sequence[Checkpoint]) -> Scene:
    """The scene in classes into which those of all checkpoints can be merged, finest first.

    Where there are none it stays as it is, and those that do not fit are said to fail.
    """
    spaces = [checkpoint.config.space for checkpoint in checkpoints]
    own = [] if scene.truth is None else [scene.space]
    common = sorted({scene.space, *spaces, *LABEL_SPACES.values()}, key=lambda space: -space.count)
    for space in [scene.space, *common]:
        if all(_merges(space, finer) for finer in [*spaces, *own]):
            truth = None if scene.truth is None else space.relabel(scene.truth, scene.space)
            return scene if space == scene.space else replace(scene, space=space, truth=truth)
    return scene


def _merges(space: LabelSpace, finer: LabelSpace) -> bool:
    try:
        members = space.members_in(finer)
    except LabelError:
        return False
    # Classes that have no place in the coarser space would vanish from the picture.
    return members is not None and {label for group in members for label in group} == set(range(finer.count))


def compare(
    engine: Engine,
    scene: Scene,
    checkpoints: Sequence[Checkpoint],
    everyone: Sequence[Checkpoint],
    settings: Settings,
    visitor: str,
) -> Iterator[Comparison]:
    """Yield what is known at once, then again after each checkpoint that has read the photo.

    Args:
        engine: reads and remembers.
        scene: what is read.
        checkpoints: those that were chosen.
        everyone: the catalogue, by which titles go.
        settings: how to read.
        visitor: name of the session.
    """
    scene = in_common_classes(scene, checkpoints)
    try:
        yield known_so_far(engine, scene, checkpoints, everyone, settings, visitor)
        for checkpoint in checkpoints:
            if engine.known(scene, checkpoint, settings, visitor) is None:
                engine.read(scene, checkpoint, settings, visitor)
                yield known_so_far(engine, scene, checkpoints, everyone, settings, visitor)
    finally:
        engine.release(visitor)


def known_so_far(
    engine: Engine,
    scene: Scene,
    checkpoints: Sequence[Checkpoint],
    everyone: Sequence[Checkpoint],
    settings: Settings,
    visitor: str,
) -> Comparison:
    """Collect what was read already, without reading; once that is all, the engine need not hold it any longer."""
    scene = in_common_classes(scene, checkpoints)
    titles = figures.unique_titles(everyone)
    entrants: list[Entrant] = []
    waiting: list[Checkpoint] = []
    empty: dict[str, list[dict[str, str]]] = {"waiting": [], "failed": []}
    for checkpoint in checkpoints:
        label = {
            "title": titles[checkpoint.name],
            "note": figures.trained_on(checkpoint.config),
            "colour": identity(checkpoint.config.method).colour,
        }
        known = engine.known(scene, checkpoint, settings, visitor)
        if known is None:
            waiting.append(checkpoint)
            empty["waiting"].append(label)
        elif isinstance(known, Failure):
            empty["failed"].append({**label, "reason": known.reason})
        else:
            score = None if scene.truth is None else panes.score(known, scene.truth)
            entrants.append(Entrant(checkpoint, panes.Reading(checkpoint.name, **label, pane=known, score=score)))
    if not waiting:
        engine.release(visitor)
    readings = [entrant.reading for entrant in entrants]
    bundle = panes.bundle(scene.photo, readings, space=scene.space, truth=scene.truth, **empty)
    for method, entrant in zip(bundle["methods"], entrants, strict=True):
        baseline = figures.baseline_of(entrant, entrants)
        method["baseline"] = baseline and baseline.reading.key
        method["idea"] = identity(entrant.checkpoint.config.method).idea
    bundle["answer"] = answer(entrants, scene.truth) if entrants and not waiting else ""
    return Comparison(scene, entrants, bundle, waiting)
