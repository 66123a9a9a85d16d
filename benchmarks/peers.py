"""What our networks are compared with: the same networks with the same weights in other libraries, and plain PyTorch.

A library that is not installed raises `NotInstalled`, whose text goes into the table. "Plain" is the authors' order of
operations in eager PyTorch: maps are projected, upsampled, stacked and convolved one after the other, images are stored
channel by channel.
"""

from __future__ import annotations

import copy
import importlib.util
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.exported import compiled_by_openvino, import_openvino
from sim2street.models.importers import segformer as port
from sim2street.models.importers.keys import translate
from sim2street.models.networks import build
from sim2street.models.networks.daformer import DAFormerHead, DilatedDepthwise
from sim2street.models.networks.hrda import HRDANetwork, ScaleAttention
from sim2street.models.networks.mix_transformer import VARIANTS, MixTransformerOptions
from sim2street.models.segmenter import Segmenter

PORT_EPSILON = 1e-5
"""Epsilon of the layer norms in transformers' SegFormer."""

Forward = Callable[[Tensor], Tensor]
"""Normalised (1, 3, H, W) -> logits at stride 4."""


class NotInstalled(Exception):
    """A peer is missing; the text is a sentence for its row."""


def need(module: str) -> None:
    """Raise `NotInstalled` where a peer cannot be imported."""
    if importlib.util.find_spec(module) is None:
        raise NotInstalled(f'not measured: {module} is not installed (pip install -e ".[bench]")')


def segformer(variant: str) -> tuple[Segmenter, Forward]:
    """Our SegFormer and that of transformers, with the same weights, which are random."""
    need("transformers")
    theirs = _of_transformers(variant, head=True)
    plan = port.plan(theirs.state_dict())
    ours = build("segformer", options={**plan.options, "norm_epsilon": PORT_EPSILON})
    ours.core.load_state_dict(translate(plan.weights, plan.rename, ours.core, title=plan.title).weights)
    return ours.eval(), lambda images: theirs(pixel_values=images).logits


def our_segformer(variant: str) -> Segmenter:
    """Ours alone, where transformers is not installed."""
    channels = 256 if variant in ("b0", "b1") else 768
    return build("segformer", options={"variant": variant, "channels": channels, "norm_epsilon": PORT_EPSILON}).eval()


def with_plain(network: str, variant: str, **options: Any) -> tuple[Segmenter, Forward]:
    """Our `daformer` or `hrda`, and a plain rendering of it on transformers' encoder, with the same weights."""
    need("transformers")
    encoder = _of_transformers(variant, head=False)
    ours = build(network, options={"variant": variant, "norm_epsilon": PORT_EPSILON, **options}).eval()
    weights = {f"segformer.{key}": value for key, value in encoder.state_dict().items()}
    ours.core.encoder.load_state_dict(port.encoder_of(weights, ours.core.encoder))  # pyright: ignore
    core = copy.deepcopy(ours.core)

    def features(images: Tensor) -> list[Tensor]:
        return list(encoder(pixel_values=images, output_hidden_states=True).hidden_states)

    if isinstance(core, HRDANetwork):
        return ours, lambda images: _plain_hrda(core, features, images)
    return ours, lambda images: plainly_stacked(core.head, features(images))


def contiguous(segmenter: Segmenter) -> Forward:
    """The same network as PyTorch runs it when nothing is said: a copy, with images stored channel by channel."""
    core = copy.deepcopy(segmenter.core).to(memory_format=torch.contiguous_format)  # pyright: ignore
    return lambda images: core(images)["main"]


def in_openvino(segmenter: Segmenter, images: Tensor) -> Forward:
    """The network compiled by OpenVINO for the size of `images`, in fp32 and on one thread."""
    need("openvino")
    openvino = import_openvino()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(Bare(segmenter), example_input=images, input=[tuple(images.shape)])
    compiled = compiled_by_openvino(model)
    return lambda images: torch.from_numpy(compiled(images.numpy())[0])


def in_onnxruntime(segmenter: Segmenter, images: Tensor) -> Forward:
    """The network in ONNX Runtime for the size of `images`, on one thread."""
    for module in ("onnx", "onnxscript", "onnxruntime"):
        need(module)
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        path = Path(folder) / "network.onnx"
        torch.onnx.export(Bare(segmenter), (images,), str(path), input_names=["images"], dynamo=True, verbose=False)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


class Bare(nn.Module):
    """A network's logits at its own stride as the only output."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.core = copy.deepcopy(segmenter.core).to(memory_format=torch.contiguous_format)  # pyright: ignore

    def forward(self, images: Tensor) -> Tensor:
        """Normalised (1, 3, H, W) -> (1, C, h, w)."""
        return self.core(images)["main"]


def _of_transformers(variant: str, *, head: bool) -> nn.Module:
    """A SegFormer of transformers, or its encoder, with random weights."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerModel

    config = SegformerConfig(
        hidden_sizes=list(MixTransformerOptions(variant=variant).dims),  # pyright: ignore
        depths=list(VARIANTS[variant].depths),
        decoder_hidden_size=256 if variant in ("b0", "b1") else 768,
        num_labels=19,
    )
    return (SegformerForSemanticSegmentation if head else SegformerModel)(config).eval()


def _stacked(projections: nn.ModuleList, features: list[Tensor]) -> Tensor:
    size = features[0].shape[-2:]
    maps = [projection(each) for projection, each in zip(projections, features, strict=True)]
    return torch.cat([F.interpolate(each, size=size, mode="bilinear", align_corners=False) for each in maps], dim=1)


def plainly_stacked(head: DAFormerHead, features: list[Tensor]) -> Tensor:
    """DAFormer's head (Hoyer et al., CVPR 2022, Sec. 3.2) layer after layer."""
    stacked = _stacked(head.projections, features)
    context = torch.cat([_plainly(branch, stacked) for branch in head.branches], dim=1)
    return head.classify(head.fuse(context))


def _plainly(module: nn.Module, maps: Tensor) -> Tensor:
    """A module whose dilated convolutions are PyTorch's own."""
    if isinstance(module, DilatedDepthwise):
        return nn.Conv2d.forward(module, maps)
    if isinstance(module, nn.Sequential):
        for part in module:
            maps = _plainly(part, maps)
        return maps
    return module(maps)


def _plain_hrda(core: HRDANetwork, features: Callable[[Tensor], list[Tensor]], images: Tensor) -> Tensor:
    """HRDA (Hoyer et al., ECCV 2022): the downscaled image, all windows in one batch as in the authors' code, fusion."""
    small = features(F.interpolate(images, scale_factor=0.5, mode="bilinear", align_corners=False))
    context, attention = plainly_stacked(core.head, small), _plain_attention(core.attention, small)
    boxes = core.boxes(*images.shape[-2:])
    windows = plainly_stacked(core.head, features(torch.cat([box.of(images) for box in boxes])))
    total = windows.new_zeros(1, windows.shape[1], images.shape[-2] // 4, images.shape[-1] // 4)
    visits = torch.zeros_like(total[:, :1])
    for box, window in zip(boxes, windows, strict=True):
        cells = box.at_stride(4)
        cells.of(total).add_(window)
        cells.of(visits).add_(1)

    def doubled(maps: Tensor) -> Tensor:
        return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)

    return doubled((1 - attention) * context) + doubled(attention) * (total / visits)


def _plain_attention(attention: ScaleAttention, features: list[Tensor]) -> Tensor:
    return torch.sigmoid(attention.classify(attention.fuse(_stacked(attention.projections, features))))
