"""The registry of networks: a name, its typed options, and the function that builds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from models.errors import ConfigError
from models.labels import CITYSCAPES19, LabelSpace
from models.networks.daformer import DAFormerOptions, daformer
from models.networks.deeplab_v2 import DeepLabV2Options, deeplab_v2
from models.networks.drn import DRNOptions, drn
from models.networks.ensemble import EnsembleOptions, ensemble
from models.networks.fcn8s import FCN8sOptions, fcn8s
from models.networks.hrda import HRDAOptions, hrda
from models.networks.segformer import SegFormerOptions, segformer
from models.options import Options
from models.segmenter import Segmenter


@dataclass(frozen=True)
class Network:
    """One entry of `NETWORKS`.

    Attributes:
        title: as people write it.
        options: everything that can be chosen; the defaults are the paper's.
        build: label space and options -> segmenter with random weights.
    """

    title: str
    options: type[Options]
    build: Callable[[LabelSpace, Any], Segmenter]


def _ensemble(labels: LabelSpace, options: EnsembleOptions) -> Segmenter:
    if options.network == "ensemble":
        raise ConfigError("An ensemble is made of other networks, not of ensembles.")
    return ensemble([build(options.network, labels, options.network_options) for _ in range(options.members)])


NETWORKS: Final[dict[str, Network]] = {
    "deeplab_v2": Network("DeepLab-v2", DeepLabV2Options, deeplab_v2),
    "daformer": Network("DAFormer", DAFormerOptions, daformer),
    "hrda": Network("HRDA", HRDAOptions, hrda),
    "segformer": Network("SegFormer", SegFormerOptions, segformer),
    "fcn8s": Network("FCN-8s", FCN8sOptions, fcn8s),
    "drn": Network("DRN-C-26", DRNOptions, drn),
    "ensemble": Network("Ensemble", EnsembleOptions, _ensemble),
}


def build(name: str, labels: LabelSpace = CITYSCAPES19, options: Mapping[str, Any] | None = None) -> Segmenter:
    """Build a segmenter with random weights: `build("deeplab_v2", options={"backbone": "resnet18"})`.

    Raises:
        ConfigError: the network or an option is unknown, or a value is out of range.
    """
    if name not in NETWORKS:
        raise ConfigError(f"There is no network {name!r}; known are {', '.join(NETWORKS)}.")
    network = NETWORKS[name]
    return network.build(labels, network.options.parse(options or {}, where=f"network {name}"))
