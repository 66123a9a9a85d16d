"""SegFormer: a Mix Transformer and a head made of linear layers only (Xie et al., NeurIPS 2021, arXiv:2105.15203)."""

from __future__ import annotations

from typing import Final

from pydantic import Field
from torch import Tensor, nn

from sim2street.models.labels import LabelSpace
from sim2street.models.networks.daformer import EncoderAndHead
from sim2street.models.networks.encoders import STAGES, EncoderOptions, build_encoder, dims_of, encoder_title, input_of
from sim2street.models.networks.entry import NetworkEntry
from sim2street.models.networks.fusing import ConvNormAct, classified, merge_projections
from sim2street.models.segmenter import Segmenter


class SegFormerOptions(EncoderOptions):
    """Options of `segformer`; the defaults are SegFormer-B5."""

    channels: int = Field(
        default=768, ge=8, le=2048, description="Width of the head: 256 for B0 and B1, 768 for B2 to B5."
    )
    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Probability of dropping a whole channel before the classifier."
    )


class SegFormerHead(nn.Module):
    """Feature maps by stage -> logits at stride 4, (B, K, H/4, W/4)."""

    def __init__(self, dims: tuple[int, ...], classes: int, options: SegFormerOptions) -> None:
        super().__init__()
        # Stage 4 comes first, the reverse of DAFormer's head.
        self.projections = nn.ModuleList(nn.Conv2d(dim, options.channels, 1) for dim in reversed(dims))
        self.fuse = ConvNormAct(options.channels * len(dims), options.channels, 1)
        self.dropout = nn.Dropout2d(options.dropout)
        self.classify = nn.Conv2d(options.channels, classes, 1)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Project, stack from stage 4 to 1, fuse, classify."""
        maps = [features[name] for name in reversed(STAGES)]
        shape = features["stage1"].shape
        return classified(self.projections, self.fuse, self.dropout, self.classify, maps, shape)

    def merge_projections(self) -> None:
        """For prediction alone."""
        merge_projections(self.projections, self.fuse)


def segformer(labels: LabelSpace, options: SegFormerOptions | None = None) -> Segmenter:
    """Build the segmenter; weights are random until a checkpoint is loaded."""
    options = options or SegFormerOptions()
    encoder = build_encoder(options)
    core = EncoderAndHead(encoder, SegFormerHead(dims_of(encoder, options), labels.count, options))
    return Segmenter(core, labels, input_of(encoder), align_corners=False)


ENTRY: Final = NetworkEntry(
    name="segformer",
    title="SegFormer",
    paper="Xie, Wang, Yu, Anandkumar, Alvarez, Luo. SegFormer: Simple and Efficient Design for Semantic "
    "Segmentation with Transformers. NeurIPS 2021. arXiv:2105.15203",
    encoder=encoder_title,
    options=SegFormerOptions,
    build=segformer,
)
