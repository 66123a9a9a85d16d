"""Mask2Former (Cheng et al., CVPR 2022) on Swin, trained on Cityscapes: the weights on the Hub, in the layout of transformers.

The Hub's files name Swin's layers as transformers 4 did; in memory, transformers 5 names them otherwise. Both are read. Query,
key and value of an attention are separate there and one tensor here, and a stage's merging of patches stands at its end there
and at the beginning of the next here.
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
from sim2street.models.importers.keys import LeftOut, Translation, rename_by
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.networks.mask2former import LEVELS, POINTS
from sim2street.models.storage.checkpoint import Window
from sim2street.models.storage.files import WEIGHTS
from sim2street.models.storage.origin import Protocol

PIXELS: Final = "model.pixel_level_module."
QUERIES: Final = "model.transformer_module."
SWIN: Final = r"model\.pixel_level_module\.encoder\.(?:swin\.)?"
ENCODERS: Final = {
    (96, 6): ("swin_tiny_patch4_window7_224", "Swin-T"),
    (96, 18): ("swin_small_patch4_window7_224", "Swin-S"),
    (128, 18): ("swin_base_patch4_window12_384", "Swin-B"),
    (192, 18): ("swin_large_patch4_window12_384", "Swin-L"),
}
"""timm's name and the usual one, by channels and by blocks of the third stage."""
WINDOWS: Final = {96: 7, 128: 12, 192: 12}
"""Side of Swin's windows by channels, in the released networks."""
OUTPUTS: Final = CITYSCAPES19.count + 1
"""The classes and "no class"."""
PROTOCOL: Final = Protocol(
    size=(2048, 1024),
    normalisation=IMAGENET_STATISTICS,
    align_corners=False,
    inference="whole photo, padded to multiples of 32 pixels; masks to its size, bilinear",
    averaging="none",
    weights="last step",
)
WINDOW: Final = Window(short_side=1024, resampling="pillow_bilinear")
NOTES: Final = {
    "criterion.empty_weight": LeftOut("weight of a loss"),
    "relative_position_index": LeftOut("places in Swin's tables of positions, which follow from its windows"),
}

_BLOCK: Final = rf"{SWIN}encoder\.layers\.(\d)\.blocks\.(\d+)\."
_OURS: Final = r"encoder.net.layers.\1.blocks.\2."
_PIXEL: Final = r"model\.pixel_level_module\.decoder\."
_PIXEL_LAYER: Final = rf"{_PIXEL}encoder\.layers\.(\d+)\."
_QUERY_LAYER: Final = r"model\.transformer_module\.decoder\.layers\.(\d+)\."
_rename = rename_by(
    {
        rf"{SWIN}layernorm": LeftOut("Swin's own last norm, which Mask2Former does not use"),
        rf"{SWIN}embeddings\.patch_embeddings\.projection": "encoder.net.patch_embed.proj",
        rf"{SWIN}embeddings\.norm": "encoder.net.patch_embed.norm",
        rf"{_BLOCK}layernorm_before": f"{_OURS}norm1",
        rf"{_BLOCK}layernorm_after": f"{_OURS}norm2",
        rf"{_BLOCK}attention\.qkv": f"{_OURS}attn.qkv",
        rf"{_BLOCK}attention\.(?:output\.dense|o_proj)": f"{_OURS}attn.proj",
        rf"{_BLOCK}attention\.(?:self|relative_position_bias)": f"{_OURS}attn",
        rf"{_BLOCK}(?:intermediate\.dense|mlp\.fc1)": f"{_OURS}mlp.fc1",
        rf"{_BLOCK}(?:output\.dense|mlp\.fc2)": f"{_OURS}mlp.fc2",
        **{
            rf"{SWIN}encoder\.layers\.{stage}\.downsample\.(norm|reduction)": rf"encoder.net.layers.{stage + 1}.downsample.\1"
            for stage in range(3)
        },
        **{rf"{SWIN}hidden_states_norms\.stage{stage + 1}": f"encoder.norms.{stage}" for stage in range(4)},
        rf"{_PIXEL}input_projections\.([012])\.([01])": r"pixels.projections.\1.\2",
        rf"{_PIXEL}adapter_1\.([01])": r"pixels.lateral.\1",
        rf"{_PIXEL}layer_1\.([01])": r"pixels.smooth.\1",
        rf"{_PIXEL}mask_projection": "pixels.masks",
        rf"{_PIXEL_LAYER}self_attn\.sampling_offsets": r"pixels.layers.\1.attention.offsets",
        rf"{_PIXEL_LAYER}self_attn\.attention_weights": r"pixels.layers.\1.attention.weights",
        rf"{_PIXEL_LAYER}self_attn\.value_proj": r"pixels.layers.\1.attention.values",
        rf"{_PIXEL_LAYER}self_attn\.output_proj": r"pixels.layers.\1.attention.out",
        rf"{_PIXEL_LAYER}self_attn_layer_norm": r"pixels.layers.\1.norm1",
        rf"{_PIXEL_LAYER}final_layer_norm": r"pixels.layers.\1.norm2",
        rf"{_PIXEL_LAYER}(fc[12])": r"pixels.layers.\1.\2",
        r"model\.transformer_module\.queries_embedder": "names",
        r"model\.transformer_module\.queries_features": "queries",
        r"model\.transformer_module\.level_embed": "levels",
        rf"{_QUERY_LAYER}cross_attn(\.out_proj)?": r"decoder.\1.cross\2",
        rf"{_QUERY_LAYER}cross_attn_layer_norm": r"decoder.\1.norm1",
        rf"{_QUERY_LAYER}self_attn(\.out_proj)?": r"decoder.\1.among\2",
        rf"{_QUERY_LAYER}self_attn_layer_norm": r"decoder.\1.norm2",
        rf"{_QUERY_LAYER}final_layer_norm": r"decoder.\1.norm3",
        rf"{_QUERY_LAYER}(fc[12])": r"decoder.\1.\2",
        r"model\.transformer_module\.decoder\.layernorm": "norm",
        **{
            rf"model\.transformer_module\.decoder\.mask_predictor\.mask_embedder\.{layer}\.0": f"mask_head.{2 * layer}"
            for layer in range(3)
        },
        "class_predictor": "class_head",
    }
)


def rename(key: str) -> Translation:
    """The port's key, query, key and value joined, -> ours."""
    if key == f"{PIXELS}decoder.level_embed":
        return "pixels.levels"
    return NOTES.get(key) or NOTES.get(key.rpartition(".")[2]) or _rename(key)


def joined(weights: Weights) -> dict[str, Tensor]:
    """Put query, key and value of each attention into one tensor; everything else stays as it is.

    Raises:
        CheckpointError: an attention lacks one of the three, or they differ in shape.
    """
    result = dict(weights)
    for key in weights:
        match = re.fullmatch(r"(.*\.)(self\.query|q_proj)\.(weight|bias)", key)
        if match is None:
            continue
        parts = [f"{match[1]}{name}.{match[3]}" for name in _siblings(match[2])]
        if missing := [part for part in parts if part not in result]:
            raise CheckpointError(f"The file contains an attention's query layer but not {missing[0]}.")
        if len({result[part].shape for part in parts}) > 1:
            raise CheckpointError(f"Query, key and value of an attention differ in shape at {key}.")
        whole = f"in_proj_{match[3]}" if match[1].endswith("self_attn.") else f"qkv.{match[3]}"
        result[f"{match[1]}{whole}"] = torch.cat([result.pop(part) for part in parts])
    return result


def _siblings(query: str) -> tuple[str, str, str]:
    return ("self.query", "self.key", "self.value") if query == "self.query" else ("q_proj", "k_proj", "v_proj")


def recognises(weights: Weights) -> bool:
    """Whether the weights have a pixel decoder and queries under transformers' names."""
    return has(weights, f"{PIXELS}decoder.", f"{QUERIES}decoder.")


def plan(weights: Weights) -> Plan:
    """Plan the import; sizes follow from the shapes."""
    encoder, title = _encoder(weights)
    outputs = _rows(weights, "class_predictor.weight")
    if outputs != OUTPUTS:
        raise CheckpointError(
            f'The class head has {outputs} outputs; expected {OUTPUTS}, Cityscapes\' 19 classes and "no class". Only networks'
            " with those classes can be imported."
        )
    pixel_layers = _count(weights, rf"{_PIXEL_LAYER}fc1\.weight")
    query_layers = _count(weights, rf"{_QUERY_LAYER}fc1\.weight")
    options = {
        "encoder": encoder,
        "width": _rows(weights, f"{PIXELS}decoder.mask_projection.weight"),
        "heads": _rows(weights, f"{PIXELS}decoder.encoder.layers.0.self_attn.attention_weights.weight")
        // (LEVELS * POINTS),
        "queries": _rows(weights, f"{QUERIES}queries_features.weight"),
        "pixel_layers": pixel_layers,
        "pixel_hidden": _rows(weights, f"{PIXELS}decoder.encoder.layers.0.fc1.weight"),
        "query_layers": query_layers,
        "query_hidden": _rows(weights, f"{QUERIES}decoder.layers.0.fc1.weight"),
    }
    return Plan(
        title=f"Mask2Former on {title}",
        network="mask2former",
        options=options,
        weights=joined(weights),
        rename=rename,
        window=WINDOW,
        protocol=PROTOCOL,
        left_out=Counter(),
    )


def _encoder(weights: Weights) -> tuple[str, str]:
    """The encoder's name in timm, and the usual one."""
    kernel = next((value for key, value in weights.items() if key.endswith("patch_embeddings.projection.weight")), None)
    if kernel is None or not kernel.ndim:
        raise CheckpointError(
            "The file lacks the encoder's first layer. Mask2Former can be imported on Swin only, not on ResNet; its"
            " repositories have swin in their names."
        )
    width, blocks = (
        kernel.shape[0],
        _count(weights, rf"{SWIN}encoder\.layers\.2\.blocks\.\d+\.layernorm_before\.weight"),
    )
    if (width, blocks) not in ENCODERS:
        known = ", ".join(f"{name} ({channels}, {depth})" for (channels, depth), (_, name) in ENCODERS.items())
        raise CheckpointError(
            f"The encoder has {width} channels and {blocks} blocks in its third stage; expected those of {known}."
        )
    table = next((value for key, value in weights.items() if key.endswith("relative_position_bias_table")), None)
    rows = table.shape[0] if table is not None and table.ndim else 0
    side = (math.isqrt(rows) + 1) // 2
    if side != WINDOWS[width]:
        raise CheckpointError(
            f"The encoder's tables of positions have {rows} rows, for windows of {side} tokens; the released networks of this"
            f" width have {WINDOWS[width]}."
        )
    return ENCODERS[width, blocks]


def _rows(weights: Weights, key: str) -> int:
    """Length of a tensor.

    Raises:
        CheckpointError: it is missing.
    """
    value = weights.get(key)
    if value is None or not value.ndim:
        raise CheckpointError(f"The file lacks {key}.")
    return value.shape[0]


def _count(weights: Weights, pattern: str) -> int:
    return sum(re.fullmatch(pattern, key) is not None for key in weights)


MASK2FORMER: Final = Family(
    title="Mask2Former",
    year=2022,
    method="source_only",
    licence='"other" on the Hub, without further terms; code MIT',
    page="https://huggingface.co/facebook/mask2former-swin-large-cityscapes-semantic",
    recognises=recognises,
    plan=plan,
    hub_files=(WEIGHTS, "pytorch_model.bin"),
)
