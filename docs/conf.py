"""Build the documentation site: `sphinx-build --fail-on-warning docs build/docs` (extra `docs`).

Its pages are the Markdown files beside this one, which read as well in the repository, and the API of `sim2street.models`
from its docstrings. Links to files outside this folder lead to the repository where its address is known, as on GitHub's
machines; elsewhere they are shown as the file's name.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import sim2street  # noqa: E402

project = "Sim2Street"
author = "the Sim2Street authors"
release = sim2street.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = project
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

REPOSITORY = "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/blob/{GITHUB_SHA}" if "GITHUB_REPOSITORY" in os.environ else None
OUTSIDE = re.compile(r"(?<!!)\[([^\]]+)\]\(\.\./([^)#]+)(#[^)]*)?\)")


def lead_outside(app: Sphinx, name: str, source: list[str]) -> None:
    """Rewrite links to files outside the documentation; `docs/tables.py` checks that these exist."""
    prefix = REPOSITORY.format(**os.environ) if REPOSITORY else None

    def rewritten(link: re.Match[str]) -> str:
        text, path, anchor = link.groups()
        if prefix:
            return f"[{text}]({prefix}/{path}{anchor or ''})"
        return text if text.strip("`") == path else f"{text} (`{path}`)"

    source[0] = OUTSIDE.sub(rewritten, source[0])


def setup(app: Sphinx) -> None:
    """Have Sphinx call the rewriting for every page that it reads."""
    app.connect("source-read", lead_outside)
