"""The journal of a run: its log as JSON lines, TensorBoard curves and sample images."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from sim2street.models.predictor import Predictor
from sim2street.models.storage.files import PROGRESS, write_whole, written_whole
from sim2street.training.config import DatasetConfig
from sim2street.training.datasets.base import SegmentationDataset
from sim2street.training.run.folder import SAMPLES


@dataclass
class Journal:
    """Writes `progress.jsonl`, TensorBoard and sample images; entries after `step` are dropped on resuming."""

    out: Path
    step: int

    def __post_init__(self) -> None:
        path = self.out / PROGRESS
        if path.exists():
            kept = [
                line
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
                if _step_of(line) <= self.step
            ]
            write_whole(path, "".join(f"{line}\n" for line in kept).encode())
        self.board = SummaryWriter(str(self.out / "tensorboard"), purge_step=self.step + 1)

    def line(self, step: int, content: dict[str, Any]) -> None:
        """Append one JSON line."""
        with (self.out / PROGRESS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "time": round(time.time(), 1), **content}) + "\n")

    def has_figures(self, step: int) -> bool:
        """Whether the journal already has metrics of this step."""
        path = self.out / PROGRESS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return any(_step_of(line) == step and "figures" in json.loads(line) for line in lines)

    def figure(self, label: str, miou: float | None, step: int) -> None:
        """Add a point to a curve."""
        if miou is not None:
            self.board.add_scalar(f"miou/{label}", miou, step)

    def picture(self, item: DatasetConfig, index: int, pixels: np.ndarray[Any, Any], step: int) -> None:
        """Write a sample image."""
        name = f"{item.label.replace('/', '_')}_{index}"
        folder = self.out / SAMPLES
        folder.mkdir(exist_ok=True)
        # Written atomically, because the admin page may read at any moment.
        with written_whole(folder / f"{name}_{step:07d}.jpg") as partial:
            Image.fromarray(pixels).save(partial, format="JPEG", quality=90)
        self.board.add_image(f"{item.label}/{index}", pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Flush TensorBoard's buffer."""
        self.board.close()


def sample_picture(predictor: Predictor, dataset: SegmentationDataset, index: int) -> np.ndarray[Any, Any]:
    """Photo, prediction and ground truth side by side, (H, 3W, 3) uint8."""
    sample = dataset.read(index)
    predicted = predictor(sample.photo, dataset.labels, with_entropy=False)
    return np.concatenate(
        [sample.photo, predicted.space.colourise(predicted.labels), dataset.labels.colourise(sample.labels)], axis=1
    )


def _step_of(line: str) -> float:
    """Step of a journal line; a line truncated by a kill counts as a later step and is dropped."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return math.inf
