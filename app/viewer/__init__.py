"""The framework-free viewer, fed by a bundle of `sim2street.app.content.panes`, and the report that contains it.

`compare/` is the viewer itself; the other files are small parts of the pages. Browsers get plain scripts: nothing is compiled or
bundled, so whoever changes one reloads the page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

VIEWER: Final = Path(__file__).parent


def source(*patterns: str) -> str:
    """The scripts or styles of this folder that the patterns name, joined: the files of each in the order of their names.

    Raises:
        FileNotFoundError: where a pattern names none.
    """
    texts: list[str] = []
    for pattern in patterns:
        files = sorted(VIEWER.glob(pattern))
        if not files:
            raise FileNotFoundError(f"{VIEWER} has no {pattern}.")
        texts += [file.read_text(encoding="utf-8") for file in files]
    return "\n".join(texts)
