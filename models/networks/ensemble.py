"""An ensemble of networks of the same kind whose logits are averaged, such as ADVENT's AdvEnt + MinEnt row."""

from __future__ import annotations

from typing import Any, Final

import torch
from pydantic import Field
from torch import Tensor, nn

from sim2street.models.errors import ConfigError
from sim2street.models.labels import LabelSpace
from sim2street.models.networks.entry import NetworkEntry
from sim2street.models.options import Options
from sim2street.models.segmenter import Core, Segmenter


class EnsembleOptions(Options):
    """Options of `ensemble`."""

    network: str = Field(default="deeplab_v2", description="Kind of all members.")
    network_options: dict[str, Any] = Field(default_factory=dict, description="Options of all members.")
    members: int = Field(default=2, ge=2, le=16, description="Number of members.")


class Ensemble(Core):
    """Bare network: normalised (B, 3, H, W) -> `main` and, if the members have it, `aux`: means over the members."""

    def __init__(self, members: list[Core]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.multiple = max(member.multiple for member in members)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Average the members' logits with equal weights."""
        outputs = [member(images) for member in self.members]
        return {
            name: torch.stack([output[name] for output in outputs]).mean(dim=0)
            for name in ("main", "aux")
            if name in outputs[0]
        }

    def heads(self) -> tuple[nn.Module, ...]:
        """The heads of all members."""
        return tuple(head for member in self.members for head in member.heads())  # pyright: ignore[reportCallIssue]


def ensemble(members: list[Segmenter]) -> Segmenter:
    """Join segmenters of the same kind; the first one defines normalisation and upsampling."""
    first = members[0]
    core = Ensemble([member.core for member in members])
    return Segmenter(core, first.labels, first.normalisation, align_corners=first.align_corners)


def _build(labels: LabelSpace, options: EnsembleOptions) -> Segmenter:
    from sim2street.models.networks import build  # the registry, which also contains this entry

    if options.network == ENTRY.name:
        raise ConfigError("The members of an ensemble cannot be ensembles themselves.")
    return ensemble([build(options.network, labels, options.network_options) for _ in range(options.members)])


def _encoder(options: EnsembleOptions) -> str:
    from sim2street.models.networks import encoder_name

    return encoder_name(options.network, options.network_options)


ENTRY: Final = NetworkEntry(
    name="ensemble", title="Ensemble", paper="", encoder=_encoder, options=EnsembleOptions, build=_build
)
