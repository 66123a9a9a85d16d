"""What a start of the app imports: PyTorch not before the headline is drawn, and its compiler not at all."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sim2street import ROOT

HEADLINE = """
import sim2street.app.main
import sim2street.app.views.components, sim2street.app.content.headline
"""
FIRST_PREDICTION = """
from sim2street.app.views import comparing
from sim2street.app.content.comparison import listed_checkpoints, preselected
from sim2street.app.content.engine import Settings, predict_pane
from sim2street.app.content.streets import rendered_scene
scene = rendered_scene("fog", 3)
usable = [entry.checkpoint for entry in listed_checkpoints() if entry.checkpoint is not None]
for checkpoint in preselected(usable, rendered=True):
    predict_pane(checkpoint, scene.photo, scene.space, Settings())
"""


@pytest.mark.parametrize(
    ("code", "without"),
    [
        (HEADLINE, {"torch", "timm", "transformers", "gradio", "huggingface_hub", "numba", "accelerate"}),
        (FIRST_PREDICTION, {"torch._dynamo", "sympy", "transformers", "gradio", "accelerate", "numba", "pandas"}),
    ],
    ids=["headline", "first prediction"],
)
def test_only_what_is_needed_is_imported(code: str, without: set[str]) -> None:
    said = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    imported = set(said.stdout.split())
    assert {"streamlit", "sim2street.app.content.headline"} <= imported or "sim2street.models.predictor" in imported
    assert not imported & without


def test_the_compiler_can_still_be_imported() -> None:
    """timm's import keeps it out for as long as that lasts; afterwards it and torchvision's operators are whole."""
    code = """
import sim2street.models.networks, sys, torch
assert "torch._dynamo" not in sys.modules
from torchvision.ops import nms, roi_align
from torchvision.ops.roi_align import is_compile_supported
assert isinstance(is_compile_supported("cpu"), bool)
assert torch.compiler.disable(len)([1, 2]) == 2
import torch._dynamo.utils
assert torch._dynamo.utils.counters is not None
boxes = torch.tensor([[0., 0., 4., 4.]])
assert nms(boxes, torch.ones(1), 0.5).tolist() == [0]
assert roi_align(torch.ones(1, 1, 8, 8), [boxes], (2, 2)).shape == (1, 1, 2, 2)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
