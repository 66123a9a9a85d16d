"""The layout shared by SegFormer, DAFormer, HRDA and MIC: mmsegmentation files of a Mix Transformer and a head.

`state_dict` contains `backbone.*` and `decode_head.*`. A file saved during adaptation contains them three times or more: the
student, which the papers evaluate, under `model.`, and networks needed only for training under other prefixes.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from sim2street.models.errors import CheckpointError
from sim2street.models.importers.family import IMAGENET_STATISTICS, Weights
from sim2street.models.importers.keys import renamed, shapes_at
from sim2street.models.networks.mix_transformer import HEADS, VARIANTS
from sim2street.models.storage.checkpoint import Window
from sim2street.models.storage.origin import Protocol

STUDENT: Final = "model."
TRAINING_ONLY: Final = {
    "ema_model.": "teacher (ema_model)",
    "imnet_model.": "frozen ImageNet network (imnet_model)",
    "mic.": "masking module (mic)",
}
OWN: Final = ("backbone.", "decode_head.")
HALF_SIZE: Final = Window(short_side=512, resampling="bilinear", upsample_twice=True)
HALF_SIZE_PROTOCOL: Final = Protocol(
    size=(1024, 512),
    normalisation=IMAGENET_STATISTICS,
    align_corners=False,
    inference="whole photo, resized bilinearly; logits to 1024x512 and from there to the photo's size, bilinear",
    weights="student, step 40000",
)
"""The evaluation protocol of DAFormer's repository."""


def _encoder_rules() -> dict[str, str]:
    block = {
        "norm1": "norm1",
        "norm2": "norm2",
        r"attn\.q": "attention.query",
        r"attn\.kv": "attention.key_value",
        r"attn\.proj": "attention.projection",
        r"attn\.sr": "attention.reduce",
        r"attn\.norm": "attention.reduce_norm",
        r"mlp\.fc1": "feed_forward.widen",
        r"mlp\.dwconv\.dwconv": "feed_forward.mix",
        r"mlp\.fc2": "feed_forward.narrow",
    }
    rules: dict[str, str] = {}
    for number in range(1, 5):
        stage = f"encoder.stages.{number - 1}"
        rules[rf"backbone\.patch_embed{number}\.proj"] = f"{stage}.embedding.projection"
        rules[rf"backbone\.patch_embed{number}\.norm"] = f"{stage}.embedding.norm"
        rules[rf"backbone\.norm{number}"] = f"{stage}.norm"
        for theirs, ours in block.items():
            rules[rf"backbone\.block{number}\.(\d+)\.{theirs}"] = rf"{stage}.blocks.\1.{ours}"
    return rules


ENCODER: Final = _encoder_rules()
"""Rules for `backbone.*`."""


def student_of(weights: Weights) -> tuple[Weights, Counter[str]]:
    """Extract the evaluated network without its prefix, and count the tensors that only training needs."""
    if all(key.startswith(OWN) for key in weights):
        return weights, Counter()
    reasons = {key: reason for key in weights for start, reason in TRAINING_ONLY.items() if key.startswith(start)}
    left_out = Counter(reasons.values())
    # Anchored: the authors' own tool removes "model." anywhere in a key, which mixes up teacher and student.
    kept = {key: value for key, value in weights.items() if key not in reasons}
    student = renamed(kept, lambda key: key.removeprefix(STUDENT))
    if left_out and not student:
        raise CheckpointError(
            f"The file contains {', '.join(left_out)} but not the student (model.*), the network that is evaluated."
        )
    return student, left_out


def variant_of(weights: Weights) -> str:
    """Identify the Mix Transformer, "b0" to "b5", by the width of its first stage and its numbers of blocks."""
    embedding = weights.get("backbone.patch_embed1.proj.weight")
    if embedding is None or embedding.ndim != 4:
        raise CheckpointError("The file lacks backbone.patch_embed1.proj.weight, the Mix Transformer's first layer.")
    norms = shapes_at(weights, r"backbone\.block[1-4]\.\d+\.norm1\.weight")
    depths = tuple(sum(key.startswith(f"backbone.block{stage}.") for key in norms) for stage in range(1, 5))
    width = embedding.shape[0] // HEADS[0]
    for name, variant in VARIANTS.items():
        if (variant.head_channels, variant.depths) == (width, depths):
            return name
    shown = ", ".join(map(str, depths))
    raise CheckpointError(
        f"The file's encoder has {shown} blocks and {width} channels in its first stage, unlike any Mix Transformer B0 to B5."
        " Are blocks missing, or are keys renamed?"
    )


def width_of(weights: Weights, key: str) -> int:
    """Number of outputs of the layer at `key`, which is the width of a head."""
    if key not in weights or not weights[key].ndim:
        raise CheckpointError(f"The file lacks {key}. Is it an encoder without a head, or are keys renamed?")
    return weights[key].shape[0]
