"""Layouts of other libraries, recognised so that errors can name them; they cannot be imported."""

from __future__ import annotations

import re
from typing import Final

from sim2street.models.importers.family import Weights, has

ENCODER: Final = "an encoder alone, as trained on ImageNet, without a segmentation head"
LAYOUTS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("SegFormer in the layout of mmsegmentation 1", (r"backbone\.layers\.\d+\.\d+\.projection\.", r"decode_head\.")),
    ("a Mix Transformer in the layout of mmsegmentation 1", (r"(backbone\.)?layers\.\d+\.\d+\.projection\.",)),
    ("a network of segmentation_models.pytorch", (r"encoder\.", r"segmentation_head\.")),
    ("an encoder of segmentation_models.pytorch", (r"encoder\.(patch_embed|block|layer|features)\d?",)),
    ("a classifier of transformers, SegFormer's encoder without its head", (r"segformer\.encoder\.", r"classifier\.")),
    (f"SegFormer's encoder in the layout of transformers: {ENCODER}", (r"segformer\.(encoder|stages)\.",)),
    (f"a Mix Transformer: {ENCODER}", (r"patch_embed1\.proj\.", r"block1\.0\.")),
    (f"a Mix Transformer: {ENCODER}", (r"backbone\.patch_embed1\.proj\.",)),
    ("a DeepLab or FCN of torchvision", (r"backbone\.(conv1|layer1|features|\d)", r"classifier\.\d")),
    ("a network of mmsegmentation", (r"backbone\.", r"decode_head\.")),
    (f"a ResNet: {ENCODER}", (r"conv1\.", r"layer4\.\d+\.conv\d\.")),
    (f"a VGG: {ENCODER}", (r"features\.\d+\.", r"(classifier\.\d|pre_logits)\.")),
    (f"a vision transformer: {ENCODER}", (r"blocks\.0\.attn\.qkv\.",)),
    (f"a ConvNeXt, Swin or other encoder in stages: {ENCODER}", (r"(stages|layers)\.\d+\.(blocks|downsample)",)),
)
"""Name of a layout, and prefixes of keys that must all occur; more specific layouts first."""
HEADS: Final = ("decode_head.", "segmentation_head.", "layer5.", "layer6.", "layer8.", "head.classify.")


def foreign_layout(weights: Weights) -> str | None:
    """Describe weights that no family recognises; None if their layout is unknown too."""
    for title, beginnings in LAYOUTS:
        if ENCODER in title and any(has(weights, head) for head in HEADS):
            continue
        if all(any(re.match(beginning, key) for key in weights) for beginning in beginnings):
            return title
    return None
