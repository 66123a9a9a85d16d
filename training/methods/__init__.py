"""The registry of methods; the command line, pages and model cards quote it, in its order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sim2street.models.errors import ConfigError
from sim2street.models.identities import IDENTITIES, MethodIdentity
from sim2street.models.segmenter import Segmenter
from sim2street.training.methods.adabn import AdaBN, AdaBNOptions
from sim2street.training.methods.advent import ADVENT, ADVENTOptions
from sim2street.training.methods.base import Method, MethodOptions
from sim2street.training.methods.cycada import CyCADA, CyCADAOptions
from sim2street.training.methods.daformer import DAFormer, DAFormerOptions
from sim2street.training.methods.dann import DANN, DANNOptions
from sim2street.training.methods.hrda import HRDA, HRDAOptions
from sim2street.training.methods.mic import MIC, MICOptions
from sim2street.training.methods.source_only import SourceOnly, SourceOnlyOptions


@dataclass(frozen=True)
class MethodEntry:
    """One entry of `METHODS`.

    Attributes:
        method: the class.
        options: its options; the defaults are the paper's.
        identity: its title, idea and paper.
        adapts: whether it needs unlabelled target images.
        trains: whether gradients change any weight.
    """

    method: type[Method]
    options: type[MethodOptions]
    identity: MethodIdentity
    adapts: bool
    trains: bool = True

    @property
    def title(self) -> str:
        """As people write it."""
        return self.identity.title

    @property
    def idea(self) -> str:
        """One sentence."""
        return self.identity.idea

    @property
    def paper(self) -> str:
        """Citation in a line, empty where there is no single one."""
        return self.identity.paper


METHODS: Final[dict[str, MethodEntry]] = {
    "source_only": MethodEntry(
        method=SourceOnly,
        options=SourceOnlyOptions,
        identity=IDENTITIES["source_only"],
        adapts=False,
    ),
    "adabn": MethodEntry(
        method=AdaBN,
        options=AdaBNOptions,
        identity=IDENTITIES["adabn"],
        adapts=True,
        trains=False,
    ),
    "dann": MethodEntry(
        method=DANN,
        options=DANNOptions,
        identity=IDENTITIES["dann"],
        adapts=True,
    ),
    "cycada": MethodEntry(
        method=CyCADA,
        options=CyCADAOptions,
        identity=IDENTITIES["cycada"],
        adapts=True,
    ),
    "advent": MethodEntry(
        method=ADVENT,
        options=ADVENTOptions,
        identity=IDENTITIES["advent"],
        adapts=True,
    ),
    "daformer": MethodEntry(
        method=DAFormer,
        options=DAFormerOptions,
        identity=IDENTITIES["daformer"],
        adapts=True,
    ),
    "hrda": MethodEntry(
        method=HRDA,
        options=HRDAOptions,
        identity=IDENTITIES["hrda"],
        adapts=True,
    ),
    "mic": MethodEntry(
        method=MIC,
        options=MICOptions,
        identity=IDENTITIES["mic"],
        adapts=True,
    ),
}


def method_entry(name: str) -> MethodEntry:
    """Return the entry of that name, or raise `ConfigError` that lists the names."""
    try:
        return METHODS[name]
    except KeyError:
        raise ConfigError(f"There is no method {name!r}; known are {', '.join(METHODS)}.") from None


def build_method(name: str, segmenter: Segmenter, options: Mapping[str, Any] | None = None) -> Method:
    """Build a method around a segmenter: `build_method("advent", segmenter, {"entropy_weight": 0.001})`."""
    entry = method_entry(name)
    return entry.method(segmenter, entry.options.parse(options or {}, where=f"method {name}"))  # pyright: ignore
