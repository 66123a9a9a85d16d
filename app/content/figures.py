"""The numbers beside the pictures, as plain rows for tables and charts. No UI library in here."""

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
"""Column of `summary`: points against `baseline_of`."""
MIOU: Final = "mIoU "
"""What its columns with a data set's figure begin with."""
ABSENT: Final = "– is a class that is neither in the photo nor predicted."
"""What a dash in the table of classes means."""
LICENCES: Final = {"apache-2.0": "Apache 2.0", "mit": "MIT", "cc-by-nc-4.0": "CC BY-NC 4.0, not for commercial use"}
"""Licences in words; others are shown as the checkpoint names them."""


@dataclass(frozen=True, eq=False)
class Entrant:
    """One method on the page with everything known of it.

    Attributes:
        checkpoint: what it was trained on and how it scored on data sets; None for predictions that were made elsewhere.
        reading: what it says of the photo.
    """

    checkpoint: Checkpoint | None
    reading: Reading

    @property
    def score(self) -> Score | None:
        """Against this photo's ground truth, or None without one."""
        return self.reading.score


@dataclass(frozen=True, eq=False)
class Numbers:
    """A comparison in numbers, as every page shows it.

    Attributes:
        summary: one row per method.
        classes: one row per class, each method's percent by its title.
        gains: the same in points against `baseline_of`; empty where nobody is compared.
        values: percent of the classes in their order, by method.
        colours: CSS colours by method.
        unit: of `classes` and `values`, such as "IoU of this image, %".
        notes: sentences on what `summary` says and does not say.
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
        """Of the classes, in their order."""
        return [row["Class"] for row in self.classes]


def numbers(entrants: Sequence[Entrant]) -> Numbers:
    """What the numbers say of the methods that have read a photo; there is at least one."""
    scored = any(entrant.score is not None for entrant in entrants)
    bases = (
        {base.reading.title for entrant in entrants if (base := baseline_of(entrant, entrants))} if scored else set()
    )
    rows, classes = summary(entrants), per_class(entrants)
    colours = {entrant.reading.title: entrant.reading.colour for entrant in entrants}
    notes = [
        "IoU of this image in percent, over the classes in it; not a data set's mIoU."
        if scored
        else "No ground truth: what can be said is how sure each method is and what it sees."
    ]
    if bases:
        notes.append(f"Differences are points against source-only on the same encoder: {' or '.join(sorted(bases))}.")
    if any(column.startswith(MIOU) for column in rows[0]):
        notes.append(
            "mIoU columns: the looks of rendered streets and the data sets that each checkpoint was scored on."
        )
    if masks := [entrant.reading.title for entrant in entrants if not has_comparable_entropy(entrant)]:
        notes.append(f"{' and '.join(masks)}: scores of masks, whose entropy does not compare with the others'.")
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
    """Where labels and style came from, such as "game → fog"."""
    source = source_title(config.source)
    return source if config.target is None else f"{source} → {source_title(config.target)}"


def learnt_from(config: CheckpointConfig) -> str:
    """The same in words."""
    target = f", pictures of {source_title(config.target)} without labels" if config.target else ""
    return f"labels of {source_title(config.source)}{target}"


def network_of(config: CheckpointConfig) -> str:
    """Such as "DAFormer on MiT-B0 × 0.75"."""
    title, encoder = NETWORKS[config.network].title, encoder_of(config)
    return encoder if encoder.startswith(title) else f"{title} on {encoder}"


def facts(checkpoint: Checkpoint) -> dict[str, str]:
    """What a card says of a checkpoint besides its scores, as plain text by label."""
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
    """One row per data set and split that a checkpoint was scored on, None for what is not known."""
    return [
        {
            "Data set": title,
            "mIoU, %": None if report.get("miou") is None else 100 * report["miou"],
            "Classes": _class_count(report),
            "Photos": report.get("images"),
            "Calibration error": report.get("ece"),
            "Seconds a photo": report.get("seconds_per_image"),
        }
        for title, report in reports_by_title(metrics).items()
    ]


def downloaded(entry: CatalogEntry) -> str:
    """How far the download of an entry is, such as "12 MB of 30 MB"; empty where there is none or its size is unknown."""
    if entry.download is None or not entry.download.total:
        return ""
    return f"{in_units(entry.download.done)} of {in_units(entry.download.total)}"


def _sources(config: CheckpointConfig) -> set[str]:
    return set(config.source.split(" + "))


def encoder_of(config: CheckpointConfig) -> str:
    """What a checkpoint's features come from, such as "MiT-B0 × 0.75"."""
    return encoder_name(config.network, config.network_options)


def _class_count(report: Mapping[str, Any]) -> int | None:
    """How many classes a report is about: those that it lists, or those of the label space that it names."""
    if report.get("iou_per_class"):
        return len(report["iou_per_class"])
    space = LABEL_SPACES.get(report.get("label_space", ""))
    return None if space is None else space.count


def unique_titles(checkpoints: Sequence[Checkpoint]) -> dict[str, str]:
    """Title of each checkpoint by its name; where two share one, what they were trained on tells them apart."""
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
    """The source-only entrant on the same encoder that has seen no other labels, the most of the same; None if none is shown.

    What another encoder or more labels (an oracle's) do is not the method's doing. A source-only entrant has no baseline.
    """
    if entrant.checkpoint is None or entrant.checkpoint.config.method == "source_only":
        return None
    config = entrant.checkpoint.config
    fair = {
        len(_sources(other.checkpoint.config)): other
        for other in reversed(entrants)  # of equals the first stays
        if other.checkpoint is not None
        and other.checkpoint.config.method == "source_only"
        and encoder_of(other.checkpoint.config) == encoder_of(config)
        and _sources(other.checkpoint.config) <= _sources(config)
    }
    return fair[max(fair)] if fair else None


def has_comparable_entropy(entrant: Entrant) -> bool:
    """Whether the network's entropy is that of a softmax per pixel, as most networks' is."""
    network = None if entrant.checkpoint is None else NETWORKS.get(entrant.checkpoint.config.network)
    return network is None or not network.classifies_masks


def summary(entrants: Sequence[Entrant]) -> list[dict[str, Any]]:
    """One row per method; shares in percent, differences in points, None for what is not known."""
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
            row["Pixels right"] = percent(entrant.score.accuracy)
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
    """One row per class: IoU with ground truth, else the share of the pixels; percent.

    With `gains`, points against `baseline_of` in their place, of the entrants that have one.
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
    """Points in percent between two shares; None where either is NaN."""
    return None if math.isnan(share) or math.isnan(base) else 100 * float(share - base)
