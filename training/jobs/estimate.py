"""Estimate how long a training takes and what it costs, from an earlier job if there is one, otherwise by counting.

The count covers the segmenter's multiplications and additions at the recipe's crop, for one image per domain, with the
backward pass counted as two forward passes; it is divided by the hardware's rate. Discriminators, loading and evaluations are
left out, and hardware reaches only a fraction of its data sheet, so a counted estimate is a range. A CPU has no such sheet:
its rate is measured with the network itself, as depthwise convolutions reach a tenth of what wide ones do.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Final

import torch
from torch.utils.flop_counter import FlopCounterMode

from sim2street.models.errors import ConfigError
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.networks import build
from sim2street.training.config import RunConfig
from sim2street.training.durations import in_words
from sim2street.training.jobs.hub import Flavour
from sim2street.training.jobs.progress import Progress, read_progress
from sim2street.training.jobs.record import Cluster, Job, JobState
from sim2street.training.jobs.store import JobStore

# Dense teraflops by NVIDIA's data sheets: in single precision without TF32, and in bf16 or fp16 on tensor cores.
TERAFLOPS: Final[dict[str, tuple[float, float]]] = {
    "T4": (8.1, 65.0),
    "L4": (30.3, 121.0),
    "A10G": (31.5, 70.0),
    "L40S": (91.6, 362.0),
    "A100": (19.5, 312.0),
    "H200": (67.0, 989.0),
    "RTX PRO 6000": (125.0, 503.0),
}
REACHED: Final = (0.15, 0.45)
"""Fraction of the data sheet that training convolutional networks reaches, from slow to fast."""
LOADED: Final = (0.7, 2.0)
"""Fraction of a CPU's rate on small images that a training step reaches: less with a teacher, more with larger images."""
LARGEST_TRIED: Final = 50_000_000
"""Parameters of the largest network whose rate on a CPU is measured; trying a larger one would take long and gigabytes."""


@dataclass(frozen=True)
class Estimate:
    """Shortest and longest time in seconds, cost in dollars on paid hardware, and the basis of the estimate."""

    seconds: tuple[float, float]
    dollars: tuple[float, float] | None
    grounds: str


def estimate(
    config: RunConfig,
    store: JobStore,
    *,
    processes: int = 1,
    flavour: Flavour | None = None,
    cluster: Cluster | None = None,
) -> Estimate | None:
    """Estimate how long `config` would train; None on unknown hardware.

    Args:
        config: the recipe to estimate.
        store: earlier jobs, whose speed on the same hardware is preferred to counting.
        processes: number of processes that train together on this machine.
        flavour: hardware on the Hub.
        cluster: what a SLURM cluster is asked for; its hardware is known only from earlier jobs.
    """
    stages = list(config.resolve_stages().values()) if config.stages else [config]
    steps = sum(steps_worth(stage) for stage in stages)
    known = _measured(config, store, _hardware(processes, flavour, cluster))
    if known is not None:
        pace, job = known
        seconds = (steps * pace, steps * pace * 1.15)
        grounds = f"Based on the speed of job {job.id}."
    else:
        work = sum(steps_worth(stage) * step_flops(stage) for stage in stages)
        rates = None if cluster is not None else _rates(config, flavour)
        if rates is None:
            return None
        seconds = (work / rates[1], work / rates[0])
        grounds = "Counted, not measured: a first run on this hardware gives a better estimate."
    grounds += " Only steps are included: rendering or storing new data, and evaluations, take extra time."
    dollars = None
    if flavour is not None:
        dollars = (seconds[0] / 3600 * flavour.dollars_per_hour, seconds[1] / 3600 * flavour.dollars_per_hour)
    return Estimate(seconds, dollars, grounds)


def cost_in_words(dollars: tuple[float, float]) -> str:
    """Format the least and the highest cost: $1.20 to $3.60."""
    least, most = dollars
    return f"${least:.2f} to ${most:.2f}" if most >= 0.01 else "less than $0.01"


def surprise(job: Job, progress: Progress) -> str:
    """Explain why a training took more than twice the longest estimate, or less than half of the shortest.

    Empty if it did not, was not estimated, or has not succeeded.
    """
    if job.expected_seconds is None or job.state is not JobState.SUCCEEDED or not job.seconds:
        return ""
    shortest, longest = job.expected_seconds
    if shortest / 2 <= job.seconds <= 2 * longest:
        return ""
    said = f"The estimate was {in_words(shortest)} to {in_words(longest)}; it took {in_words(job.seconds)}."
    stepping = 0.0 if progress.seconds_per_step is None else progress.steps * progress.seconds_per_step
    if job.seconds > 2 * longest and (stepping <= longest or stepping < job.seconds / 2):
        beside = in_words(job.seconds - stepping)
        return (
            f"{said} Its steps took {in_words(stepping)}; storing data, evaluations and the start, which estimates do not"
            f" include, took {beside}."
        )
    than = "longer" if job.seconds > longest else "shorter"
    return (
        f"{said} A step took {than} than estimated, for example because of other work on the machine, its memory or its"
        " cores. The next estimate uses the speed of this job."
    )


def steps_worth(config: RunConfig) -> float:
    """Optimiser steps, plus recalibration expressed in steps: one forward pass of target images per batch."""
    forward_passes = (
        3 * config.accumulate * (1 if config.target is None else 2)
    )  # share of a step, with the backward pass counted twice
    return config.steps + config.recalibration / forward_passes


def step_flops(config: RunConfig) -> float:
    """Floating-point operations per optimiser step and process, forward and backward through the segmenter."""
    width, height = config.source_transform.crop or config.sources[0].size
    pictures = config.batch * config.accumulate * (1 if config.target is None else 2)
    return 3 * pictures * _forward_flops(config.network, _frozen(config.network_options), width, height)


@functools.lru_cache(maxsize=32)
def processor_rate(network: str, options: tuple[tuple[str, object], ...]) -> float | None:
    """Floating-point operations per second of a network, forward and backward, on this machine's CPU; None if it is too large."""
    with torch.device("meta"):
        parameters = sum(each.numel() for each in build(network, CITYSCAPES19, dict(options)).parameters())
    if parameters > LARGEST_TRIED:
        return None
    segmenter = build(network, CITYSCAPES19, dict(options)).train()
    width, height = 128, 96
    images = torch.rand(2, 3, height, width)
    best = float("inf")
    for _ in range(3):  # the first time also allocates
        began = time.perf_counter()
        segmenter(images).logits.mean().backward()
        best = min(best, time.perf_counter() - began)
    return 3 * len(images) * _forward_flops(network, options, width, height) / best


def _hardware(processes: int, flavour: Flavour | None, cluster: Cluster | None) -> tuple[object, ...]:
    """What jobs on the same hardware have in common."""
    if cluster is not None:
        return "slurm", cluster.partition, cluster.gpus, cluster.options.get("gres"), cluster.options.get("constraint")
    return ("local", processes) if flavour is None else ("hub", flavour.name)


def _hardware_of(job: Job) -> tuple[object, ...]:
    if job.where == "hub":
        return "hub", job.flavour
    return _hardware(job.processes.count, None, job.cluster)


def _measured(config: RunConfig, store: JobStore, hardware: tuple[object, ...]) -> tuple[float, Job] | None:
    """Seconds per step of the latest job with the same work on the same hardware."""
    same = ("method", "network", "network_options", "batch", "accumulate", "precision", "source_transform")
    for job in store.jobs():
        if job.state is not JobState.SUCCEEDED or _hardware_of(job) != hardware:
            continue
        try:
            other = store.config(job.id)
        except ConfigError:  # damaged, or from a version whose recipes had other keys
            continue
        if other.stages or config.stages or any(getattr(other, key) != getattr(config, key) for key in same):
            continue
        pace = read_progress(other, store.run(job.id)).seconds_per_step
        if pace:
            return pace, job
    return None


def _rates(config: RunConfig, flavour: Flavour | None) -> tuple[float, float] | None:
    gpu = torch.cuda.get_device_name() if flavour is None and torch.cuda.is_available() else ""
    gpu = flavour.gpu if flavour is not None else gpu
    if not gpu:
        if flavour is not None:
            return None
        # Measured with torch's default number of threads.
        rate = processor_rate(config.network, _frozen(config.network_options))
        return None if rate is None else (LOADED[0] * rate, LOADED[1] * rate)
    sheet = next((rates for name, rates in TERAFLOPS.items() if name.lower() in gpu.lower().replace("-", " ")), None)
    if sheet is None:
        return None
    rate = 1e12 * sheet[0 if config.precision == "fp32" else 1] * max(1, flavour.gpus if flavour else 1)
    return REACHED[0] * rate, REACHED[1] * rate


def _frozen(options: dict[str, object]) -> tuple[tuple[str, object], ...]:
    return tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in sorted(options.items()))


@functools.lru_cache(maxsize=32)
def _forward_flops(network: str, options: tuple[tuple[str, object], ...], width: int, height: int) -> float:
    with torch.device("meta"):
        segmenter = build(network, CITYSCAPES19, dict(options))
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            segmenter.eval()(torch.rand(1, 3, height, width))
    return float(counter.get_total_flops())
