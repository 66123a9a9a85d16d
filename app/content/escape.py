"""Words from outside made harmless: the one place through which titles, names, reasons and file names reach markup.

Whoever makes a checkpoint, a recipe, a job or a file chooses these words; without this, `![](http://...)` in a title
makes every visitor's browser fetch that address. Each function returns one line for one kind of markup. No UI library
in here.
"""

from __future__ import annotations

import html as standard
import re
import unicodedata
from typing import Final

JOINER: Final = "\u2060"
"""Word joiner: takes no room and is not drawn; breaks what a renderer looks for in the finished text."""
BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of reading, with which one name can be made to look like another."""
DOUBTFUL: Final = {"Cs": "\ufffd", "Cc": " ", "Zl": " ", "Zp": " "}
"""By Unicode category: lone surrogates, which no protocol carries, controls and separators of lines."""

MARKS: Final = re.compile(r"([\\*_<>$~`\[\]:#|&!]|^[-+=]|^\d+(?=[.)]))")
"""What Markdown makes something of, `:` being Streamlit's directives and icons and `$` formulas; some at the start only."""
# Renderers look for these in text that is already parsed, where no backslash is left: icons and emoji (:name:),
# addresses with a scheme, and those that begin with www.
FOUND_IN_TEXT: Final = re.compile(r":(?=//|material|[\w+-]+:)|www(?=\.)", re.IGNORECASE)


def line(text: str) -> str:
    """One line without controls, marks of direction and lone surrogates; no markup is touched."""
    kept = (DOUBTFUL.get(unicodedata.category(letter), letter) for letter in text if letter not in BIDI)
    return " ".join("".join(kept).split())


def markdown(text: str) -> str:
    """Text that Streamlit's and Gradio's Markdown show as it is, in a paragraph as well as in a label."""
    broken = FOUND_IN_TEXT.sub(lambda match: match[0] + JOINER, line(text))
    return MARKS.sub(_literal, broken)


def code(text: str) -> str:
    """Text as inline code of Markdown, whatever backticks it holds."""
    shown = line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    space = " " if shown[:1] == "`" or shown[-1:] == "`" or not shown else ""
    return f"{fence}{space}{shown}{space}{fence}"


def address(text: str) -> str:
    """A link's target for Markdown or HTML: an address of the web, else one that leads nowhere."""
    return text if re.fullmatch(r"https?://[\w.:/?#@%&=+~-]*", text, re.ASCII) else "#"


def html(text: str) -> str:
    """Text within an element or a quoted attribute of HTML."""
    return standard.escape(line(text))


def chart(text: str) -> str:
    """Text in a Plotly figure, which reads some HTML, and `%{...}` in what it shows under the pointer."""
    return standard.escape(line(text), quote=False).replace("%{", f"%{JOINER}{{")


def _literal(match: re.Match[str]) -> str:
    # A number cannot be escaped; the dot that would make it a list can.
    return f"{match[0]}{JOINER}" if match[0].isdecimal() else f"\\{match[0]}"
