"""The hosted page's colours: text can be read on what lies below it, in light and in dark."""

from __future__ import annotations

import re

import pytest

from sim2street.app.demo_page.gradio_theme import COLOURS, CSS, theme


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, by WCAG 2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Of two colours, from 1 to 21, by WCAG 2."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "below"),
    [
        ("white", "button_primary_background_fill"),
        ("white", "button_primary_background_fill_hover"),
        ("button_secondary_text_color", "button_secondary_background_fill"),
        ("button_secondary_text_color", "button_secondary_background_fill_hover"),
        ("checkbox_label_text_color", "checkbox_label_background_fill"),
        ("checkbox_label_text_color", "checkbox_label_background_fill_hover"),
        ("checkbox_label_text_color_selected", "checkbox_label_background_fill_selected"),
        ("link_text_color", "button_secondary_background_fill"),
        ("block_info_text_color", "button_secondary_background_fill"),
    ],
)
def test_text_is_legible(text: str, below: str, scheme: int) -> None:
    colour = "#ffffff" if text == "white" else COLOURS[text][scheme]
    assert contrast(colour, COLOURS[below][scheme]) >= 4.5


def test_buttons_that_begin_something_are_white_on_the_theme() -> None:
    made = theme()
    assert made.button_primary_text_color == made.button_primary_text_color_dark == "white"
    assert made.button_primary_background_fill_dark == COLOURS["button_primary_background_fill"][1]


def test_no_list_stands_in_a_has() -> None:
    """Gradio puts its own ancestors before whatever follows a comma, and nothing has these inside."""
    assert re.findall(r":has\([^()]*,.*", CSS) == []
