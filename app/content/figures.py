"""The numbers of a comparison, as plain rows for tables and charts. Imports no UI library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sim2street.app.content import escape
from sim2street.app.content.names import reports_by_title, source_title
from sim2street.app.content.panes import Reading, Score
from sim2street.models.labels import LABEL_SPACES
from sim2street.models.networks import NETWORKS, encoder_name
from sim2street.models.storage.catalog import CatalogEntry
from sim2street.models.storage.checkpoint import Checkpoint, CheckpointConfig
from sim2street.models.storage.files import in_units

AGAINST: Final = "vs source-only"
"""Column of `summary`: difference to `baseline_of` in points."""
MIOU: Final = "mIoU "
"""Prefix of the columns of `summary` with a data set's mIoU."""
ABSENT: Final = "– marks a class that is neither in the photo nor predicted."
"""Explanation of a dash in the table of classes."""
MANY_SOURCES: Final = 3
"""From as many sources after the first on, a line counts them instead of naming them."""
LICENCES: Final = {"apache-2.0": "Apache 2.0", "mit": "MIT", "cc-by-nc-4.0": "CC BY-NC 4.0, not for commercial use"}
"""Display names of licences; others are shown as in the checkpoint."""


@dataclass(frozen=True, eq=False)
class Entrant:
    """One method in a comparison.

    Attributes:
        checkpoint: None for predictions that were made elsewhere.
        reading: its prediction of the photo.
    """

    checkpoint: Checkpoint | None
    reading: Reading

    @property
    def score(self) -> Score | None:
        """Score against this photo's ground truth; None without ground truth."""
        return self.reading.score


@dataclass(frozen=True, eq=False)
class Numbers:
    """The numbers of a comparison, as every page shows them.

    Attributes:
        summary: one row per method.
        classes: one row per class, with each method's percent under its title.
        gains: the same, as differences to `baseline_of` in points; empty if no method has a baseline.
        values: method title -> percent of each class, in order.
        colours: method title -> CSS colour.
        unit: unit of `classes` and `values`, such as "IoU of this image, %".
        notes: sentences that explain `summary`.
    """

    summary: list[dict[str, Any]]
    classes: list[dict[str, Any]]
    gains: list[dict[str, Any]]
    values: dict[str, list[float | None]]
    colours: dict[str, str]
    unit: str
    notes: list[str]

    @property
    def names(self) -> list[str]:
        """Class names, in order."""
        return [row["Class"] for row in self.classes]


def numbers(entrants: Sequence[Entrant]) -> Numbers:
    """Collect the numbers of at least one method that has predicted a photo."""
    scored = any(entrant.score is not None for entrant in entrants)
    bases = (
        {base.reading.title for entrant in entrants if (base := baseline_of(entrant, entrants))} if scored else set()
    )
    rows, classes = summary(entrants), per_class(entrants)
    colours = {entrant.reading.title: entrant.reading.colour for entrant in entrants}
    notes = [
        "IoU of this image in percent, over the classes in it; not a data set's mIoU."
        if scored
        else "Without ground truth, only each method's classes and its certainty can be shown."
    ]
    if bases:
        notes.append(f"Differences are in points to source-only on the same encoder: {' or '.join(sorted(bases))}.")
    if any(column.startswith(MIOU) for column in rows[0]):
        notes.append(
            "mIoU columns: the looks of rendered streets and the data sets on which each checkpoint was scored."
        )
    if masks := [entrant.reading.title for entrant in entrants if not has_comparable_entropy(entrant)]:
        notes.append(
            f"{' and '.join(masks)}: entropy of mask scores, which cannot be compared with the others' entropy."
        )
    return Numbers(
        summary=rows,
        classes=classes,
        gains=per_class(entrants, gains=True) if bases else [],
        values={title: [row[title] for row in classes] for title in colours},
        colours=colours,
        unit="IoU of this image, %" if scored else "share of the pixels, %",
        notes=notes,
    )


def trained_on(config: CheckpointConfig) -> str:
    """Source and target data in a line's width, such as "game → fog"; of many sources the first and how many more."""
    first, *others = source_title(config.source).split(" + ")
    source = " + ".join((first, *others)) if len(others) < MANY_SOURCES else f"{first} + {len(others)} more"
    return source if config.target is None else f"{source} → {source_title(config.target)}"


def learnt_from(config: CheckpointConfig) -> str:
    """Source and target data in words, such as "labels of game, images of fog without labels"."""
    target = f", images of {source_title(config.target)} without labels" if config.target else ""
    return f"labels of {source_title(config.source)}{target}"


def network_of(config: CheckpointConfig) -> str:
    """Name of a checkpoint's network, such as "DAFormer on MiT-B0 × 0.75"."""
    title, encoder = NETWORKS[config.network].title, encoder_of(config)
    return encoder if encoder.startswith(title) else f"{title} on {encoder}"


def facts(checkpoint: Checkpoint) -> dict[str, str]:
    """The facts on a checkpoint's card besides its scores: label -> plain text."""
    config = checkpoint.config
    training = f"{config.step} steps, seed {config.seed}"
    if config.imported is not None:
        reported = config.imported.reported_miou
        said = "" if reported is None else f", who report an mIoU of {reported:g} (not measured here)"
        training = f"by its authors{said}"
    licence = LICENCES.get(config.licence, config.licence)
    return {
        "Learnt from": learnt_from(config),
        "Network": network_of(config),
        "Training": training,
        "Licence": f"{licence} (imported weights)" if config.origin == "imported" else licence,
        "Name": checkpoint.repository or checkpoint.name,
    }


def data_set_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per data set and split that a checkpoint was scored on; None for unknown values."""
    return [
        {
            "Data set": title,
            "mIoU, %": None if report.get("miou") is None else 100 * report["miou"],
            "Classes": _class_count(report),
            "Images": report.get("images"),
            "Calibration error": report.get("ece"),
            "Seconds an image": report.get("seconds_per_image"),
        }
        for title, report in reports_by_title(metrics).items()
    ]


def downloaded(entry: CatalogEntry) -> str:
    """Progress of an entry's download, such as "12 MB of 30 MB"; empty if there is none or its size is unknown."""
    if entry.download is None or not entry.download.total:
        return ""
    return f"{in_units(entry.download.done)} of {in_units(entry.download.total)}"


def _sources(config: CheckpointConfig) -> set[str]:
    return set(config.source.split(" + "))


def encoder_of(config: CheckpointConfig) -> str:
    """Name of a checkpoint's encoder, such as "MiT-B0 × 0.75"."""
    return encoder_name(config.network, config.network_options)


def miou_on_target(checkpoint: Checkpoint) -> float:
    """Highest mIoU in [0,1] on labelled images of the data set that a checkpoint was adapted to; 0 if none was measured."""
    target = checkpoint.config.target or ""
    data_set = f"{target.partition('/')[0]}/"
    alike = (
        [target] if target in checkpoint.metrics else [name for name in checkpoint.metrics if name.startswith(data_set)]
    )
    reports = [report for name in alike if isinstance(report := checkpoint.metrics[name], dict)]
    return max((report.get("miou") or 0.0 for report in reports), default=0.0)


def _class_count(report: Mapping[str, Any]) -> int | None:
    """Number of classes in a report: those that it lists, or those of its label space; None if unknown."""
    if report.get("iou_per_class"):
        return len(report["iou_per_class"])
    space = LABEL_SPACES.get(report.get("label_space", ""))
    return None if space is None else space.count


def unique_titles(checkpoints: Sequence[Checkpoint]) -> dict[str, str]:
    """Checkpoint name -> unique title; the training data or the name is added where titles coincide."""
    titles = {}
    for checkpoint in checkpoints:
        title = escape.line(checkpoint.config.title) or checkpoint.name
        twins = [other for other in checkpoints if escape.line(other.config.title) == title]
        if len(twins) > 1:
            notes = [trained_on(other.config) for other in twins]
            note = trained_on(checkpoint.config)
            title = escape.line(f"{title}, {note if notes.count(note) == 1 else checkpoint.name}")
        titles[checkpoint.name] = title
    return titles


def baseline_of(entrant: Entrant, entrants: Sequence[Entrant]) -> Entrant | None:
    """Find the source-only entrant to which a method is compared; None if none is shown or the method itself is source-only.

    It must use the same encoder and only source data sets of the method's, since neither a better encoder nor more labels
    (as an oracle has) are the method's merit. Of several, the one with the most of these data sets is taken.
    """
    if entrant.checkpoint is None or entrant.checkpoint.config.method == "source_only":
        return None
    config = entrant.checkpoint.config
    fair = {
        len(_sources(other.checkpoint.config)): other
        for other in reversed(entrants)  # so that the first of equals wins
        if other.checkpoint is not None
        and other.checkpoint.config.method == "source_only"
        and encoder_of(other.checkpoint.config) == encoder_of(config)
        and _sources(other.checkpoint.config) <= _sources(config)
    }
    return fair[max(fair)] if fair else None


def has_comparable_entropy(entrant: Entrant) -> bool:
    """Whether the network's entropy is that of a softmax per pixel, as for most networks."""
    network = None if entrant.checkpoint is None else NETWORKS.get(entrant.checkpoint.config.network)
    return network is None or not network.classifies_masks


def summary(entrants: Sequence[Entrant]) -> list[dict[str, Any]]:
    """One row per method; shares in percent, differences in points, None for unknown values."""
    rows = []
    for entrant in entrants:
        pane = entrant.reading.pane
        row: dict[str, Any] = {"Method": entrant.reading.title}
        if entrant.score is not None:
            base = baseline_of(entrant, entrants)
            row["Mean IoU, this image"] = percent(entrant.score.mean_iou)
            row[AGAINST] = (
                None if base is None or base.score is None else difference(entrant.score.mean_iou, base.score.mean_iou)
            )
            row["Pixel accuracy"] = percent(entrant.score.accuracy)
        row["Mean entropy"] = pane.mean_entropy if has_comparable_entropy(entrant) else None
        row["Seconds"] = pane.seconds
        row["Trained on"] = entrant.reading.note
        metrics = {} if entrant.checkpoint is None else entrant.checkpoint.metrics
        for title, report in reports_by_title(metrics).items():
            if isinstance(report.get("miou"), int | float):
                row[f"{MIOU}{title}"] = percent(report["miou"])
        rows.append(row)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return [{column: row.get(column) for column in columns} for row in rows]


def per_class(entrants: Sequence[Entrant], *, gains: bool = False) -> list[dict[str, Any]]:
    """One row per class in percent: IoU if there is ground truth, otherwise the share of the pixels.

    With `gains`, differences to `baseline_of` in points instead, for entrants that have a baseline.
    """
    if not entrants:
        return []
    bases = [baseline_of(entrant, entrants) if gains else None for entrant in entrants]
    scored = any(entrant.score is not None for entrant in entrants)
    rows = []
    for value, name in enumerate(entrants[0].reading.pane.space.names):
        row: dict[str, Any] = {"Class": name}
        for entrant, base in zip(entrants, bases, strict=True):
            title = entrant.reading.title
            if entrant.score is None:
                share = entrant.reading.pane.class_shares[value]
                row[title] = percent(share) if share and not scored else None
            elif not gains:
                row[title] = percent(entrant.score.iou[value])
            elif base is not None and base.score is not None:
                row[title] = difference(entrant.score.iou[value], base.score.iou[value])
        rows.append(row)
    return rows


def percent(share: float) -> float | None:
    """Share in [0,1] -> percent; None for NaN."""
    return None if math.isnan(share) else 100 * float(share)


def difference(share: float, base: float) -> float | None:
    """Difference of two shares in points; None if either is NaN."""
    return None if math.isnan(share) or math.isnan(base) else 100 * float(share - base)
