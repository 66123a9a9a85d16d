"""Text that is shown as it stands: titles and reasons are anybody's words, and Streamlit reads what it shows as Markdown."""

from __future__ import annotations

import re


def plain(text: str) -> str:
    """Escape what Markdown, formulas, colours and icons of Streamlit would make of a text."""
    return re.sub(r"([\\*_<>$~`\[\]:#|])", r"\\\1", text)
