"""What both pages show of a gap before and after adaptation: words as Markdown, and charts. Imports no UI library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import plotly.graph_objects as go

from sim2street.app.content import charts, escape
from sim2street.app.content.domain_gap import Gap, in_words
from sim2street.app.content.method_display import display_of
from sim2street.models.storage.checkpoint import Checkpoint

WHEN: Final = ("Before", "After")


@dataclass(frozen=True, eq=False)
class GapSide:
    """One network's part of the page.

    Attributes:
        heading: when, and the network's title.
        caption: the share of the variance that the plane shows, and the proxy A-distance.
        plane: features of both domains on their two principal axes.
        entropy: distributions of entropy on both domains.
    """

    heading: str
    caption: str
    plane: go.Figure
    entropy: go.Figure


@dataclass(frozen=True, eq=False)
class GapShown:
    """The whole page.

    Attributes:
        words: how the gap changed.
        sides: before and after.
        shift_words: what the last chart shows, or why there is none.
        shifts: batch-norm shift by layer; None if neither network has batch norm.
    """

    words: str
    sides: tuple[GapSide, ...]
    shift_words: str
    shifts: go.Figure | None


def gap_shown(names: Sequence[str], pairs: Sequence[tuple[Checkpoint, Gap]], titles: Mapping[str, str]) -> GapShown:
    """Describe and draw the gaps of two networks.

    Args:
        names: titles of source and target.
        pairs: the networks before and after, each with its gap.
        titles: checkpoint name -> unique title.
    """
    most = max(max(part.entropy.max() for part in (gap.source, gap.target)) for _, gap in pairs)
    shifts = {titles[checkpoint.name]: gap.shifts for checkpoint, gap in pairs if gap.shifts}
    colours = {titles[checkpoint.name]: display_of(checkpoint.config.method).colour for checkpoint, _ in pairs}
    return GapShown(
        words=f"**{escape.markdown(in_words(pairs[0][1], pairs[1][1]))}**",
        sides=tuple(
            _side(f"{when}: {titles[checkpoint.name]}", gap, names, most)
            for when, (checkpoint, gap) in zip(WHEN, pairs, strict=True)
        ),
        shift_words=escape.markdown(
            f"How far the mean input of a channel moves from {names[0]} to {names[1]}, in standard deviations on"
            f" {names[0]}; averages over the channels of each layer."
            if shifts
            else "Neither network has batch norm."
        ),
        shifts=charts.by_layer(shifts, colours, unit="standard deviations") if shifts else None,
    )


def _side(heading: str, gap: Gap, names: Sequence[str], most: float) -> GapSide:
    count = len(gap.source.features)
    return GapSide(
        heading=escape.markdown(heading),
        caption=f"Features on their two principal axes, {100 * gap.explained:.0f} % of the variance. Proxy A-distance"
        f" **{gap.distance:.2f}**.",
        plane=charts.plane([gap.plane[:count].tolist(), gap.plane[count:].tolist()], names),
        entropy=charts.distributions(
            [gap.source.entropy.tolist(), gap.target.entropy.tolist()], names, unit="entropy", most=most
        ),
    )
