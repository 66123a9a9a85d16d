"""Escape untrusted text for markup; every title, name, reason and file name passes through this module.

The author of a checkpoint, recipe, job or file chooses this text; unescaped, `![](http://...)` in a title would make every
visitor's browser fetch that address. Each function is for one kind of markup and returns one line, except `preformatted`.
Imports no UI library.
"""

from __future__ import annotations

import html as standard
import re
import unicodedata
from typing import Final

JOINER: Final = "\u2060"
"""Word joiner: invisible and without width; inserted to break patterns that renderers would replace."""
BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of text and can make one name look like another."""
DOUBTFUL: Final = {"Cs": "\ufffd", "Cc": " ", "Zl": " ", "Zp": " "}
"""Replacements by Unicode category: lone surrogates, which cannot be encoded as UTF-8, control characters and line separators."""

MARKS: Final = re.compile(r"([\\*_<>$~`\[\]:#|&!]|^[-+=]|^\d+(?=[.)]))")
"""Characters with a meaning in Markdown, including `:` (Streamlit's directives and icons) and `$` (formulas)."""
# Renderers replace these after parsing, when backslashes are gone: icons and emoji (:name:), URLs with a scheme, and
# those that begin with www.
FOUND_IN_TEXT: Final = re.compile(r":(?=//|material|[\w+-]+:)|www(?=\.)", re.IGNORECASE)


def line(text: str) -> str:
    """Return one line without control characters, direction marks and lone surrogates; markup is not escaped."""
    return " ".join(_without_controls(text).split())


def markdown(text: str) -> str:
    """Escape text for Streamlit's and Gradio's Markdown, in paragraphs and labels."""
    broken = FOUND_IN_TEXT.sub(lambda match: match[0] + JOINER, line(text))
    return MARKS.sub(_literal, broken)


def code(text: str) -> str:
    """Format text as inline code in Markdown, even if it contains backticks."""
    shown = line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    space = " " if shown[:1] == "`" or shown[-1:] == "`" or not shown else ""
    return f"{fence}{space}{shown}{space}{fence}"


def address(text: str) -> str:
    """Return an http(s) URL that is safe as a link target in Markdown or HTML; "#" for anything else."""
    return text if re.fullmatch(r"https?://[\w.:/?#@%&=+~-]*", text, re.ASCII) else "#"


def html(text: str) -> str:
    """Escape text for an HTML element or a quoted attribute."""
    return standard.escape(line(text))


def preformatted(text: str) -> str:
    """Escape lines of code or plain text for an HTML element that keeps their breaks and indentation, such as `pre`."""
    return "\n".join(standard.escape(_without_controls(each)) for each in text.expandtabs(4).splitlines())


def chart(text: str) -> str:
    """Escape text for a Plotly chart, which interprets some HTML, and `%{...}` in hover texts."""
    return standard.escape(line(text), quote=False).replace("%{", f"%{JOINER}{{")


def _without_controls(text: str) -> str:
    return "".join(DOUBTFUL.get(unicodedata.category(letter), letter) for letter in text if letter not in BIDI)


def _literal(match: re.Match[str]) -> str:
    # A backslash cannot escape a digit, so a joiner separates the number from the dot that would start a list.
    return f"{match[0]}{JOINER}" if match[0].isdecimal() else f"\\{match[0]}"
