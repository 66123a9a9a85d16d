"""One import name: what a wheel holds, and that nothing in the person's folder is mistaken for ours."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from sim2street import ROOT, __version__
from sim2street.training.cli import main

ROOMS = ("models", "training", "app")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in a wheel, built from the archive of sources of a copy of the checkout's links."""
    copy, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("wheel")
    for name in (
        "pyproject.toml",
        "setup.py",
        "MANIFEST.in",
        "README.md",
        "LICENSE",
        "Spacefile",
        "sim2street",
        *ROOMS,
    ):
        (copy / name).symlink_to(ROOT / name)

    def build(kind: str, folder: Path) -> None:
        script = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
        subprocess.run([sys.executable, "-c", script, str(out)], cwd=folder, check=True, capture_output=True)

    build("sdist", copy)
    with tarfile.open(next(out.glob("*.tar.gz"))) as archive:
        archive.extractall(out, filter="data")
    build("wheel", next(path for path in out.iterdir() if path.is_dir()))
    with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
        return archive.namelist()


@pytest.mark.slow
def test_a_wheel_holds_one_package_with_all_that_it_reads(wheel: list[str]) -> None:
    assert {name.split("/")[0] for name in wheel} == {"sim2street", f"sim2street-{__version__}.dist-info"}
    tracked = subprocess.run(["git", "ls-files", *ROOMS], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wanted = [name for name in tracked.splitlines() if name != "app/container.sh"]
    missing = {f"sim2street/{name}" for name in wanted} - set(wheel)
    assert not missing, sorted(missing)
    assert {"sim2street/__main__.py", "sim2street/py.typed", "sim2street/Spacefile"} <= set(wheel)


def test_python_finds_our_modules_beside_foreign_ones(tmp_path: Path) -> None:
    for room in ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text("raise SystemExit('the foreign one')\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    said = subprocess.run(
        [sys.executable, "-m", "sim2street", "checkpoints", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    assert "source_only_game" in said.stdout


@pytest.mark.parametrize("entry", ["app/main.py", "app/demo.py"])
def test_an_entry_file_makes_a_bare_checkout_importable(entry: str, tmp_path: Path) -> None:
    """Run by its path, from elsewhere, by a Python that knows nothing of the checkout."""
    script = (
        "import runpy, sys\n"
        f"sys.path.insert(0, {str(ROOT / 'app')!r})\n"
        "sys.meta_path = [finder for finder in sys.meta_path if '__editable__' not in str(finder)]\n"
        "import checkout, sim2street.models.photo\n"
        "print(sim2street.__file__)\n"
    )
    assert "import checkout" in (ROOT / entry).read_text()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert Path(said.stdout.strip()).parent == ROOT / "sim2street"


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"sim2street {__version__}\n"
    assert "version" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dynamic"]


@pytest.mark.skipif(os.name == "nt", reason="asks bash")
def test_a_shell_completes_commands_and_options() -> None:
    def completions(line: str) -> list[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            **{"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line))},
        }
        script = (
            "import os, sys; os.dup2(1, 8); sys.argv = ['sim2street']; from sim2street.training.cli import main; main()"
        )
        said = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        return said.stdout.replace("\v", "\n").split("\n")

    assert "sweep" in [name.strip() for name in completions("sim2street sw")]
    assert any("--resume" in name for name in completions("sim2street train --re"))


def test_a_completion_script_is_printed_for_each_shell(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert not main(["completion", shell])
        assert "sim2street" in capsys.readouterr().out
