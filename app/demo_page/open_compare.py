"""Compare opened from another tab of the Gradio page, with some checkpoints beside those that are chosen there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import gradio as gr

from sim2street.app.demo_page import gradio_parts

COMPARE: Final = "compare"
"""Id of the tab Compare."""


def turned(
    source: str,
    readers: Sequence[str],
    view: dict[str, str],
    chosen: dict[str, list[str]],
    offers: dict[str, Any],
) -> tuple[Any, ...]:
    """Open Compare from another tab, with some checkpoints beside those that are chosen.

    Args:
        source: where the photo comes from.
        readers: the first one at the right of a swipe, and the second, if any, at the left.
        view: further parameters of the viewer's address.
        chosen: the methods that the visitor has chosen, by source.
        offers: the methods preselected.

    Returns:
        Tab, the choice by source, the methods, and the view, which has the comparison drawn again even if it is the same.
    """
    before: list[str] = chosen.get(source) or offers["suited"][source]
    methods = [*before, *(name for name in readers if name not in before)]
    sides = dict(zip(("right", "left"), readers, strict=False))
    view = view | sides | {"ticket": str(gradio_parts.ticket())}
    return gr.update(selected=COMPARE), {**chosen, source: methods}, methods, view


def with_checkpoint(
    source: str, chosen: dict[str, list[str]], offers: dict[str, Any], event: gr.EventData
) -> tuple[Any, ...]:
    """Handle a click on the button of a checkpoint's card, whose key is the name; see `turned`."""
    name = str(event._data["key"])
    if name not in [known for _, known in offers["choices"]]:
        return (gr.skip(),) * 4
    return turned(source, [name], {}, chosen, offers)
