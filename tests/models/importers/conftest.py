"""Files as authors release them, with weights by the rule instead of trained ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sim2street.models.labels import CITYSCAPES19
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.cli import main
from tests.conftest import weights_by_rule

Importer = Callable[..., Checkpoint]


def mmcv_file(student: dict[str, Tensor], *, adapting: bool = True) -> dict[str, Any]:
    """What mmcv saves: notes, optimiser, and the network; while adapting also teacher and ImageNet network."""
    if not adapting:
        return {"meta": {"epoch": 1, "iter": 160000}, "state_dict": student, "optimizer": {}}
    prefixes = ("model.", "ema_model.", "imnet_model.")
    weights = {f"{prefix}{key}": value for prefix in prefixes for key, value in student.items()}
    return {
        "meta": {"iter": 40000, "CLASSES": list(CITYSCAPES19.names)},
        "state_dict": weights,
        "optimizer": {"state": {}},
    }


@pytest.fixture(scope="session")
def daformer_weights() -> dict[str, Tensor]:
    """DAFormer on MiT-B0, the authors' keys without prefix. Copy before changing it."""
    return weights_by_rule("daformer_mitb0_keys.json")


@pytest.fixture
def run_import(tmp_path: Path) -> Importer:
    """Save something as a file, run `sim2street import FAMILY FILE --out DIR`, open the result."""

    def run(family: str, content: Any, *options: str, file: str = "weights.pth") -> Checkpoint:
        path = tmp_path / file
        if content is not None:
            torch.save(content, path)
        assert main(["import", family, str(path), "--out", str(tmp_path / "imported"), *options]) == 0
        return Checkpoint.open(tmp_path / "imported")

    return run
