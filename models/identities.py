"""Who is who: title, colour, idea and paper of each method, by the name that configs give it.

Command line, pages and model cards ask here, so that a method is called, explained and coloured alike everywhere,
whatever else stands beside it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class MethodIdentity:
    """One entry of `IDENTITIES`.

    Attributes:
        title: as people write it.
        colour: CSS hex colour; no other method's and no class's.
        idea: one sentence.
        paper: citation in a line, empty where there is no single one.
    """

    title: str
    colour: str
    idea: str
    paper: str = ""


IDENTITIES: Final[dict[str, MethodIdentity]] = {
    "source_only": MethodIdentity(
        title="Source-only",
        colour="#7a7f8c",
        idea="Train on labelled source images and hope.",
    ),
    "adabn": MethodIdentity(
        title="AdaBN",
        colour="#8a5a33",
        idea="Train nothing; re-estimate batch-norm statistics on target images.",
        paper="Li, Wang, Shi, Liu, Hou. Revisiting Batch Normalization For Practical Domain Adaptation. 2016."
        " arXiv:1603.04779",
    ),
    "dann": MethodIdentity(
        title="DANN",
        colour="#c9a227",
        idea="Learn features from which a discriminator cannot tell, at any pixel, which domain they come from.",
        paper="Ganin, Ustinova, Ajakan, Germain, Larochelle, Laviolette, Marchand, Lempitsky. Domain-Adversarial Training"
        " of Neural Networks. JMLR 2016. arXiv:1505.07818",
    ),
    "cycada": MethodIdentity(
        title="CyCADA",
        colour="#17a398",
        idea="Repaint source images as target ones, train on those, then align what the network says of both.",
        paper="Hoffman, Tzeng, Park, Zhu, Isola, Saenko, Efros, Darrell. CyCADA: Cycle-Consistent Adversarial Domain"
        " Adaptation. ICML 2018. arXiv:1711.03213",
    ),
    "adaptsegnet": MethodIdentity(
        title="AdaptSegNet",
        colour="#6b8f3a",
        idea="Make target predictions indistinguishable from source predictions.",
        paper="Tsai, Hung, Schulter, Sohn, Yang, Chandraker. Learning to Adapt Structured Output Space for Semantic"
        " Segmentation. CVPR 2018. arXiv:1802.10349",
    ),
    "advent": MethodIdentity(
        title="ADVENT",
        colour="#e07b39",
        idea="Make the entropy maps of target predictions indistinguishable from those of source predictions.",
        paper="Vu, Jain, Bucher, Cord, Pérez. ADVENT: Adversarial Entropy Minimization for Domain Adaptation in"
        " Semantic Segmentation. CVPR 2019. arXiv:1811.12833",
    ),
    "daformer": MethodIdentity(
        title="DAFormer",
        colour="#4c78dd",
        idea="Teach oneself: a slow copy of the network labels target images, onto which source objects are pasted.",
        paper="Hoyer, Dai, Van Gool. DAFormer: Improving Network Architectures and Training Strategies for"
        " Domain-Adaptive Semantic Segmentation. CVPR 2022. arXiv:2111.14887",
    ),
    "hrda": MethodIdentity(
        title="HRDA",
        colour="#b35cb8",
        idea="See the whole picture small and a part of it large, and learn whom to trust where.",
        paper="Hoyer, Dai, Van Gool. HRDA: Context-Aware High-Resolution Domain-Adaptive Semantic Segmentation."
        " ECCV 2022. arXiv:2204.13132",
    ),
    "mic": MethodIdentity(
        title="MIC",
        colour="#d1495b",
        idea="Hide most of a target image and ask for what the teacher sees in the whole.",
        paper="Hoyer, Dai, Wang, Van Gool. MIC: Masked Image Consistency for Context-Enhanced Domain Adaptation."
        " CVPR 2023. arXiv:2212.01322",
    ),
}
"""In the order of their years."""

OTHER_COLOURS: Final = ("#5bb0e0", "#e48fb0", "#6a5acd", "#2e8b57", "#b8860b")
"""For methods of somebody's own."""


def identity(method: str) -> MethodIdentity:
    """Who a method is; one that is not listed keeps its name and gets a colour that goes by its name alone."""
    known = IDENTITIES.get(method)
    if known is not None:
        return known
    place = zlib.crc32(method.encode()) % len(OTHER_COLOURS)
    return MethodIdentity(title=method, colour=OTHER_COLOURS[place], idea="")


def identity_of_title(title: str) -> MethodIdentity:
    """Who is meant by a title, as published tables write it."""
    return next((each for each in IDENTITIES.values() if each.title.lower() == title.lower()), identity(title))
