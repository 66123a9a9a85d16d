"""One comparison: a scene, the checkpoints that predict it, and the data that the viewer shows. Imports no UI library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from sim2street.app.content import figures, panes
from sim2street.app.content.common_classes import in_common_classes, moved, padded, remark, scene_for, side_by_side
from sim2street.app.content.engine import Engine, Failure, Settings
from sim2street.app.content.figures import Entrant
from sim2street.app.content.gallery import Scene
from sim2street.app.content.method_display import display_of, other_colour
from sim2street.app.content.panes import Pane
from sim2street.app.content.summary import answer
from sim2street.app.content.translation import translated
from sim2street.models.importers import FAMILIES
from sim2street.models.label_space import LabelSpace
from sim2street.models.storage.catalog import SHIPPED, CatalogEntry, catalog
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.external_predictions import Faults, PredictionFolder
from sim2street.training.methods import METHODS

EMPTY: Final[Mapping[str, PredictionFolder]] = MappingProxyType({})


def listed_checkpoints() -> list[CatalogEntry]:
    """The checkpoints known now, sorted by year of their method, source-only first; does not wait for downloads."""
    methods = list(METHODS)

    def place(entry: CatalogEntry) -> tuple[int, int]:
        method = entry.checkpoint.config.method if entry.checkpoint else ""
        return _year_of(method), methods.index(method) if method in methods else len(methods)

    return sorted(catalog(wait=False), key=place)


def _year_of(method: str) -> int:
    """Year of a method, 0 for source-only; 9999 if unknown."""
    if method in METHODS:
        return METHODS[method].year or 0
    return next((family.year for family in FAMILIES.values() if family.method == method), 9999)


def preselected(checkpoints: Sequence[Checkpoint], *, rendered: bool) -> list[Checkpoint]:
    """Preselect checkpoints for rendered streets or for real photos; users can choose any others.

    For each encoder these are the included checkpoint that adaptation to pictures of that kind served best, by mIoU on
    its target, and the source-only one: few, as each takes a laptop seconds. One that was adapted to another kind says
    nothing about its method here, and controls that were trained on from another source-only checkpoint are left out. The
    user's own checkpoints are always among them, unless adapted to another kind. If no checkpoint was adapted to that
    kind, all are returned.
    """

    def fits(checkpoint: Checkpoint) -> bool:
        target = checkpoint.config.target
        return target is not None and target.startswith("street_scenes/") == rendered

    def is_own(checkpoint: Checkpoint) -> bool:
        return checkpoint.path.parent != SHIPPED

    adapted = [checkpoint for checkpoint in checkpoints if fits(checkpoint)]
    encoders = {figures.encoder_of(checkpoint.config) for checkpoint in adapted}
    included = sorted((each for each in adapted if not is_own(each)), key=figures.miou_on_target)
    best = {figures.encoder_of(checkpoint.config): checkpoint for checkpoint in included}.values()
    names = {checkpoint.name for checkpoint in checkpoints}
    if not encoders:
        return list(checkpoints)

    def is_baseline(checkpoint: Checkpoint) -> bool:
        if checkpoint.config.target is not None:
            return False
        is_start = checkpoint.config.initialisation not in names and figures.encoder_of(checkpoint.config) in encoders
        return is_start or is_own(checkpoint)

    return [each for each in checkpoints if each in best or (fits(each) and is_own(each)) or is_baseline(each)]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The results for a scene so far.

    Attributes:
        scene: the photo and its ground truth, in the classes of the comparison.
        entrants: the checkpoints that have predicted it.
        bundle: everything that the viewer draws, including placeholders for waiting and failed checkpoints.
        waiting: the checkpoints that have not predicted it yet.
    """

    scene: Scene
    entrants: list[Entrant]
    bundle: dict[str, Any]
    waiting: list[Checkpoint]


def compare(
    engine: Engine,
    scene: Scene,
    checkpoints: Sequence[Checkpoint],
    everyone: Sequence[Checkpoint],
    settings: Settings,
    visitor: str,
) -> Iterator[Comparison]:
    """Yield the results known already, then again after each further checkpoint has predicted the photo.

    Args:
        engine: predicts and caches.
        scene: the photo to predict.
        checkpoints: the chosen ones.
        everyone: all listed checkpoints, so that titles are unique among them.
        settings: settings of the prediction.
        visitor: id of the session.
    """
    shown = in_common_classes(scene, [each.config.space for each in checkpoints])
    try:
        yield current_results(engine, scene, checkpoints, everyone, settings, visitor)
        for checkpoint in checkpoints:
            part = scene_for(shown, checkpoint.config.space)
            if engine.known(part, checkpoint, settings, visitor) is None:
                engine.read(part, checkpoint, settings, visitor)
                yield current_results(engine, scene, checkpoints, everyone, settings, visitor)
    finally:
        engine.release(visitor)


def current_results(
    engine: Engine,
    scene: Scene,
    checkpoints: Sequence[Checkpoint],
    everyone: Sequence[Checkpoint],
    settings: Settings,
    visitor: str,
    others: Mapping[str, PredictionFolder] = EMPTY,
) -> Comparison:
    """Collect the predictions made already, without predicting; once all are there, the engine may drop them.

    Args:
        engine: holds the predictions.
        scene: the photo.
        checkpoints: the chosen ones.
        everyone: all listed checkpoints, so that titles are unique among them.
        settings: settings of the prediction.
        visitor: id of the session.
        others: folders of predictions made elsewhere, by name.
    """
    spaces = [*(checkpoint.config.space for checkpoint in checkpoints), *(folder.space for folder in others.values())]
    scene = in_common_classes(scene, spaces)
    listed = list(dict.fromkeys([scene.space, *(scene_for(scene, space).space for space in spaces)]))
    titles = figures.unique_titles(everyone)
    entrants: list[Entrant] = []
    answered: dict[str, Pane] = {}
    waiting: list[Checkpoint] = []
    empty: dict[str, list[dict[str, str]]] = {"waiting": [], "failed": []}
    for checkpoint in checkpoints:
        label = {
            "title": titles[checkpoint.name],
            "note": figures.trained_on(checkpoint.config),
            "colour": display_of(checkpoint.config.method).colour,
        }
        known = engine.known(scene_for(scene, checkpoint.config.space), checkpoint, settings, visitor)
        if known is None:
            waiting.append(checkpoint)
            empty["waiting"].append(label)
        elif isinstance(known, Failure):
            empty["failed"].append({**label, "reason": known.reason})
        else:
            answered[checkpoint.name] = known
            entrants.append(Entrant(checkpoint, _reading(checkpoint.name, label, known, scene, listed)))
    for name, folder in others.items():
        label = {"title": name, "note": "predictions made elsewhere", "colour": other_colour(name)}
        part, faults = scene_for(scene, folder.space), Faults()
        found = folder.read(scene.key, scene.photo.size, part.space, faults)
        if found is None:
            empty["failed"].append({**label, "reason": f"{' '.join(faults.describe())}."})
        else:
            entrants.append(Entrant(None, _reading(name, label, Pane(part.space, found.labels), scene, listed)))
    if not waiting:
        engine.release(visitor)
    readings = [entrant.reading for entrant in entrants]
    bundle = panes.bundle(scene.photo, readings, space=side_by_side(listed), truth=scene.truth, **empty)
    for method, entrant in zip(bundle["methods"], entrants, strict=True):
        baseline = figures.baseline_of(entrant, entrants)
        method["baseline"] = baseline and baseline.reading.key
        method["idea"] = "" if entrant.checkpoint is None else display_of(entrant.checkpoint.config.method).idea
        if entrant.checkpoint is not None:
            painted = translated(engine, scene.photo, entrant.checkpoint, answered[entrant.checkpoint.name])
            method |= {} if painted is None else {"translated": painted}
    said = answer(entrants, scene.truth) if entrants and not waiting else ""
    bundle["answer"] = " ".join(part for part in (said, remark(scene, spaces)) if part)
    return Comparison(scene, entrants, bundle, waiting)


def _reading(
    key: str, label: Mapping[str, str], known: Pane, scene: Scene, listed: Sequence[LabelSpace]
) -> panes.Reading:
    """Convert a pane to the listed classes; it is scored if its own classes are those of the ground truth."""
    shared = known.space == scene.space
    score = panes.score(known, scene.truth) if shared and scene.truth is not None else None
    score = None if score is None else padded(score, scene.space, listed)
    return panes.Reading(key, **label, pane=moved(known, listed), score=score, shared=shared)
