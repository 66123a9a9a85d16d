"""SegFormer (Xie et al., NeurIPS 2021), in four layouts: the authors' mmcv file, DAFormer's, and two from transformers.

DAFormer's repository, which has the paper's SegFormer baselines, numbers the head's layers from 0 and stacks the stages in
reverse order. Reordering the blocks of the fusing kernel undoes this here.

The port uses one naming scheme on the Hub and, since version 5, another in memory; both are first renamed to the authors'
names. It has separate layers for keys and values of the attention, where the authors have one.

The port builds every layer norm with an epsilon of 1e-5, the authors with 1e-6. Its weights are the authors' and were trained
with 1e-6, so 1e-6 is used here; the network's option `norm_epsilon` allows a comparison with the port.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

import torch
from torch import Tensor

from sim2street.models.errors import CheckpointError
from sim2street.models.importers.family import IMAGENET_STATISTICS, Family, Plan, Weights, has
from sim2street.models.importers.keys import LeftOut, rename_by, renamed, translate
from sim2street.models.importers.mix_transformer import (
    ENCODER,
    HALF_SIZE,
    HALF_SIZE_PROTOCOL,
    student_of,
    variant_of,
    width_of,
)
from sim2street.models.networks.mix_transformer import MixTransformer
from sim2street.models.storage.checkpoint import Window
from sim2street.models.storage.files import WEIGHTS
from sim2street.models.storage.origin import Protocol

rename = rename_by(
    {
        **ENCODER,
        # Our head begins with stage 4, like the authors'.
        **{rf"decode_head\.linear_c{stage}\.proj": f"head.projections.{4 - stage}" for stage in range(1, 5)},
        r"decode_head\.linear_fuse\.conv": "head.fuse.0",
        r"decode_head\.linear_fuse\.bn": "head.fuse.1",
        r"decode_head\.linear_pred": "head.classify",
        r"decode_head\.conv_seg": LeftOut("inherited classifier that SegFormer's head does not use"),
    }
)

BLOCK_V4: Final = {
    r"layer_norm_([12])": r"norm\1",
    r"attention\.self\.query": "attn.q",
    r"attention\.self\.(key|value)": r"attn.\1",
    r"attention\.self\.sr": "attn.sr",
    r"attention\.self\.layer_norm": "attn.norm",
    r"attention\.output\.dense": "attn.proj",
    r"mlp\.dense([12])": r"mlp.fc\1",
    r"mlp\.dwconv\.dwconv": "mlp.dwconv.dwconv",
}
BLOCK_V5: Final = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    r"attention\.q_proj": "attn.q",
    r"attention\.k_proj": "attn.key",
    r"attention\.v_proj": "attn.value",
    r"attention\.sequence_reduction\.sequence_reduction": "attn.sr",
    r"attention\.sequence_reduction\.layer_norm": "attn.norm",
    r"attention\.o_proj": "attn.proj",
    r"mlp\.(fc[12])": r"mlp.\1",
    r"mlp\.dwconv\.dwconv": "mlp.dwconv.dwconv",
}
HEAD_OF_PORT: Final = {
    r"decode_head\.linear_fuse": "decode_head.linear_fuse.conv",
    r"decode_head\.batch_norm": "decode_head.linear_fuse.bn",
    r"decode_head\.classifier": "decode_head.linear_pred",
}


FILES_OF_PORT: Final = (WEIGHTS, "pytorch_model.bin")
FUSE: Final = "decode_head.linear_fuse.conv.weight"
OWN_WINDOW: Final = Window(short_side=1024, crop=(1024, 1024), stride=(768, 768), resampling="bilinear")
OWN_PROTOCOL: Final = Protocol(
    size=(2048, 1024),
    normalisation=IMAGENET_STATISTICS,
    align_corners=False,
    inference="windows of 1024x1024 every 768 pixels",
    averaging="logits of overlapping windows",
    weights="last step",
)
CLASSIFIER: Final = re.compile(r"(^|\.)(head|classifier)\.(weight|bias)$")
"""ImageNet's thousand classes."""


def _port_rules() -> dict[str, str | LeftOut]:
    rules: dict[str, str | LeftOut] = dict(HEAD_OF_PORT)
    for index in range(4):
        stage = index + 1
        v4, v5 = r"segformer\.encoder\.", rf"segformer\.stages\.{index}\."
        rules[rf"{v4}patch_embeddings\.{index}\.proj"] = f"backbone.patch_embed{stage}.proj"
        rules[rf"{v4}patch_embeddings\.{index}\.layer_norm"] = f"backbone.patch_embed{stage}.norm"
        rules[rf"{v4}layer_norm\.{index}"] = f"backbone.norm{stage}"
        rules[rf"{v5}patch_embeddings\.proj"] = f"backbone.patch_embed{stage}.proj"
        rules[rf"{v5}patch_embeddings\.layer_norm"] = f"backbone.patch_embed{stage}.norm"
        rules[rf"{v5}layer_norm"] = f"backbone.norm{stage}"
        for theirs, ours in BLOCK_V4.items():
            rules[rf"{v4}block\.{index}\.(?P<block>\d+)\.{theirs}"] = _in_block(stage, ours)
        for theirs, ours in BLOCK_V5.items():
            rules[rf"{v5}blocks\.(?P<block>\d+)\.{theirs}"] = _in_block(stage, ours)
        for name in ("linear_c", "linear_projections"):
            rules[rf"decode_head\.{name}\.{index}\.proj"] = f"decode_head.linear_c{stage}.proj"
    return rules


def _in_block(stage: int, ours: str) -> str:
    # The block's number is the pattern's first group, so the rule's own groups count from two.
    return rf"backbone.block{stage}.\g<block>." + ours.replace(r"\1", r"\2")


to_authors_name = rename_by(_port_rules())


def is_port(weights: Weights) -> bool:
    """Whether this is a layout of transformers."""
    return has(weights, "segformer.")


def from_port(weights: Weights) -> dict[str, Tensor]:
    """Rename weights of transformers, version 4 or 5, to the authors' names; unknown keys stay unchanged."""
    theirs = renamed(weights, _authors_name_or_same)
    for key in [key for key in theirs if re.search(r"\.attn\.key\.(weight|bias)$", key)]:
        other = key.replace(".attn.key.", ".attn.value.")
        if other not in theirs:
            raise CheckpointError(f"The file contains an attention's key layer ({key}) but not its value layer.")
        halves = theirs.pop(key), theirs.pop(other)
        if halves[0].shape != halves[1].shape:
            raise CheckpointError(
                f"{key} and its value layer differ in shape: {[tuple(half.shape) for half in halves]}."
            )
        theirs[key.replace(".attn.key.", ".attn.kv.")] = torch.cat(halves)
    return theirs


def _authors_name_or_same(key: str) -> str:
    answer = to_authors_name(key)
    return answer if isinstance(answer, str) else key


def is_daformers(weights: Weights) -> bool:
    """Whether this is the layout of DAFormer's repository."""
    return has(weights, "backbone.block", "decode_head.linear_c.0.")


def from_daformers(weights: Weights) -> dict[str, Tensor]:
    """Convert weights of DAFormer's repository to the authors' names and order of stages, 4 to 1."""
    theirs = renamed(weights, lambda key: re.sub(r"^decode_head\.linear_c\.([0-3])\.", _counted_from_one, key))
    fuse = theirs.get(FUSE)
    if fuse is not None and fuse.ndim == 4 and fuse.shape[1] % 4 == 0:  # otherwise its shape is refused later
        theirs[FUSE] = torch.cat(fuse.chunk(4, dim=1)[::-1], dim=1)
    return theirs


def _counted_from_one(match: re.Match[str]) -> str:
    return f"decode_head.linear_c{int(match[1]) + 1}."


def encoder_of(weights: Weights, encoder: MixTransformer) -> dict[str, Tensor]:
    """Weights of the ImageNet encoder alone, under our names: the authors' `mit_b*.pth`, or the port's file on the Hub.

    Args:
        weights: tensors from `tensors_of`; the 1000-way classifier is left out.
        encoder: the encoder they are for; not changed.

    Raises:
        CheckpointError: a key is unknown or missing, or a shape differs.
    """
    weights = from_port(weights) if is_port(weights) else {f"backbone.{key}": value for key, value in weights.items()}
    kept = {key: value for key, value in weights.items() if not CLASSIFIER.search(key)}
    rename_encoder = rename_by({pattern: answer.removeprefix("encoder.") for pattern, answer in ENCODER.items()})
    return translate(kept, rename_encoder, encoder, title="a Mix Transformer of this size").weights


def recognises(weights: Weights) -> bool:
    """Whether a Mix Transformer has the head of linear layers."""
    student, _ = student_of(weights)
    return has(student, "segformer.", "decode_head.") or has(student, "backbone.block", "decode_head.linear_")


def plan(weights: Weights) -> Plan:
    """Plan the import of any of the four layouts."""
    if is_port(weights):
        weights, left_out = from_port(weights), Counter()
    else:
        weights, left_out = student_of(weights)
    window, protocol = OWN_WINDOW, OWN_PROTOCOL
    if is_daformers(weights):
        weights, window, protocol = from_daformers(weights), HALF_SIZE, HALF_SIZE_PROTOCOL
    variant = variant_of(weights)
    return Plan(
        title=f"SegFormer-{variant.upper()}",
        network="segformer",
        options={"variant": variant, "channels": width_of(weights, FUSE)},
        weights=weights,
        rename=rename,
        window=window,
        protocol=protocol,
        left_out=left_out,
    )


SEGFORMER: Final = Family(
    title="SegFormer",
    year=2021,
    method="source_only",
    licence="NVIDIA Source Code License for SegFormer: non-commercial research",
    page="https://huggingface.co/nvidia",
    recognises=recognises,
    plan=plan,
    hub_files=FILES_OF_PORT,
)
