"""The registry of methods; the command line, pages and model cards quote it, in its order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sim2street.models.errors import ConfigError
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
        title: as people write it.
        paper: citation in a line, empty where there is no single one.
        idea: one sentence.
        adapts: whether it needs unlabelled target images.
        trains: whether gradients change any weight.
    """

    method: type[Method]
    options: type[MethodOptions]
    title: str
    paper: str
    idea: str
    adapts: bool
    trains: bool = True


METHODS: Final[dict[str, MethodEntry]] = {
    "source_only": MethodEntry(
        method=SourceOnly,
        options=SourceOnlyOptions,
        title="Source-only",
        paper="",
        idea="Train on labelled source images and hope.",
        adapts=False,
    ),
    "adabn": MethodEntry(
        method=AdaBN,
        options=AdaBNOptions,
        title="AdaBN",
        paper="Li, Wang, Shi, Liu, Hou. Revisiting Batch Normalization For Practical Domain Adaptation. 2016."
        " arXiv:1603.04779",
        idea="Train nothing; re-estimate batch-norm statistics on target images.",
        adapts=True,
        trains=False,
    ),
    "dann": MethodEntry(
        method=DANN,
        options=DANNOptions,
        title="DANN",
        paper="Ganin, Ustinova, Ajakan, Germain, Larochelle, Laviolette, Marchand, Lempitsky. Domain-Adversarial Training"
        " of Neural Networks. JMLR 2016. arXiv:1505.07818",
        idea="Learn features from which a discriminator cannot tell, at any pixel, which domain they come from.",
        adapts=True,
    ),
    "cycada": MethodEntry(
        method=CyCADA,
        options=CyCADAOptions,
        title="CyCADA",
        paper="Hoffman, Tzeng, Park, Zhu, Isola, Saenko, Efros, Darrell. CyCADA: Cycle-Consistent Adversarial Domain"
        " Adaptation. ICML 2018. arXiv:1711.03213",
        idea="Translate source images as target ones, train on those, then align what the network says of both.",
        adapts=True,
    ),
    "advent": MethodEntry(
        method=ADVENT,
        options=ADVENTOptions,
        title="ADVENT",
        paper="Vu, Jain, Bucher, Cord, Pérez. ADVENT: Adversarial Entropy Minimization for Domain Adaptation in"
        " Semantic Segmentation. CVPR 2019. arXiv:1811.12833",
        idea="Make the entropy maps of target predictions indistinguishable from those of source predictions.",
        adapts=True,
    ),
    "daformer": MethodEntry(
        method=DAFormer,
        options=DAFormerOptions,
        title="DAFormer",
        paper="Hoyer, Dai, Van Gool. DAFormer: Improving Network Architectures and Training Strategies for"
        " Domain-Adaptive Semantic Segmentation. CVPR 2022. arXiv:2111.14887",
        idea="Teach oneself: a slow copy of the network labels target images, onto which source objects are pasted.",
        adapts=True,
    ),
    "hrda": MethodEntry(
        method=HRDA,
        options=HRDAOptions,
        title="HRDA",
        paper="Hoyer, Dai, Van Gool. HRDA: Context-Aware High-Resolution Domain-Adaptive Semantic Segmentation."
        " ECCV 2022. arXiv:2204.13132",
        idea="See the whole picture small and a part of it large, and learn whom to trust where.",
        adapts=True,
    ),
    "mic": MethodEntry(
        method=MIC,
        options=MICOptions,
        title="MIC",
        paper="Hoyer, Dai, Wang, Van Gool. MIC: Masked Image Consistency for Context-Enhanced Domain Adaptation."
        " CVPR 2023. arXiv:2212.01322",
        idea="Hide most of a target image and ask for what the teacher sees in the whole.",
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
