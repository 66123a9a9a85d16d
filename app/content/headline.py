"""The headline of every page that compares, apart from what computes, so that it can be drawn before PyTorch is imported."""

from typing import Final

HEADING: Final = "Networks trained on rendered streets: how well do they segment yours?"
INTRODUCTION: Final = (
    "Several networks, trained on labelled renderings, side by side on one photo. Point at a pixel to see its class in all of them;"
    " zooming, dragging and swiping move all of them together."
)
