"""Methods, networks and data sets of other packages: used as ours are, and left out by name where they do not fit."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sim2street.models.errors import ConfigError
from sim2street.models.networks import NETWORKS, build
from sim2street.models.storage.catalog import FOLDERS_VARIABLE
from sim2street.training.config import load_recipe
from sim2street.training.datasets import DATASETS
from sim2street.training.hosting.card import write_card
from sim2street.training.methods import METHODS
from sim2street.training.run.loop import train

EXAMPLE = Path(__file__).parent / "example_package"
MODULE = (EXAMPLE / "class_mix_training.py").read_text(encoding="utf-8")
Install = Callable[[str, str, dict[str, str]], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a package where Python finds it, as an installer leaves it: modules, and their metadata beside them."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def add(package: str, entries: str, modules: dict[str, str]) -> None:
        metadata = site / f"{package.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(entries)
        for name, text in modules.items():
            (site / f"{name}.py").write_text(text)
        forget()

    def forget() -> None:
        for registry in (METHODS, NETWORKS, DATASETS):
            registry.reload()

    yield add
    monkeypatch.undo()
    forget()


def entry_points() -> str:
    """Those of the example's pyproject.toml, as an installer writes them."""
    groups = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    return "".join(
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in entries.items())
        for group, entries in groups.items()
    )


def test_the_guide_quotes_the_example() -> None:
    guide = (EXAMPLE.parent.parent / "docs" / "extending.md").read_text(encoding="utf-8")
    files = "".join(path.read_text(encoding="utf-8") for path in sorted(EXAMPLE.glob("*.*")))
    said = {line.strip() for line in files.splitlines()}
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", guide, re.DOTALL)
    assert len(blocks) == 6
    assert [line for block in blocks for line in block.splitlines() if line.strip() not in said] == []


def test_a_package_adds_a_method_a_network_and_a_data_set(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("class-mix", entry_points(), {"class_mix_training": MODULE})
    assert list(METHODS).index("class_mix") == list(METHODS).index("daformer") - 1  # by year
    assert build("tiny").core.heads()

    from class_mix_training import write_stripes  # pyright: ignore[reportMissingImports]

    write_stripes(tmp_path / "stripes")
    monkeypatch.setenv("SIM2STREET_STRIPES", str(tmp_path / "stripes"))
    checkpoint = train(load_recipe(str(EXAMPLE / "stripes__class_mix.toml")), tmp_path / "runs" / "mine")
    assert checkpoint is not None
    card = write_card(checkpoint.config, "", {})
    assert "ClassMix. Self-training on target images" in card
    assert "arXiv:2007.08702" in card

    from sim2street.app.content.comparison import listed_checkpoints
    from sim2street.app.content.gallery import available_photo_sets

    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path / "runs"))
    listed = [entry.checkpoint.config.method for entry in listed_checkpoints() if entry.checkpoint is not None]
    assert "class_mix" in listed
    assert listed.index("class_mix") < listed.index("daformer")
    assert "Stripes" in [kind.title for kind in available_photo_sets()]


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("raise ImportError('no such library')", "ImportError: no such library"),
        (
            "from sim2street.training.methods.base import MethodEntry\nMETHOD = MethodEntry(name='x')",
            "missing 6 required",
        ),
        ("METHOD = 'a word'", "leads to a str, expected a MethodEntry"),
        ("OTHER = 1", "has no attribute 'METHOD'"),
        ("from sim2street.training.methods.advent import ENTRY as METHOD", "a method 'advent' already exists"),
    ],
)
def test_a_package_that_does_not_fit_is_named_and_the_rest_works(
    install: Install, caplog: pytest.LogCaptureFixture, module: str, reason: str
) -> None:
    install("broken-one", "[sim2street.methods]\nx = broken_module:METHOD\n", {"broken_module": module})
    import sys

    sys.modules.pop("broken_module", None)
    assert {"advent", "mic"} <= set(METHODS)
    assert len(METHODS.left_out) == 1
    assert "package broken-one was left out" in METHODS.left_out[0]
    assert reason in METHODS.left_out[0]
    assert METHODS.left_out[0] in caplog.text
    with pytest.raises(ConfigError, match="broken-one"):
        METHODS.find("y")


def test_a_data_set_that_says_too_little_is_left_out(install: Install) -> None:
    text = MODULE.replace('    terms = "Made up for a test; free of rights."\n', "")
    install("terse", "[sim2street.datasets]\nstripes = terse_module:Stripes\n", {"terse_module": text})
    assert "stripes" not in DATASETS
    assert "terse was left out: it lacks terms" in DATASETS.left_out[0]
