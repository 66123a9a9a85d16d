"""EoMT (Kerssies et al., CVPR 2025) on Cityscapes: the authors' file of https://github.com/tue-mps/eomt, or transformers'.

The transformers port splits query, key and value of the attention, and stores positions without their leading 1.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Final

import torch
from torch import Tensor

from sim2street.models.errors import CheckpointError
from sim2street.models.importers.family import IMAGENET_STATISTICS, Family, Plan, Weights, has
from sim2street.models.importers.keys import LeftOut, Translation, rename_by, renamed
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.storage.checkpoint import Window
from sim2street.models.storage.origin import Protocol

BACKBONE: Final = "encoder.backbone."
ENCODERS: Final = {384: "small", 768: "base", 1024: "large"}
"""Size of DINOv2 by the width of its tokens."""
REGISTERS: Final = 4
OUTPUTS: Final = CITYSCAPES19.count + 1
"""The classes and "no class"."""
MASKING: Final = "attn_mask_probs"
NOTES: Final = {
    MASKING: LeftOut("how often attention was masked at the end of training; evaluation does not mask it"),
    "criterion.empty_weight": LeftOut("weight of a loss"),
}
PROTOCOL: Final = Protocol(
    size=(2048, 1024),
    normalisation=IMAGENET_STATISTICS,
    align_corners=False,
    inference="as few square windows as cover the longer side, evenly spread; masks to the window's size, bilinear",
    averaging="scores of overlapping windows",
    weights="last step",
)

_rename = rename_by(
    {
        r"encoder\.backbone(\..+)?": r"encoder\1",
        "encoder": LeftOut("mean and deviation of the input"),
        "q": "queries",
        r"class_head|mask_head\.[024]|upscale\.[01]\.(conv[12]|norm)": r"\g<0>",
    }
)
_to_authors_module = rename_by(
    {
        r"embeddings\.patch_embeddings\.projection": f"{BACKBONE}patch_embed.proj",
        "layernorm": f"{BACKBONE}norm",
        "query": "q",
        "class_predictor": "class_head",
        r"mask_head\.fc1": "mask_head.0",
        r"mask_head\.fc2": "mask_head.2",
        r"mask_head\.fc3": "mask_head.4",
        r"upscale_block\.block\.([01])\.(conv[12])": r"upscale.\1.\2",
        r"upscale_block\.block\.([01])\.layernorm2d": r"upscale.\1.norm",
        r"layers\.(\d+)\.(norm[12]|mlp\.fc[12])": rf"{BACKBONE}blocks.\1.\2",
        r"layers\.(\d+)\.attention\.([qkv])_proj": rf"{BACKBONE}blocks.\1.attn.\2",
        r"layers\.(\d+)\.attention\.out_proj": rf"{BACKBONE}blocks.\1.attn.proj",
    }
)
TENSORS_OF_PORT: Final = {
    r"embeddings\.cls_token": f"{BACKBONE}cls_token",
    r"embeddings\.register_tokens": f"{BACKBONE}reg_token",
    r"embeddings\.position_embeddings\.weight": f"{BACKBONE}pos_embed",
    r"layers\.(\d+)\.layer_scale([12])\.lambda1": rf"{BACKBONE}blocks.\1.ls\2.gamma",
}


def rename(key: str) -> Translation:
    """The authors' key -> ours."""
    return NOTES.get(key) or _rename(key)


def is_port(weights: Weights) -> bool:
    """Whether this is the layout of transformers."""
    return has(weights, "layers.0.attention.", "class_predictor.")


def from_port(weights: Weights) -> dict[str, Tensor]:
    """Rename weights of transformers to the authors' names; unknown keys stay unchanged."""
    theirs = renamed(weights, _authors_name_or_same)
    for key in [key for key in theirs if re.search(r"\.attn\.q\.(weight|bias)$", key)]:
        parts = [key.replace(".attn.q.", f".attn.{part}.") for part in "qkv"]
        if missing := [part for part in parts if part not in theirs]:
            raise CheckpointError(f"The file contains an attention's query layer but not {missing[0]}.")
        if len({theirs[part].shape for part in parts}) > 1:
            raise CheckpointError(f"Query, key and value of an attention differ in shape at {key}.")
        theirs[key.replace(".attn.q.", ".attn.qkv.")] = torch.cat([theirs.pop(part) for part in parts])
    positions = theirs.get(f"{BACKBONE}pos_embed")
    if positions is not None and positions.ndim == 2:
        theirs[f"{BACKBONE}pos_embed"] = positions[None]
    return theirs


def _authors_name_or_same(key: str) -> str:
    for pattern, answer in TENSORS_OF_PORT.items():
        if (match := re.fullmatch(pattern, key)) is not None:
            return match.expand(answer)
    answer = _to_authors_module(key)
    return answer if isinstance(answer, str) else key


def _of_authors(weights: Weights) -> dict[str, Tensor]:
    plain = renamed(weights, lambda key: key.removeprefix("network."))
    return from_port(plain) if is_port(plain) else plain


def recognises(weights: Weights) -> bool:
    """Whether the weights have queries, masks and classes in one of the two layouts."""
    plain = {key.removeprefix("network."): value for key, value in weights.items()}
    return is_port(plain) or has(plain, "q.weight", "class_head.", "mask_head.")


def plan(weights: Weights) -> Plan:
    """Plan the import; sizes follow from the shapes."""
    weights = _of_authors(weights)
    width, side, patch = _geometry(weights)
    head = weights.get("class_head.weight")
    outputs = head.shape[0] if head is not None and head.ndim else 0
    if outputs != OUTPUTS:
        raise CheckpointError(
            f'The class head has {outputs} outputs; expected {OUTPUTS}, Cityscapes\' 19 classes and "no class". Only networks'
            " with those classes can be imported."
        )
    blocks = len({key for key in weights if re.fullmatch(r"encoder\.backbone\.blocks\.\d+\.norm1\.weight", key)})
    masking = weights.get(MASKING)
    query_blocks = len(masking) if masking is not None and masking.ndim == 1 else 4
    if query_blocks not in range(1, blocks + 1):
        raise CheckpointError(
            f"{MASKING} lists {query_blocks} blocks with queries, but the encoder has {blocks} blocks."
        )
    queries = weights.get("q.weight")
    if queries is None or not queries.ndim:
        raise CheckpointError("The file lacks its queries, q.weight.")
    return Plan(
        title=f"EoMT on DINOv2 {ENCODERS[width]}",
        network="eomt",
        options={
            "encoder": f"vit_{ENCODERS[width]}_patch14_reg{REGISTERS}_dinov2",
            "size": side * patch,
            "patch": patch,
            "queries": queries.shape[0],
            "query_blocks": query_blocks,
        },
        weights=weights,
        rename=rename,
        window=Window(
            short_side=side * patch,
            crop=(side * patch, side * patch),
            spread=True,
            resampling="pillow_bilinear",
            averaging="scores",
        ),
        protocol=PROTOCOL,
        left_out=Counter(),
    )


def _geometry(weights: Weights) -> tuple[int, int, int]:
    """Width of the tokens, patches per side, and pixels per patch side."""
    kernel, positions = weights.get(f"{BACKBONE}patch_embed.proj.weight"), weights.get(f"{BACKBONE}pos_embed")
    registers = weights.get(f"{BACKBONE}reg_token")
    if kernel is None and has(weights, "class_head."):
        raise CheckpointError(
            "The file lacks the encoder's first layers. EoMT's files for DINOv3 contain only differences to DINOv3's own gated"
            " weights and cannot be used without them; import a file that contains the whole network."
        )
    if positions is None or registers is None or kernel is None or kernel.ndim != 4 or positions.ndim != 3:
        raise CheckpointError(
            "The file lacks the patch, position or register embedding of a DINOv2 with registers, the only supported"
            " encoder. Files for DINOv3 cannot be imported."
        )
    width, side = kernel.shape[0], math.isqrt(positions.shape[1])
    if width not in ENCODERS or side * side != positions.shape[1] or registers.shape[1:2] != (REGISTERS,):
        raise CheckpointError(
            f"The encoder has {width} channels, {positions.shape[1]} positions and {tuple(registers.shape)} register"
            f" tokens; expected DINOv2 small, base or large, a square grid and {REGISTERS} registers."
        )
    return width, side, kernel.shape[2]


EOMT: Final = Family(
    title="EoMT",
    year=2025,
    method="source_only",
    licence="MIT for the repository; the released file's own licence is not stated; encoder DINOv2, apache-2.0",
    page="https://github.com/tue-mps/eomt/blob/master/model_zoo/dinov2.md",
    recognises=recognises,
    plan=plan,
    hub_files=("model.safetensors", "pytorch_model.bin"),
)
