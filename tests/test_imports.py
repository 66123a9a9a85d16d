"""The arrows of the house: app -> training -> models, methods and data sets apart, frameworks in their own rooms."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Files matched by the key must not import modules that start with one of the values.
FORBIDDEN = {
    "models/**/*.py": ("training", "app", "accelerate", "streamlit", "gradio", "plotly", "cv2", "tensorboard"),
    "training/**/*.py": ("app", "streamlit", "gradio", "plotly"),
    "training/methods/*.py": ("training.datasets", "training.loop", "accelerate"),
    "training/datasets/*.py": ("training.methods", "training.loop", "accelerate"),
    "training/jobs/*.py": ("training.loop", "accelerate"),
    "training/scenes/*.py": ("torch", "models", "training.datasets", "training.methods"),
    "app/**/*.py": ("training.loop", "training.methods", "accelerate"),
    "app/panels.py": ("streamlit", "gradio", "plotly", "training"),
    "app/charts.py": ("streamlit", "gradio", "training"),
    "app/result_rows.py": ("streamlit", "gradio", "plotly", "training"),
    "app/published.py": ("streamlit", "gradio", "plotly", "training"),
    "app/engine.py": ("streamlit", "gradio", "plotly"),
    "app/comparison.py": ("streamlit", "gradio", "plotly"),
    "app/html_tables.py": ("streamlit", "gradio", "plotly", "training"),
    "app/scenes.py": ("streamlit", "gradio", "plotly"),
    "app/demo*.py": ("streamlit", "app.session"),
}


def imports_of(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; write the whole name"
            found += [(node.lineno, node.module), *((node.lineno, f"{node.module}.{a.name}") for a in node.names)]
    return found


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_no_arrow_points_back(pattern: str) -> None:
    files = list(ROOT.glob(pattern))
    assert files, f"nothing matches {pattern}: has a room moved?"
    broken = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files
        for line, name in imports_of(path)
        if any(name == stop or name.startswith(f"{stop}.") for stop in FORBIDDEN[pattern])
    ]
    assert not broken, "\n".join(broken)


def test_only_the_loop_imports_accelerate() -> None:
    importers = {
        str(path.relative_to(ROOT))
        for folder in ("app", "models", "training")
        for path in (ROOT / folder).rglob("*.py")
        if any(name.split(".")[0] == "accelerate" for _, name in imports_of(path))
    }
    assert importers == {"training/loop.py"}


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_benchmarks_find_what_they_measure(path: Path) -> None:
    importlib.import_module(f"benchmarks.{path.stem}")


def test_no_module_beside_the_entry_file_hides_a_package() -> None:
    names = {path.stem for path in (ROOT / "app").iterdir()}
    assert not names & {"models", "training", "app", "datasets", "pages"}
