"""The scripts and styles that browsers get."""

from __future__ import annotations

import pytest

from sim2street.app.viewer import VIEWER, source


def test_parts_are_joined_in_the_order_of_their_names() -> None:
    scripts = sorted((VIEWER / "compare").glob("*.js"))
    joined = source("compare/*.js", "post.js")
    places = [joined.index(script.read_text()) for script in (*scripts, VIEWER / "post.js")]
    assert len(scripts) > 10
    assert places == sorted(places)


def test_a_pattern_without_files_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"has no compare/\*\.ts"):
        source("compare/*.js", "compare/*.ts")
