"""ADVENT (Vu et al., CVPR 2019): DeepLab-v2 on ResNet-101, a bare state dict of https://github.com/valeoai/ADVENT."""

from __future__ import annotations

from typing import Final

from sim2street.models.errors import CheckpointError
from sim2street.models.importers.family import CAFFE_BYTES, Family, Plan, Weights, has
from sim2street.models.importers.keys import Rename, rename_by
from sim2street.models.storage.checkpoint import Window
from sim2street.models.storage.origin import Protocol

BACKBONE: Final = {
    r"conv1|bn1|layer[1-4]\..+": r"backbone.\g<0>",
}
HEADS: Final = {
    r"layer5\.conv2d_list\.([0-3])": r"aux.branches.\1",
    r"layer6\.conv2d_list\.([0-3])": r"main.branches.\1",
}

rename = rename_by({**BACKBONE, **HEADS})


def recognises(weights: Weights) -> bool:
    """Whether both classifiers of the two-level network are there."""
    return has(weights, "layer5.conv2d_list.", "layer6.conv2d_list.")


def plan_of_two_levels(weights: Weights, title: str, rename: Rename, dilations: tuple[int, ...]) -> Plan:
    """Plan the import of DeepLab-v2 with two classifiers of these branches.

    Raises:
        CheckpointError: the file contains AdaptSegNet's network on VGG-16, which has no ResNet to map to.
    """
    if has(weights, "features.", "classifier.conv2d_list."):
        raise CheckpointError(
            "The file contains DeepLab on VGG-16; only the ResNet-101 models of ADVENT and AdaptSegNet can be imported."
        )
    return Plan(
        title=f"{title}'s DeepLab-v2 on ResNet-101",
        network="deeplab_v2",
        options={"dilations": dilations},
        weights=weights,
        rename=rename,
        window=Window(short_side=512),
        protocol=Protocol(
            size=(1024, 512),
            normalisation=CAFFE_BYTES,
            align_corners=True,
            branches=dilations,
            inference="whole photo, resized by Pillow's bicubic filter; logits straight to the photo's size, bilinear",
            weights="main classifier, batch-norm statistics of training, the snapshot that scored best on val",
        ),
    )


def plan(weights: Weights) -> Plan:
    """Plan the import; all four branches of both classifiers count."""
    return plan_of_two_levels(weights, "ADVENT", rename, (6, 12, 18, 24))


ADVENT: Final = Family(
    title="ADVENT",
    year=2019,
    method="advent",
    licence="apache-2.0 for the repository; built on AdaptSegNet, which is for non-commercial research",
    page="https://github.com/valeoai/ADVENT/releases",
    recognises=recognises,
    plan=plan,
)
