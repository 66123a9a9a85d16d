"""DeepLab-v2: a dilated ResNet whose classifier sums parallel dilated convolutions (Chen et al., arXiv:1606.00915).

The network of ADVENT, AdaptSegNet and their source-only baseline, built on timm's ResNets. Defaults are ADVENT's
ResNet-101: stride in the first 1x1 convolution of a bottleneck (caffe style), ceil-mode pooling, dilations 2 and 4 in
the last two stages (output stride 8), a second classifier on stage 3, batch-norm scales and shifts not trained.

Two options make it fit a laptop: `width` slims every stage, and `detail_channels` adds a decoder that refines the
classifier's features with stage 1's at stride 4 (the idea of DeepLab-v3+, arXiv:1802.02611). Without it, poles and people
in an image 320 pixels wide disappear at stride 8 or 16.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Final, Literal, Self, cast

import timm
import torch
from pydantic import Field, model_validator
from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn
from torch.nn import functional as F

from sim2street.models.labels import LabelSpace
from sim2street.models.networks.encoders import STRIDES, TimmEncoder, timm_title
from sim2street.models.networks.entry import NetworkEntry, with_width
from sim2street.models.networks.inference import on_processor
from sim2street.models.networks.onednn import linear
from sim2street.models.options import Options
from sim2street.models.segmenter import CAFFE, IMAGENET, Core, Segmenter


class DeepLabV2Options(Options):
    """Options of `deeplab_v2`; the defaults are the paper's network."""

    backbone: Literal["resnet18", "resnet26", "resnet34", "resnet50", "resnet101", "resnet152"] = Field(
        default="resnet101", description="A ResNet of timm."
    )
    encoder: str = Field(
        default="",
        description="A timm model with feature maps, such as tf_efficientnet_lite0, in place of the ResNet; `backbone`,"
        " `width` and `caffe_style` apply to the ResNet only.",
    )
    width: float = Field(default=1.0, gt=0, le=1, description="Factor on the channels of all four stages.")
    output_stride: Literal[8, 16, 32] = Field(
        default=8, description="Pixels per feature of the last stage; the paper's is 8. A ResNet takes 8 or 16."
    )
    dilations: tuple[Annotated[int, Field(ge=1, le=256)], ...] = Field(
        default=(6, 12, 18, 24),
        min_length=1,
        max_length=8,
        description="Dilations of the classifier's parallel convolutions; AdaptSegNet's released code uses 6 and 12 only.",
    )
    auxiliary: bool = Field(default=True, description="Whether stage 3 has a classifier too.")
    caffe_style: bool = Field(
        default=True,
        description="Stride in the first 1x1 convolution, ceil-mode pooling, BGR bytes as input: released weights need"
        " all three. Otherwise torchvision's placement and ImageNet's RGB statistics.",
    )
    detail_channels: int = Field(
        default=0, ge=0, le=1024, description="Channels of the stride-4 decoder; 0 = none, as in the paper."
    )
    train_norm: bool = Field(
        default=False,
        description="Whether batch-norm scales and shifts are trained. The authors froze ImageNet's; a network trained"
        " from scratch needs them.",
    )

    @model_validator(mode="after")
    def _strides_of_a_resnet(self) -> Self:
        if not self.encoder and self.output_stride == 32:
            raise ValueError("output_stride 32 needs a timm encoder; the ResNet supports 8 or 16")
        return self


class SummedDilations(nn.Module):
    """Parallel dilated 3x3 convolutions whose outputs are summed ("ASPP-L"): (B, D, h, w) -> (B, K, h, w)."""

    def __init__(self, channels: int, outputs: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, outputs, 3, padding=dilation, dilation=dilation) for dilation in dilations
        )

    def forward(self, features: Tensor) -> Tensor:
        """Sum over the branches."""
        if on_processor(features):
            return self._shifted(features)
        return torch.stack([branch(features) for branch in self.branches]).sum(dim=0)

    def _shifted(self, features: Tensor) -> Tensor:
        """All taps of a branch as one product, whose parts are shifted and summed.

        There are few classes and many channels, for which a convolution is slow.
        """
        maps = features.permute(0, 2, 3, 1)
        height, width = maps.shape[1:3]
        total = 0.0
        for branch in self.branches:
            convolution, step = cast(nn.Conv2d, branch), cast(nn.Conv2d, branch).dilation[0]
            assert convolution.bias is not None
            weight = convolution.weight.permute(2, 3, 0, 1).flatten(0, 2)
            taps = F.pad(linear(maps, weight), (0, 0, step, step, step, step)).unflatten(-1, (3, 3, -1))
            for row, column in itertools.product(range(3), range(3)):
                top, left = row * step, column * step
                total = total + taps[:, top : top + height, left : left + width, row, column]
            total = total + convolution.bias
        assert isinstance(total, Tensor)
        return total.permute(0, 3, 1, 2)


class DetailDecoder(nn.Module):
    """Refines coarse features with stage 1's: concat at stride 4, two 3x3 convolutions, classify."""

    def __init__(self, coarse: int, fine: int, channels: int, classes: int) -> None:
        super().__init__()
        narrow = max(8, channels // 2)
        self.reduce = nn.Sequential(nn.Conv2d(fine, narrow, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU())
        self.fuse = nn.Sequential(
            nn.Conv2d(coarse + narrow, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.classify = nn.Conv2d(channels, classes, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(B, coarse, h, w) and (B, fine, H/4, W/4) -> logits (B, C, H/4, W/4)."""
        coarse = F.interpolate(F.relu(coarse), size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return self.classify(self.fuse(torch.cat([coarse, self.reduce(fine)], dim=1)))


class DeepLabV2(Core):
    """Bare network: normalised (B, 3, H, W) -> `stage1`..`stage4`, `main` and, if there is an auxiliary head, `aux` logits."""

    has_encoder = True

    def __init__(self, classes: int, options: DeepLabV2Options) -> None:
        super().__init__()
        self.backbone = dilated_encoder(options) if options.encoder else dilated_resnet(options)
        self.multiple = self.backbone.multiple if isinstance(self.backbone, TimmEncoder) else 1
        widths = channels_of(self.backbone)
        detail = options.detail_channels
        self.main = SummedDilations(widths[3], detail or classes, options.dilations)
        self.aux = SummedDilations(widths[2], classes, options.dilations) if options.auxiliary else None
        self.decoder = DetailDecoder(detail, widths[0], detail, classes) if detail else None
        if not options.train_norm:
            for module in self.backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.requires_grad_(False)

    @property
    def has_auxiliary(self) -> bool:
        """Whether the options ask for one."""
        return self.aux is not None

    def drop_auxiliary(self) -> None:
        """Leave out the classifier of stage 3."""
        self.aux = None

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """Only the feature maps."""
        backbone = self.backbone
        if isinstance(backbone, TimmEncoder):
            return backbone(images)
        features = backbone.maxpool(backbone.act1(backbone.bn1(backbone.conv1(images))))
        outputs: dict[str, Tensor] = {}
        for number in range(1, 5):
            features = getattr(backbone, f"layer{number}")(features)
            outputs[f"stage{number}"] = features
        return outputs

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Features and logits at their native strides."""
        outputs = self.encode(images)
        main = self.main(outputs["stage4"])
        outputs["main"] = main if self.decoder is None else self.decoder(main, outputs["stage1"])
        if self.aux is not None:
            outputs["aux"] = self.aux(outputs["stage3"])
        return outputs

    def heads(self) -> tuple[nn.Module, ...]:
        """The randomly initialised parts, which learn at ten times the backbone's rate in the paper."""
        return tuple(part for part in (self.main, self.aux, self.decoder) if part is not None)


def channels_of(backbone: ResNet | TimmEncoder) -> tuple[int, ...]:
    """Channels of the four stages."""
    if isinstance(backbone, TimmEncoder):
        return backbone.dims
    return tuple(int(info["num_chs"]) for info in backbone.feature_info[-4:])


def dilated_encoder(options: DeepLabV2Options) -> TimmEncoder:
    """Build a timm model at output stride 8, 16 or 32, dilated the way timm does it."""
    return TimmEncoder(options.encoder, strides=tuple(min(stride, options.output_stride) for stride in STRIDES))


def dilated_resnet(options: DeepLabV2Options) -> ResNet:
    """Build a timm ResNet at output stride 8 or 16, dilated the way DeepLab-v2 does it, without its classifier.

    timm dilates a stage from its second block on; DeepLab-v2 dilates the first one as well.
    """
    channels = tuple(max(8, int(base * options.width)) for base in (64, 128, 256, 512))
    network = cast(
        ResNet,
        timm.create_model(
            options.backbone,
            pretrained=False,
            output_stride=options.output_stride,
            channels=channels,
            num_classes=0,
            global_pool="",
        ),
    )
    stride = 4
    dilation = 1
    for number in range(2, 5):
        if stride >= options.output_stride:
            dilation *= 2
            for module in getattr(network, f"layer{number}").modules():
                if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                    module.dilation = module.padding = (dilation, dilation)
        else:
            stride *= 2
    if options.caffe_style:
        assert isinstance(network.maxpool, nn.MaxPool2d)
        network.maxpool.ceil_mode = True
        for block in network.modules():
            if isinstance(block, Bottleneck):
                block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    return network


def deeplab_v2(labels: LabelSpace, options: DeepLabV2Options | None = None) -> Segmenter:
    """Build the segmenter; weights are random until a checkpoint is loaded."""
    options = options or DeepLabV2Options()
    core = DeepLabV2(labels.count, options)
    # Heads N(0, 0.01) as in both authors' code; a network from scratch keeps timm's initialisation elsewhere.
    for head in (core.main, core.aux):
        for module in head.modules() if head is not None else ():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
    if isinstance(core.backbone, TimmEncoder):
        normalisation = core.backbone.normalisation
    else:
        normalisation = CAFFE if options.caffe_style else IMAGENET
    return Segmenter(core, labels, normalisation, align_corners=True)


ENTRY: Final = NetworkEntry(
    name="deeplab_v2",
    title="DeepLab-v2",
    paper="Chen, Papandreou, Kokkinos, Murphy, Yuille. DeepLab: Semantic Image Segmentation with Deep "
    "Convolutional Nets, Atrous Convolution, and Fully Connected CRFs. TPAMI 2018. arXiv:1606.00915",
    encoder=lambda options: (
        timm_title(options.encoder) or with_width(f"ResNet-{options.backbone.removeprefix('resnet')}", options.width)
    ),
    options=DeepLabV2Options,
    build=deeplab_v2,
)
