"""The loop on a graphics card, where there is one; the rest of the suite trains on the processor (tests/conftest.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sim2street.models.predictor import Predictor, has_bf16
from sim2street.models.storage.checkpoint import Checkpoint
from tests.training.run.test_loop import SCRIPT, make_tree, recipe, weights, write_recipe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="trains on an NVIDIA GPU; none is here"),
]
STOP_AFTER_FOUR = """
import os, signal
import sim2street.training.run.loop as loop
take_step = loop.Run.take_step
def stop_after_four(run, stream):
    values = take_step(run, stream)
    if run.step == 4:
        os.kill(os.getpid(), signal.SIGTERM)
    return values
loop.Run.take_step = stop_after_four
"""


def run(script: str, *arguments: object) -> str:
    """Output of a Python process that trains on the card."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "ACCELERATE_USE_CPU": "false"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_on_the_card_is_resumed_and_read_anywhere(tmp_path: Path, precision: str) -> None:
    if precision == "bf16" and not has_bf16("cuda"):
        pytest.skip("this graphics card has no bf16 of its own")
    tree = make_tree(tmp_path / "tree")
    path = write_recipe(recipe(tree, "advent", precision=precision), tmp_path / "recipe.json")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    output = run(SCRIPT, path, whole)
    assert (whole / "checkpoint" / "config.json").exists(), output
    output = run(STOP_AFTER_FOUR + SCRIPT, path, parts)
    assert "step 4 of 6" in output
    output = run(SCRIPT, path, parts, "resume")
    assert (parts / "checkpoint" / "config.json").exists(), output
    lines = [json.loads(line) for line in (parts / "progress.jsonl").read_text().splitlines()]
    assert all(line["gpu_memory_mb"] > 0 for line in lines if "losses" in line), "it trained elsewhere"
    # Kernels add up in an order of their own, so that two runs of one seed are alike, not the same.
    one, other = weights(whole), weights(parts)
    for key in one:
        torch.testing.assert_close(one[key].float(), other[key].float(), rtol=0.1, atol=0.05, msg=key)
    photo = np.asarray(Image.open(next((tree / "leftImg8bit" / "val").rglob("*.png"))).convert("RGB"))
    checkpoint = Checkpoint.open(parts / "checkpoint")
    here, there = (Predictor.from_checkpoint(checkpoint, device=name)(photo) for name in ("cpu", "cuda"))
    assert (here.labels == there.labels).mean() > 0.999
