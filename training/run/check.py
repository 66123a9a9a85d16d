"""Check whether a run could start, what it would cost, and what stays unknown; nothing is trained, stored or downloaded.

A run's requirements are checked in the order in which they would fail: its folder, the networks and their optimisers,
the initial weights, the data; then a step is rehearsed on this machine.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError

from sim2street.models.errors import Sim2StreetError
from sim2street.models.importers.segformer import FILES_OF_PORT
from sim2street.models.networks import build_unfilled
from sim2street.models.segmenter import Segmenter
from sim2street.models.storage.cache import cache_folder
from sim2street.models.storage.catalog import find_checkpoint
from sim2street.models.storage.files import CONFIG, in_units, visible
from sim2street.training.config import PREVIOUS, DatasetConfig, RunConfig
from sim2street.training.datasets.base import FolderDataset
from sim2street.training.datasets.inspection import inspect_dataset
from sim2street.training.datasets.stored import bytes_to_store
from sim2street.training.durations import in_words
from sim2street.training.methods import build_method
from sim2street.training.run.extra_networks import extra_networks_of
from sim2street.training.run.initialise import fill_from, imagenet_repository, timm_encoder_of
from sim2street.training.run.loop import STATE, TrainingError, check_folder
from sim2street.training.run.optimisers import build_optimisers
from sim2street.training.run.pretrained import PACKAGES, installed_package, refuse_licence
from sim2street.training.run.rehearsal import Rehearsal, TooSlow, rehearse
from sim2street.training.selection import open_selection, predicted_space

OPENED: Final = 3
"""Images opened of each data set."""
TIMEOUT: Final = 10
"""Seconds to wait for the Hub."""


class Verdict(Enum):
    """What a finding means for the run."""

    FINE = "fine"
    PROBLEM = "PROBLEM"
    UNKNOWN = "unchecked"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        verdict: whether the run could start with it.
        subject: what was checked.
        text: what was found, in one sentence.
    """

    verdict: Verdict
    subject: str
    text: str


def check_run(config: RunConfig, out: Path) -> Iterator[Finding]:
    """Check everything that a run needs, one finding after another.

    Args:
        config: the recipe to run, with or without stages.
        out: folder of the future run.

    Yields:
        Findings; the run could start if none is a `Verdict.PROBLEM`.
    """
    stages = config.resolve_stages() if config.stages else {"": config}
    of = f" in {len(stages)} stages ({', '.join(stages)})" if config.stages else ""
    yield Finding(
        Verdict.FINE,
        "recipe",
        f"{config.name or config.title}: {config.total_steps} step{'' if config.total_steps == 1 else 's'}{of}",
    )
    began = (out / (CONFIG if config.stages else STATE)).exists()
    try:
        check_folder(config, out, False, began=began)
    except TrainingError as error:
        yield Finding(Verdict.PROBLEM, "folder", str(error))

    data = _Data()
    costs: list[tuple[RunConfig, Rehearsal]] = []
    before: RunConfig | None = None
    for name, stage in stages.items():
        prefix = f"{name}, " if name else ""
        networks = _check_networks(stage)
        for finding in (networks, _check_start(stage, before), *_check_extra_networks(stage)):
            yield Finding(finding.verdict, prefix + finding.subject, finding.text)
        yield from data.check(stage)
        if networks.verdict is Verdict.FINE:
            finding, cost = _check_step(stage, on_noise=not data.has(stage))
            yield Finding(finding.verdict, f"{prefix}{finding.subject}", finding.text)
            costs += [] if cost is None else [(stage, cost)]
        else:
            yield Finding(Verdict.UNKNOWN, f"{prefix}step", "not taken, because the networks cannot be trained.")
        before = stage
    yield from _sum_up(costs, whole=len(costs) == len(stages))
    yield from _check_disk(costs, data.to_store, out)
    if len(costs) < len(stages):
        yield Finding(Verdict.UNKNOWN, "disk", "stages that were not rehearsed are not included.")
    yield from _name_unknowns(list(stages.values()))


def _check_networks(config: RunConfig) -> Finding:
    """Whether networks and optimisers can be built; allocates no memory for their weights."""
    try:
        segmenter = build_unfilled(config.network, predicted_space(config), config.network_options)
        with torch.device("meta"):
            method = build_method(config.method, segmenter, config.method_options)
            optimisers = build_optimisers(config, method)
    except Sim2StreetError as error:
        return Finding(Verdict.PROBLEM, "networks", str(error))
    millions = sum(parameter.numel() for parameter in segmenter.parameters()) / 1e6
    trained = ", ".join(optimisers) or "nothing by gradient descent"
    return Finding(
        Verdict.FINE,
        "networks",
        f"{config.network}, {millions:.1f} million parameters; {config.method} trains {trained}"
        + _advise_on_crop(config.source_transform.crop, segmenter.core.multiple),
    )


def _advise_on_crop(crop: tuple[int, int] | None, multiple: int) -> str:
    """What to change about a crop that the network's padding shifts, see `Core.multiple`; empty if there is nothing."""
    if crop is None or not any(side % multiple for side in crop):
        return ""
    return f"; its crops of {crop[0]}x{crop[1]} should have sides that are multiples of {multiple}, as photos then have"


def _check_start(config: RunConfig, before: RunConfig | None) -> Finding:
    """Whether the initial weights exist and fit."""
    source = config.initialisation
    try:
        if source == "random":
            return Finding(Verdict.FINE, "start", "random weights")
        segmenter = build_unfilled(config.network, predicted_space(config), config.network_options)
        if source == "imagenet":
            return _find_imagenet(segmenter, config)
        if source == PREVIOUS and before is not None:
            earlier = build_unfilled(before.network, predicted_space(before), before.network_options)
            fill_from(segmenter, earlier.core.state_dict(), source)
            return Finding(Verdict.FINE, "start", "the checkpoint of the stage before")
        checkpoint = find_checkpoint(source)
        weights = checkpoint.load().core.state_dict()
        fill_from(segmenter, {key: value.to("meta") for key, value in weights.items()}, source)
    except Sim2StreetError as error:
        return Finding(Verdict.PROBLEM, "start", str(error))
    return Finding(
        Verdict.FINE, "start", f"{checkpoint.config.title}, step {checkpoint.config.step}, {checkpoint.path}"
    )


def _find_imagenet(segmenter: Segmenter, config: RunConfig) -> Finding:
    """Whether the ImageNet weights are installed, cached, or available on the Hub."""
    encoder = timm_encoder_of(segmenter)
    package = None if encoder is None else PACKAGES.get(encoder.name)
    if package is not None and installed_package(package) is not None:
        return Finding(Verdict.FINE, "start", f"ImageNet weights, in the installed package {package.distribution}")
    repository = imagenet_repository(segmenter, config.network_options)
    for file in FILES_OF_PORT:
        cached = try_to_load_from_cache(repository, file)
        if isinstance(cached, str):
            return Finding(Verdict.FINE, "start", f"ImageNet weights {repository}, in the cache: {cached}")
    if encoder is not None:
        refuse_licence(encoder.name)
    for file in FILES_OF_PORT:
        url = hf_hub_url(repository, file)
        try:
            size = get_hf_file_metadata(url, timeout=TIMEOUT).size
        except EntryNotFoundError:
            continue
        except Exception as error:  # whatever the network layer raises
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            text = f"The ImageNet weights {repository} are not in the cache, and {url} cannot be reached: {reason}"
            return Finding(Verdict.PROBLEM, "start", text)
        weight = "" if size is None else f" ({in_units(size)})"
        return Finding(Verdict.FINE, "start", f"ImageNet weights, to be downloaded from {url}{weight}")
    return Finding(Verdict.PROBLEM, "start", f"{repository} contains neither {' nor '.join(FILES_OF_PORT)}.")


class _Data:
    """Findings about the data sets; each set is checked once, however many stages use it.

    Attributes:
        to_store: bytes that stored copies will take, by data set and size.
    """

    def __init__(self) -> None:
        self.findings: dict[tuple[DatasetConfig, bool], Finding] = {}
        self.to_store: dict[tuple[DatasetConfig, bool], int] = {}

    def check(self, config: RunConfig) -> Iterator[Finding]:
        """Check the sets of a stage that no earlier stage used."""
        for role, item in _roles(config):
            key = (item, role != "target")
            if key not in self.findings:
                self.findings[key] = self._inspect(f"{role} {item.label}", item, labelled=key[1])
                yield self.findings[key]

    def has(self, config: RunConfig) -> bool:
        """Whether the images that a stage trains on were found."""
        return not any(
            self.findings[item, role != "target"].verdict is Verdict.PROBLEM
            for role, item in _roles(config)
            if role != "evaluation"
        )

    def _inspect(self, subject: str, item: DatasetConfig, *, labelled: bool) -> Finding:
        try:
            dataset = open_selection(item.model_copy(update={"store": None}), labelled=labelled)
            if item.store is not None:
                self.to_store[item, labelled] = bytes_to_store(dataset, item.store)
            if not isinstance(dataset, FolderDataset):
                return Finding(Verdict.FINE, subject, dataset.describe())
            options: dict[str, Any] = {"classes": item.classes} if item.dataset == "folder" else {}
            (part,) = inspect_dataset(
                item.dataset, dataset.root, dataset.split, images=OPENED, labelled=labelled, **options
            )
        except Sim2StreetError as error:
            return Finding(Verdict.PROBLEM, subject, str(error))
        if part.unreadable:
            return Finding(Verdict.PROBLEM, subject, part.unreadable[0])
        sizes = ", ".join(part.sizes)
        return Finding(Verdict.FINE, subject, f"{dataset.describe()}; {part.inspected} opened, {sizes}")


def _roles(config: RunConfig) -> list[tuple[str, DatasetConfig]]:
    target = [] if config.target is None else [("target", config.target)]
    return [
        *(("source", item) for item in config.sources),
        *target,
        *(("evaluation", item) for item in config.evaluations),
    ]


def _check_extra_networks(config: RunConfig) -> Iterator[Finding]:
    """Whether the run named by `extra_networks` has any; those from an earlier stage do not exist yet."""
    if config.extra_networks is None:
        return
    folder = extra_networks_of(Path(config.extra_networks))
    found = sorted(path.stem for path in visible(folder, "*.safetensors"))
    if found:
        yield Finding(Verdict.FINE, "extra_networks", f"{', '.join(found)} of {config.extra_networks}")
    else:
        yield Finding(
            Verdict.PROBLEM, "extra_networks", f"There are no networks in {folder}; expected those of a finished run."
        )


def _check_step(config: RunConfig, *, on_noise: bool) -> tuple[Finding, Rehearsal | None]:
    """Take a step and report its cost."""
    try:
        cost = rehearse(config, on_noise=on_noise)
    except TooSlow as error:
        return Finding(Verdict.UNKNOWN, "step", str(error)), None
    except Sim2StreetError as error:
        return Finding(Verdict.PROBLEM, "step", str(error)), None
    memory = "memory unknown" if cost.memory is None else f"peak memory {in_units(cost.memory)}"
    if cost.memory is not None and cost.available is not None:
        memory += f" of {in_units(cost.available)}"
    loading = "" if cost.loading is None else f"; loading its images takes one process {in_words(cost.loading)}"
    noise = ", on noise of the recipe's size because the data is missing" if on_noise else ""
    words = f"{in_words(cost.seconds)} on {cost.device} ({cost.hardware}), {memory}{loading}{noise}"
    return Finding(Verdict.FINE, "step", words), cost


def _sum_up(costs: list[tuple[RunConfig, Rehearsal]], *, whole: bool) -> Iterator[Finding]:
    """Time of all steps."""
    if not whole:
        yield Finding(Verdict.UNKNOWN, "time", "unknown, because not every stage could be rehearsed.")
        return
    seconds = sum(config.steps * cost.pace(config.workers) for config, cost in costs)
    steps = sum(config.steps for config, _ in costs)
    counted = f"{steps} step{'' if steps == 1 else 's'}"
    yield Finding(Verdict.FINE, "time", f"about {in_words(seconds)} for {counted} in one process on this machine")


def _check_disk(
    costs: list[tuple[RunConfig, Rehearsal]], to_store: dict[tuple[DatasetConfig, bool], int], out: Path
) -> Iterator[Finding]:
    """Disk space for stored data sets, and for states and checkpoints."""
    # A new state is written in full before it replaces the old one; each stage keeps its last one.
    states = sum(cost.state + cost.weights for _, cost in costs) + max((cost.state for _, cost in costs), default=0)
    needs = [("caches", cache_folder(), sum(to_store.values())), ("states and checkpoint", out, states)]
    together = len({_existing(folder).stat().st_dev for _, folder, _ in needs}) == 1
    for subject, folder, needed in needs:
        free = shutil.disk_usage(_existing(folder)).free
        limit = sum(need for _, _, need in needs) if together else needed
        words = f"needs {in_units(needed)} in {folder}, which has {in_units(free)} free"
        if limit > free and together:
            words += f"; both together need {in_units(limit)}"
        permitted = os.access(_existing(folder), os.W_OK)
        if not permitted:
            words += "; it cannot be written to"
        fine = permitted and limit <= free
        yield Finding(Verdict.FINE if fine else Verdict.PROBLEM, f"disk for {subject}", words)


def _name_unknowns(stages: list[RunConfig]) -> Iterator[Finding]:
    if any(stage.evaluations for stage in stages):
        yield Finding(Verdict.UNKNOWN, "evaluations", "the time does not include them, nor storing data sets.")
    if any(stage.sampling == "rare_class" for stage in stages):
        text = "class frequencies are counted before the first step, unless cached, which reads every label once."
        yield Finding(Verdict.UNKNOWN, "rare classes", text)
    text = f"only {OPENED} images of each set were opened; `sim2street datasets check` opens more."
    yield Finding(Verdict.UNKNOWN, "images", text)


def _existing(folder: Path) -> Path:
    """The folder, or its nearest existing parent."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.is_dir())
