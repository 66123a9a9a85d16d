"""Rehearsal: take the first steps of a run on this machine, to measure their cost in seconds and bytes.

The steps are those of the training loop, with the recipe's method, precision and optimisers, on images of its data or, if
that is missing, on noise of the same size; weights are random. They run in a separate process, so that running out of
memory ends only that process, and its peak memory is that of the steps alone.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from sim2street.models.errors import ConfigError, Sim2StreetError
from sim2street.models.predictor import best_device
from sim2street.training.config import DatasetConfig, RunConfig, TransformOptions
from sim2street.training.durations import in_words
from sim2street.training.pair import DomainPair, PairStream
from sim2street.training.run.loop import Run, TrainingError
from sim2street.training.selection import predicted_space

PATIENCE: Final = 60.0
"""Seconds: if the first step takes longer, no second one is timed, although the first is usually the slowest."""
LONGEST: Final = 180.0
"""Seconds after which a rehearsal is stopped, since training this slowly is impractical (a paper's recipe on a CPU)."""


class TooSlow(TrainingError):
    """The steps did not finish within `LONGEST`."""


@dataclass(frozen=True)
class Rehearsal:
    """The cost of one step on this machine, in one process.

    Attributes:
        device: PyTorch's name for the device: "cpu", "cuda".
        hardware: name of the GPU, or the number of CPU threads.
        seconds: time of one optimiser step, without loading.
        loading: seconds one process needs to read, decode and crop the pairs of one step; None on noise.
        memory: peak in bytes, as reserved by PyTorch on a GPU, or of the whole process on a CPU; None if unknown.
        available: total memory of the device in bytes; None if unknown.
        state: bytes of a saved state, weights and optimisers.
        weights: bytes of the finished checkpoint.
    """

    device: str
    hardware: str
    seconds: float
    loading: float | None
    memory: int | None
    available: int | None
    state: int
    weights: int

    def pace(self, workers: int) -> float:
        """Seconds per training step with this many loader processes, which run in parallel with the network."""
        loading = self.loading or 0.0
        return max(self.seconds, loading / workers) if workers else self.seconds + loading


def rehearse(config: RunConfig, *, on_noise: bool = False) -> Rehearsal:
    """Take the first steps of a run without stages, and discard the result.

    Args:
        config: the recipe to rehearse.
        on_noise: use noise instead of the recipe's data.

    Raises:
        TooSlow: the steps did not finish within `LONGEST` and were stopped.
        TrainingError: a step failed, for lack of memory or because parts of the recipe do not fit together.
        ConfigError: noise was requested, but the recipe does not determine its size.
        DatasetError: an image cannot be read.
    """
    began = time.monotonic()
    # This process owns the folder, because the other may be killed before it can clean up.
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        try:
            return pool.submit(_rehearse, config, on_noise, Path(folder) / "run", LONGEST).result()
        except BrokenProcessPool as error:
            if time.monotonic() - began >= LONGEST:
                raise TooSlow(
                    f"stopped, because it took longer than {in_words(LONGEST)} on this machine's {best_device().type}."
                    " Train on a faster machine, or with a smaller network, crop or batch."
                ) from error
            raise TrainingError(
                "The first step was killed, most likely because it needs more memory than this machine has. Try a"
                " smaller crop, or a smaller batch with a larger accumulate."
            ) from error
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"The first step needs more memory than the GPU has free ({str(error).split('. ')[0]}). Try a smaller"
                " crop, a smaller batch with a larger accumulate, or bf16."
            ) from error
        except Sim2StreetError:
            raise
        except Exception as error:  # whatever PyTorch makes of a recipe whose parts do not fit together
            if isinstance(error, MemoryError) or "memory" in str(error):
                raise TrainingError(f"The first step needs more memory than this machine has: {error}") from error
            raise TrainingError(f"The first step failed: {error} ({type(error).__name__}).") from error


def _rehearse(config: RunConfig, on_noise: bool, out: Path, longest: float) -> Rehearsal:
    # Python cannot interrupt a step, so the process exits; the waiting process tells by the time why.
    leave = threading.Timer(longest, os._exit, (1,))
    leave.daemon = True
    leave.start()
    try:
        return _Rehearsing(config, out, on_noise=on_noise).measure()
    finally:
        leave.cancel()


class _Rehearsing(Run):
    """A run in a temporary folder that starts from random weights and fills no cache."""

    def __init__(self, config: RunConfig, out: Path, *, on_noise: bool) -> None:
        self.on_noise = on_noise
        self.recipe = config
        super().__init__(as_rehearsed(config), out, resume=False)

    def open_pairs(self) -> PairStream:
        """The recipe's pairs, or noise."""
        return _Noise(self.recipe) if self.on_noise else super().open_pairs()

    def take_over(self, earlier: Path | None) -> None:
        """Load no extra networks: their weights do not affect the cost of a step."""

    def measure(self) -> Rehearsal:
        """Draw pairs, then take steps on them."""
        count = self.config.accumulate
        drawn, loading = self._draw(count), None
        if not self.on_noise and not any(item.store for item in _inputs(self.recipe)):
            began = time.perf_counter()
            drawn = self._draw(count)  # again, because the first images include the time for opening files and imports
            loading = time.perf_counter() - began
        stream = itertools.cycle(drawn)
        cuda = self.accelerator.device.type == "cuda"
        seconds = self._timed_step(stream)
        if seconds < PATIENCE:
            seconds = self._timed_step(stream)
        weights = [value.numel() for value in self.segmenter.core.state_dict().values()]
        return Rehearsal(
            device=self.accelerator.device.type,
            hardware=torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} threads",
            seconds=seconds,
            loading=loading,
            memory=torch.cuda.max_memory_reserved() if cuda else peak_of_process(),
            available=torch.cuda.get_device_properties(0).total_memory if cuda else memory_of_machine(),
            state=_bytes(self.method.state_dict())
            + sum(_bytes(item.state_dict()) for item in self.optimisers.values()),
            weights=2 * sum(weights),
        )

    def _draw(self, count: int) -> list[DomainPair]:
        return list(itertools.islice(self.pairs.stream(0), count))

    def _timed_step(self, stream: Iterator[DomainPair]) -> float:
        began = time.perf_counter()
        self.take_step(stream)
        if self.accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began


class _Noise:
    """Pairs of the recipe's size with noise as images and blocks of all classes as labels."""

    def __init__(self, config: RunConfig) -> None:
        self.batch = config.batch
        self.count = predicted_space(config).count
        self.source = size_at_network(config.source_transform, config.sources[0])
        self.target = None if config.target is None else size_at_network(config.target_transform, config.target)

    def stream(self, start: int = 0, *, workers: int = 0) -> Generator[DomainPair, None, None]:
        """Yield the same pair forever, whatever `start` and `workers`."""
        width, height = self.source
        blocks = torch.randint(0, self.count, (self.batch, -(-height // 64), -(-width // 64)))
        labels = blocks.repeat_interleave(64, 1).repeat_interleave(64, 2)[:, :height, :width]
        source = torch.rand(self.batch, 3, height, width)
        target = source[:0] if self.target is None else torch.rand(self.batch, 3, *reversed(self.target))
        pair = DomainPair(source, labels, target, (None,) * self.batch)
        while True:
            yield pair


def as_rehearsed(config: RunConfig) -> RunConfig:
    """The recipe without slow preparations that do not affect the cost of a step.

    Nothing is stored on disk, evaluated or downloaded, and images are drawn uniformly, so no classes need counting.
    """
    return config.model_copy(
        update={
            "initialisation": "random",
            "sampling": "uniform",
            "evaluations": (),
            "sources": tuple(item.model_copy(update={"store": None}) for item in config.sources),
            "target": config.target and config.target.model_copy(update={"store": None}),
            "source_transform": _resized(config.source_transform, config.sources[0]),
            "target_transform": _resized(config.target_transform, config.target or config.sources[0]),
        }
    )


def _resized(transform: TransformOptions, dataset: DatasetConfig) -> TransformOptions:
    """The transform with the resizing that a stored copy already includes."""
    return transform.model_copy(update={"resize": transform.resize or dataset.store})


def size_at_network(transform: TransformOptions, dataset: DatasetConfig) -> tuple[int, int]:
    """(width, height) of the images that a step sees, as determined by the recipe alone.

    Raises:
        ConfigError: the recipe does not determine it.
    """
    rendered = dataset.size if dataset.kind.generated else None
    size = transform.crop or transform.resize or dataset.store or rendered
    if size is None or (transform.crop is None and transform.scale is not None):
        raise ConfigError(f"The training size of {dataset.label} depends on its photos, which are missing.")
    return size


def peak_of_process() -> int | None:
    """Peak memory of this process in bytes; None if the system does not report it."""
    # getrusage does not help: a process inherits the peak of its parent.
    return _kilobytes(Path("/proc/self/status"), "VmHWM")


def memory_of_machine() -> int | None:
    """Total memory of the machine in bytes; None if the system does not report it."""
    return _kilobytes(Path("/proc/meminfo"), "MemTotal")


def _kilobytes(path: Path, entry: str) -> int | None:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{entry}:")), None)


def _inputs(config: RunConfig) -> list[DatasetConfig]:
    return [*config.sources, *([] if config.target is None else [config.target])]


def _bytes(state: object) -> int:
    """Bytes of the tensors in nested containers."""
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(map(_bytes, state.values()))
    return sum(map(_bytes, state)) if isinstance(state, list | tuple) else 0
