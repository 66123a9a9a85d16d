"""CyCADA (Hoffman et al., ICML 2018): DRN-C-26 or FCN-8s, bare state dicts of https://github.com/jhoffman/cycada_release.

Both networks keep the authors' keys here, except the fixed upsampling kernels of FCN-8s.
"""

from __future__ import annotations

from typing import Final

from sim2street.models.importers.family import IMAGENET_STATISTICS, Family, Plan, Weights, has
from sim2street.models.importers.keys import LeftOut, Translation
from sim2street.models.storage.checkpoint import Window
from sim2street.models.storage.origin import Protocol

KERNELS: Final[dict[str, Translation]] = {
    "upscore_pool4.w": "upscore2.weight",
    "upscore8.w": "upscore8.weight",
    # The same module under two names; a loader fills it in this order, so the other name wins.
    "upscore2.w": LeftOut("second name of the twofold upsampling"),
}
WINDOW: Final = Window(short_side=1024)
"""Cityscapes' own height: its photos are not resized."""


def rename_drn(key: str) -> Translation:
    """Keys of DRN-C-26 are the authors'."""
    return key


def rename_fcn8s(key: str) -> Translation:
    """Keys of FCN-8s are the authors', except the kernels."""
    return KERNELS.get(key, None if key.startswith("upscore") else key)


def is_fcn8s(weights: Weights) -> bool:
    """Whether this is the VGG-16 network."""
    return has(weights, "vgg.", "vgg_head.")


def recognises(weights: Weights) -> bool:
    """Whether this is one of the two networks."""
    return is_fcn8s(weights) or has(weights, "layer8.", "fc.")


def plan(weights: Weights) -> Plan:
    """Plan the import of either network, told apart by the keys."""
    fcn8s = is_fcn8s(weights)
    return Plan(
        title="CyCADA's FCN-8s on VGG-16" if fcn8s else "CyCADA's DRN-C-26",
        network="fcn8s" if fcn8s else "drn",
        options={},
        weights=weights,
        rename=rename_fcn8s if fcn8s else rename_drn,
        window=WINDOW,
        protocol=Protocol(
            size=(2048, 1024),
            normalisation=IMAGENET_STATISTICS,
            align_corners=not fcn8s,
            inference="whole photo, not resized; "
            + ("scores have its size" if fcn8s else "logits eightfold to its size, bilinear"),
            weights="the snapshot that the authors chose",
        ),
    )


CYCADA: Final = Family(
    title="CyCADA",
    year=2018,
    method="cycada",
    licence="bsd-2-clause",
    page="https://github.com/jhoffman/cycada_release",
    recognises=recognises,
    plan=plan,
)
