"""HRDA (Hoyer et al., ECCV 2022) and MIC (Hoyer et al., CVPR 2023), whose networks are the same.

A tar.gz of https://github.com/lhoyer/HRDA or https://github.com/lhoyer/MIC, or the mmcv file in it. MIC on DAFormer
has DAFormer's network, recognised by its keys.
"""

from __future__ import annotations

from typing import Final

from sim2street.models.importers import daformer
from sim2street.models.importers.daformer import LICENCE, head_rules
from sim2street.models.importers.family import IMAGENET_STATISTICS, Family, Plan, Weights, has
from sim2street.models.importers.keys import rename_by
from sim2street.models.importers.mix_transformer import ENCODER, student_of, variant_of, width_of
from sim2street.models.storage.checkpoint import Window
from sim2street.models.storage.origin import Protocol

HEAD: Final = "decode_head.head."
ATTENTION: Final = "decode_head.scale_attention."

rename = rename_by(
    {
        **ENCODER,
        **head_rules(r"decode_head\.head"),
        r"decode_head\.scale_attention\.embed_layers\.([0-3])\.proj": r"attention.projections.\1",
        r"decode_head\.scale_attention\.fuse_layer\.conv": "attention.fuse.0",
        r"decode_head\.scale_attention\.fuse_layer\.bn": "attention.fuse.1",
        r"decode_head\.scale_attention\.conv_seg": "attention.classify",
    }
)


def recognises(weights: Weights) -> bool:
    """Whether the student has a scale attention beside its head."""
    student, _ = student_of(weights)
    return has(student, "backbone.block", HEAD) or has(student, ATTENTION)


def recognises_mic(weights: Weights) -> bool:
    """Whether the layout is HRDA's or DAFormer's; MIC's files have either."""
    return recognises(weights) or daformer.recognises(weights)


def plan(weights: Weights) -> Plan:
    """Plan the import of the student."""
    student, left_out = student_of(weights)
    variant = variant_of(student)
    return Plan(
        title=f"HRDA on MiT-{variant.upper()}",
        network="hrda",
        options={
            "variant": variant,
            "channels": width_of(student, f"{HEAD}embed_layers.0.proj.weight"),
            "attention_channels": width_of(student, f"{ATTENTION}embed_layers.0.proj.weight"),
        },
        weights=student,
        rename=rename,
        window=Window(short_side=1024, crop=(1024, 1024), stride=(512, 512), resampling="bilinear"),
        protocol=Protocol(
            size=(2048, 1024),
            normalisation=IMAGENET_STATISTICS,
            align_corners=False,
            branches=(1, 6, 12, 18),
            inference="windows of 1024x1024 every 512 pixels; in each its half-size whole and windows of 512x512 every 256",
            averaging="logits of overlapping windows",
            weights="student, step 40000",
        ),
        left_out=left_out,
    )


def plan_mic(weights: Weights) -> Plan:
    """Plan the import of the student, on either network."""
    return plan(weights) if recognises(weights) else daformer.plan(weights)


HRDA: Final = Family(
    title="HRDA",
    year=2022,
    method="hrda",
    licence=LICENCE,
    page="https://github.com/lhoyer/HRDA#checkpoints",
    recognises=recognises,
    plan=plan,
    has_teacher=True,
)
MIC: Final = Family(
    title="MIC",
    year=2023,
    method="mic",
    licence=LICENCE,
    page="https://github.com/lhoyer/MIC",
    recognises=recognises_mic,
    plan=plan_mic,
    has_teacher=True,
)
