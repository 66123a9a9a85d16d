"""Which checkpoints a search finds, and their order by score. Imports no UI library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from sim2street.app.content import figures
from sim2street.app.content.method_display import display_of
from sim2street.app.content.names import reports_by_title
from sim2street.models.storage.checkpoint import Checkpoint

INTRODUCTION: Final = (
    "A checkpoint is a trained network. **Source-only** learns from labelled images of the source alone; the other"
    " methods also see images of the target **without labels**. Select a line for its data, licence and scores."
)
"""What a visitor has to know before the list, as Markdown."""


def scored_sets(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Titles of the sets on which checkpoints were scored, those that most of them share first."""
    counted = Counter(
        title
        for checkpoint in checkpoints
        for title in reports_by_title(checkpoint.metrics)
        if miou(checkpoint, title) is not None
    )
    return [title for title, _ in counted.most_common()]


def miou(checkpoint: Checkpoint, title: str | None) -> float | None:
    """Percent of mIoU on a set by its title; None where it was not scored."""
    share = reports_by_title(checkpoint.metrics).get(title or "", {}).get("miou")
    return None if share is None else 100 * share


def methods_of(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Titles of the methods of checkpoints, each once."""
    return list(dict.fromkeys(display_of(checkpoint.config.method).title for checkpoint in checkpoints))


def found(
    checkpoints: Sequence[Checkpoint], titles: Mapping[str, str], *, words: str, methods: Sequence[str], by: str | None
) -> list[Checkpoint]:
    """Checkpoints of some methods whose line or name has all words, the best on a set first.

    Args:
        checkpoints: of which to choose.
        titles: name -> unique title.
        words: separated by spaces; case does not matter.
        methods: titles of methods; all if there are none.
        by: title of the set whose mIoU orders them; those without one come last, in their order.
    """
    asked = words.lower().split()
    kept = [
        checkpoint
        for checkpoint in checkpoints
        if (not methods or display_of(checkpoint.config.method).title in methods)
        and all(word in _text(checkpoint, titles[checkpoint.name]) for word in asked)
    ]
    return sorted(kept, key=lambda checkpoint: -(miou(checkpoint, by) or -1.0))


def in_brief(checkpoint: Checkpoint) -> tuple[str, str, str]:
    """What stands in a checkpoint's line beside title and score: data, network, licence."""
    config = checkpoint.config
    licence = figures.LICENCES.get(config.licence, config.licence).partition(",")[0]
    return figures.trained_on(config), figures.network_of(config), licence


def _text(checkpoint: Checkpoint, title: str) -> str:
    method = display_of(checkpoint.config.method).title
    return " ".join((title, method, checkpoint.name, *in_brief(checkpoint))).lower()
