"""Where imported weights come from, and how their published mIoU was measured: part of `config.json`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sim2street.models.options import Options


class ImportedFile(Options):
    """One file from which weights were read."""

    name: str = Field(description="Its file name, without folders.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    url: str = Field(default="", description="Where it was fetched; empty for a local file.")


class Protocol(Options):
    """The authors' evaluation protocol, in words and numbers; `window` and the network's options reproduce it."""

    size: tuple[int, int] | None = Field(
        description="(width, height) of a Cityscapes photo at the network's input; none = any."
    )
    normalisation: str = Field(description="Normalisation of the input.")
    align_corners: bool = Field(description="Whether upsampling aligns the corner pixels.")
    branches: tuple[int, ...] | None = Field(
        default=None, description="Dilations of the parallel convolutions that count."
    )
    inference: str = Field(description="Whole photo or windows, and how logits are resized to the photo.")
    averaging: Literal[
        "none",
        "logits of overlapping windows",
        "probabilities of overlapping windows",
        "scores of overlapping windows",
        "logits of the members",
    ] = "none"
    weights: str = Field(description="Which weights in the file, and from which step.")


class ImportRecord(Options):
    """What is known about imported weights."""

    family: str
    files: tuple[ImportedFile, ...] = Field(min_length=1)
    published: str | None = Field(default=None, description="Their name in `sim2street import --published`.")
    reported_miou: float | None = Field(
        default=None, ge=0, le=100, description="In percent, by the authors, on the target's validation set."
    )
    left_out: dict[str, int] = Field(default_factory=dict, description="Tensors that were not imported, by reason.")
    protocol: Protocol
