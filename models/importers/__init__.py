"""Import weights released by their authors as checkpoints: `import_checkpoint("daformer", [file], out)`.

A family (a method's repository) describes the layout of its files; reading, checking and writing are the same for all.
Nothing is written unless every tensor of the file is accounted for and every tensor of the network is filled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from torch import nn

from sim2street.models.errors import CheckpointError
from sim2street.models.importers.adaptsegnet import ADAPTSEGNET
from sim2street.models.importers.advent import ADVENT
from sim2street.models.importers.classes import class_names, order_of, reordered
from sim2street.models.importers.cycada import CYCADA
from sim2street.models.importers.daformer import DAFORMER
from sim2street.models.importers.eomt import EOMT
from sim2street.models.importers.family import Family, Plan, Weights
from sim2street.models.importers.foreign import foreign_layout
from sim2street.models.importers.hrda import HRDA, MIC
from sim2street.models.importers.keys import translate
from sim2street.models.importers.mask2former import MASK2FORMER
from sim2street.models.importers.reading import read_weights, tensors_of
from sim2street.models.importers.readme import card_of
from sim2street.models.importers.releases import Release
from sim2street.models.importers.segformer import SEGFORMER
from sim2street.models.importers.vfm_uda import VFM_UDA
from sim2street.models.networks import build_unfilled, fill
from sim2street.models.segmenter import Segmenter
from sim2street.models.storage.checkpoint import Checkpoint, CheckpointConfig
from sim2street.models.storage.files import CARD, CONFIG, METRICS, WEIGHTS, is_litter, sha256_of
from sim2street.models.storage.origin import ImportedFile, ImportRecord

FAMILIES: Final[dict[str, Family]] = {
    "advent": ADVENT,
    "adaptsegnet": ADAPTSEGNET,
    "cycada": CYCADA,
    "daformer": DAFORMER,
    "hrda": HRDA,
    "mic": MIC,
    "segformer": SEGFORMER,
    "vfm_uda": VFM_UDA,
    "eomt": EOMT,
    "mask2former": MASK2FORMER,
}

NOT_STATED: Final = "not stated"
AVERAGE: Final = "ema_model."
"""Prefix of the keys in a file that contains only a moving average of the network."""


@dataclass(frozen=True)
class WeightsFile:
    """A file to import, and the URL it was fetched from, if it was."""

    path: Path
    url: str = ""


def import_checkpoint(
    family: str,
    files: Sequence[WeightsFile | Path],
    out: Path,
    *,
    published: Release | None = None,
    title: str = "",
    source: str = "",
    target: str = "",
) -> Checkpoint:
    """Read released weights and write them as a checkpoint, in fp32 and otherwise unchanged.

    Args:
        family: key in `FAMILIES`.
        files: one file, or several of the same network, whose logits are then averaged.
        out: folder of the checkpoint; an older checkpoint there is replaced, anything else refused.
        published: the release that the file belongs to, if it is a known one.
        title: display name; by default that of `published` or of the family.
        source: labelled source data set.
        target: unlabelled target data set.

    Raises:
        CheckpointError: a file is damaged, unknown, from another family, or does not fit; nothing has been written.
    """
    if family not in FAMILIES:
        raise CheckpointError(f"There is no family {family!r}; known are {', '.join(FAMILIES)}.")
    kind = FAMILIES[family]
    refuse_place(out)
    given = [WeightsFile(file) if isinstance(file, Path) else file for file in files]
    records, plans = [], []
    for file in given:
        try:
            plans.append(_read(family, file.path))
        except CheckpointError as error:
            if not file.url:
                raise
            raise CheckpointError(
                f"{error} It was fetched to {file.path}: delete that file to fetch it again."
            ) from error
        records.append(ImportedFile(name=file.path.name, sha256=sha256_of(file.path), url=file.url))
    network, options, segmenter, left_out = _fill(plans)
    protocol = plans[0].protocol
    if len(plans) > 1:
        protocol = protocol.model_copy(update={"averaging": "logits of the members"})
    config = CheckpointConfig(
        title=title or (published.title if published else plans[0].title)[:80],
        method=published.method if published else kind.method,
        network=network,
        network_options=options,
        window=plans[0].window,
        source=source or (published.source if published else NOT_STATED),
        target=target or (published.target if published else NOT_STATED),
        licence=kind.licence,
        origin="imported",
        initialisation="imported",
        imported=ImportRecord(
            family=family,
            files=tuple(records),
            published=published.name if published else None,
            reported_miou=published.miou if published else None,
            left_out=dict(left_out),
            protocol=protocol,
        ),
    )
    return Checkpoint.save(out, segmenter, config, card=card_of(config, kind), half=False)


def _read(family: str, path: Path) -> Plan:
    """Read one file and plan its import, its outputs in Cityscapes' order."""
    content = read_weights(path)
    plan = _plan(family, tensors_of(content), path.name)
    names = class_names(content, path)
    try:
        return plan if names is None else replace(plan, order=order_of(names))
    except CheckpointError as error:
        raise CheckpointError(f"{path.name} cannot be imported. {error}") from error


def _plan(family: str, weights: Weights, name: str) -> Plan:
    """Plan the import of one file, or raise an error that says which family it belongs to."""
    kind = FAMILIES[family]
    if not kind.has_teacher and all(key.startswith(AVERAGE) for key in weights):
        weights = {key.removeprefix(AVERAGE): value for key, value in weights.items()}
    if not kind.recognises(weights):
        others = [other for other in FAMILIES.values() if other is not kind and other.recognises(weights)]
        if others:
            raise CheckpointError(
                f"{name} has the layout of a {' or '.join(other.title for other in others)} file, not of {kind.title}."
            )
        if (foreign := foreign_layout(weights)) is not None:
            raise CheckpointError(
                f"{name} contains {foreign}. This is not a {kind.title} file, and no importer supports it."
            )
    try:
        return kind.plan(weights)
    except CheckpointError as error:
        raise CheckpointError(f"{name} cannot be imported as a {kind.title} file. {error}") from error


def _fill(plans: Sequence[Plan]) -> tuple[str, dict[str, Any], Segmenter, Counter[str]]:
    """Build the network, or the ensemble, of the plans and load their weights: (network, options, segmenter, left out)."""
    first = plans[0]
    options: dict[str, Any] = first.options
    if len(plans) == 1:
        segmenter = build_unfilled(first.network, options=options)
        return first.network, options, segmenter, _load(segmenter.core, first)
    for plan in plans[1:]:
        if (plan.network, plan.options) != (first.network, first.options):
            raise CheckpointError(f"An ensemble needs networks of the same kind; got {first.title} and {plan.title}.")
    options = {"network": first.network, "network_options": first.options, "members": len(plans)}
    segmenter = build_unfilled("ensemble", options=options)
    left_out: Counter[str] = Counter()
    for member, plan in zip(segmenter.core.members, plans, strict=True):  # pyright: ignore[reportArgumentType]
        left_out += _load(member, plan)
    return "ensemble", options, segmenter, left_out


def _load(core: nn.Module, plan: Plan) -> Counter[str]:
    match = translate(plan.weights, plan.rename, core, title=plan.title)
    fill(core, reordered(match.weights, plan.network, plan.options, plan.order))
    return plan.left_out + match.left_out


def refuse_place(out: Path) -> None:
    """Raise `CheckpointError` if the folder contains anything besides a checkpoint, which would be lost."""
    if not out.exists():
        return
    found = {item.name for item in out.iterdir() if not is_litter(item.name)} if out.is_dir() else {out.name}
    # Many other things have a config.json too, so other files count as well.
    if foreign := sorted(found - {CONFIG, WEIGHTS, METRICS, CARD}):
        raise CheckpointError(
            f"{out} contains {foreign[0]}, which is not part of a checkpoint. Name a new folder with --out."
        )
