"""DAFormer (Hoyer et al., CVPR 2022): a tar.gz of https://github.com/lhoyer/DAFormer, or the mmcv file in it."""

from __future__ import annotations

from typing import Final

from sim2street.models.importers import segformer
from sim2street.models.importers.family import Family, Plan, Weights, has
from sim2street.models.importers.keys import LeftOut, rename_by
from sim2street.models.importers.mix_transformer import (
    ENCODER,
    HALF_SIZE,
    HALF_SIZE_PROTOCOL,
    student_of,
    variant_of,
    width_of,
)

LICENCE: Final = (
    "apache-2.0 for the repository; parts fall under the NVIDIA Source Code License (SegFormer): non-commercial"
)


def head_rules(prefix: str) -> dict[str, str | LeftOut]:
    """Rules for DAFormer's head, whose keys begin with `prefix`, a pattern."""
    branch = rf"{prefix}\.fuse_layer\.aspp_modules\."
    return {
        rf"{prefix}\.embed_layers\.([0-3])\.proj": r"head.projections.\1",
        rf"{branch}0\.conv": "head.branches.0.0",
        rf"{branch}0\.bn": "head.branches.0.1",
        rf"{branch}([1-3])\.depthwise_conv\.conv": r"head.branches.\1.0.0",
        rf"{branch}([1-3])\.depthwise_conv\.bn": r"head.branches.\1.0.1",
        rf"{branch}([1-3])\.pointwise_conv\.conv": r"head.branches.\1.1.0",
        rf"{branch}([1-3])\.pointwise_conv\.bn": r"head.branches.\1.1.1",
        rf"{prefix}\.fuse_layer\.bottleneck\.conv": "head.fuse.0",
        rf"{prefix}\.fuse_layer\.bottleneck\.bn": "head.fuse.1",
        rf"{prefix}\.conv_seg": "head.classify",
    }


rename = rename_by({**ENCODER, **head_rules(r"decode_head")})


def recognises(weights: Weights) -> bool:
    """Whether the student has a Mix Transformer and the context-aware head, or the baselines' head."""
    student, _ = student_of(weights)
    return segformer.is_daformers(student) or has(student, "backbone.block", "decode_head.fuse_layer.aspp_modules.")


def plan(weights: Weights) -> Plan:
    """Plan the import of the student, which has SegFormer's head if the file is one of the paper's baselines."""
    student, left_out = student_of(weights)
    if segformer.is_daformers(student):
        return segformer.plan(weights)
    variant = variant_of(student)
    return Plan(
        title=f"DAFormer on MiT-{variant.upper()}",
        network="daformer",
        options={"variant": variant, "channels": width_of(student, "decode_head.embed_layers.0.proj.weight")},
        weights=student,
        rename=rename,
        window=HALF_SIZE,
        protocol=HALF_SIZE_PROTOCOL.model_copy(update={"branches": (1, 6, 12, 18)}),
        left_out=left_out,
    )


DAFORMER: Final = Family(
    title="DAFormer",
    year=2022,
    method="daformer",
    licence=LICENCE,
    page="https://github.com/lhoyer/DAFormer#checkpoints",
    recognises=recognises,
    plan=plan,
    has_teacher=True,
)
