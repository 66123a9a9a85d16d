"""The arrows of the house: app -> training -> models, one line a wing, and nothing imported in a circle."""

from __future__ import annotations

import ast
import functools
import importlib
from collections import defaultdict
from pathlib import Path

import pytest

from sim2street import ROOT

ROOMS = ("app", "models", "training")
PAGES = ("streamlit", "gradio")
UNDER_A_RUN = ("@training.run", "@training.jobs", "@training.sweeps", "@training.hosting", "@training.commands")
# Files of a wing must not import modules that start with one of the values; `@` stands for sim2street.
FORBIDDEN = {
    "models/**/*.py": ("@training", "@app", *PAGES, "plotly", "cv2", "tensorboard"),
    "models/*.py": ("@models.importers",),
    "models/networks/*.py": ("@models.storage", "@models.importers", "@models.predictor"),
    "models/storage/*.py": ("@models.predictor",),
    "training/**/*.py": ("@app", *PAGES, "plotly"),
    "training/*/**/*.py": ("@training.cli",),
    "training/*.py": ("@training.jobs", "@training.hosting"),
    "training/datasets/*.py": (*UNDER_A_RUN, "@training.methods", "@training.config"),
    "training/scenes/*.py": ("torch", "@models", "@training.datasets", "@training.methods"),
    "training/methods/**/*.py": (*UNDER_A_RUN, "@training.datasets", "@training.config"),
    "training/run/*.py": ("@training.jobs", "@training.sweeps", "@training.commands"),
    "training/hosting/*.py": ("@training.run", "@training.jobs", "@training.sweeps", "@training.commands"),
    "training/jobs/*.py": ("@training.run.loop", "@training.sweeps", "@training.commands"),
    "training/sweeps/*.py": ("@training.commands", "@training.hosting"),
    "app/**/*.py": ("@training.run", "@training.sweeps", "@training.commands"),
    "app/content/**/*.py": (*PAGES, "@app.admin", "@app.views", "@app.demo_page", "@training.jobs"),
    "app/viewer/*.py": ("@app.admin", "@app.views", "@app.demo_page", "@training"),
    "app/demo_page/*.py": ("streamlit", "@app.views", "@app.admin"),
    "app/demo.py": ("streamlit", "@app.views"),
    "app/views/*.py": ("gradio", "@app.demo_page"),
    "app/admin/*.py": ("gradio", "@app.demo_page"),
}


@functools.cache
def imports_of(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; write the whole name"
            found += [(node.lineno, node.module), *((node.lineno, f"{node.module}.{a.name}") for a in node.names)]
    return found


def files_of(*rooms: str) -> list[Path]:
    return [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]


def module_of(path: Path) -> str:
    return ".".join(("sim2street", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_no_arrow_points_back(pattern: str) -> None:
    files = list(ROOT.glob(pattern))
    assert files, f"nothing matches {pattern}: has a wing moved?"
    stops = [stop.replace("@", "sim2street.") for stop in FORBIDDEN[pattern]]
    broken = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files
        for line, name in imports_of(path)
        if any(name == stop or name.startswith(f"{stop}.") for stop in stops)
    ]
    assert not broken, "\n".join(broken)


def test_only_the_loop_imports_accelerate() -> None:
    importers = {
        path.relative_to(ROOT).as_posix()
        for path in files_of(*ROOMS)
        if any(name.split(".")[0] == "accelerate" for _, name in imports_of(path))
    }
    assert importers == {"training/run/loop.py"}


def test_everything_is_imported_by_one_name() -> None:
    folders = [*ROOMS, "tests", "docs", "benchmarks", "sim2street"]
    broken = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files_of(*folders)
        for line, name in imports_of(path)
        if name.split(".")[0] in ROOMS
    ]
    assert not broken, "\n".join(broken)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """A package and its own modules count as one: its `__init__` imports what it registers."""
    known = {module_of(path): path for path in files_of(*ROOMS)}
    arrows: dict[str, set[str]] = defaultdict(set)
    for name, path in known.items():
        for _, target in imports_of(path):
            inside = target.startswith(f"{name}.") or name.startswith(f"{target}.")
            if target in known and target != name and not inside:
                arrows[name].add(target)
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for target in sorted(arrows[name]):
                visit(target, (*trail, name))
            done.add(name)

    for name in known:
        visit(name, ())


def test_no_folder_is_called_like_a_library() -> None:
    names = {path.name for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_dir()}
    assert not names & {"streamlit", "gradio", "plotly", "torch", "accelerate"}


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_benchmarks_find_what_they_measure(path: Path) -> None:
    importlib.import_module(f"benchmarks.{path.stem}")


def test_no_module_beside_the_entry_file_hides_a_package() -> None:
    """Streamlit puts the entry's folder first on the path, and wakes its own navigation for a folder `pages`."""
    names = {path.stem for path in (ROOT / "app").iterdir()}
    assert not names & {"sim2street", "models", "training", "app", "datasets", "pages"}


def test_what_visitors_bring_is_read_by_scripts_too() -> None:
    app = importlib.import_module("sim2street.app")

    assert callable(app.gallery.with_label_image)
    assert ".jfif" in app.uploads.SUFFIXES
    with pytest.raises(AttributeError, match="no attribute 'galery'"):
        _ = app.galery
