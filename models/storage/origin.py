"""Where imported weights come from, and how the number published for them was measured: part of `config.json`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sim2street.models.options import Options


class ImportedFile(Options):
    """One file that weights were read from."""

    name: str = Field(description="As it was called, without folders.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    url: str = Field(default="", description="Where it was fetched; empty for a file that was given.")


class Protocol(Options):
    """How the authors measure, in words and figures; `window` and the network's options make evaluation follow it."""

    size: tuple[int, int] | None = Field(
        description="(width, height) of a Cityscapes photo at the network's input; none = any."
    )
    normalisation: str = Field(description="Of the input.")
    align_corners: bool = Field(description="Whether upsampling aligns the corner pixels.")
    branches: tuple[int, ...] | None = Field(
        default=None, description="Dilations of the parallel convolutions that count."
    )
    inference: str = Field(description="Whole photo or windows, and how logits come to the photo's size.")
    averaging: Literal[
        "none",
        "logits of overlapping windows",
        "probabilities of overlapping windows",
        "scores of overlapping windows",
        "logits of the members",
    ] = "none"
    weights: str = Field(description="Which of the weights in the file, and of which step.")


class ImportRecord(Options):
    """What is known of imported weights."""

    family: str
    files: tuple[ImportedFile, ...] = Field(min_length=1)
    published: str | None = Field(default=None, description="Name under which `sim2street import` knows them.")
    reported_miou: float | None = Field(
        default=None, ge=0, le=100, description="In percent, by the authors, on the target's validation set."
    )
    left_out: dict[str, int] = Field(default_factory=dict, description="Tensors not taken over, by reason.")
    protocol: Protocol
