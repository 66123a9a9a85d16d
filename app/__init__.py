"""User interfaces: the Streamlit app, the Gradio demo, and the pictures that both show.

Scripts can import `gallery` and `uploads`, which read what visitors bring, from here.
"""

from importlib import import_module
from types import ModuleType
from typing import Final

_SHORT: Final = {"gallery": "sim2street.app.content.gallery", "uploads": "sim2street.app.demo_page.uploads"}
"""Loaded when they are asked for: neither page needs both."""


def __getattr__(name: str) -> ModuleType:
    if name not in _SHORT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(_SHORT[name])
