"""The training loop, the only one and the only importer of accelerate.

A run is a folder:

    config.json      the resolved recipe
    state.pt         everything needed to resume, replaced atomically; loadable with `weights_only=True`
    progress.jsonl   one line per log or evaluation: step, losses, rates, seconds, metrics
    tensorboard/     the same as curves, and sample images
    samples/         photo, prediction and ground truth side by side
    extra_networks/  further networks for later use (training/run/extra_networks.py); few methods have any
    checkpoint/      the finished `Checkpoint`: always the last step, never one selected by its metrics

No random state is carried from step to step: pair k and the dropout masks of step k are functions of (seed, k, rank),
so a resumed run on CPU continues bit for bit (with the same number of threads). Networks are not wrapped for several
processes; gradients are averaged over the processes right before an optimiser steps, which works for any number of
networks and backward passes.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import logging
import math
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from torch import Tensor, nn
from tqdm import tqdm

from sim2street.models.errors import ConfigError, Interrupted, Sim2StreetError
from sim2street.models.label_space import LabelSpace, LabelSpaceOptions
from sim2street.models.labels import LABEL_SPACES
from sim2street.models.networks import build, is_finite
from sim2street.models.networks.for_training import for_training
from sim2street.models.predictor import Predictor, best_device, has_bf16
from sim2street.models.segmenter import Segmenter
from sim2street.models.storage.checkpoint import Checkpoint, CheckpointConfig
from sim2street.models.storage.files import CARD, CONFIG, RUN_FOLDER, write_json
from sim2street.training.config import PREVIOUS, RunConfig
from sim2street.training.evaluate import evaluate
from sim2street.training.hosting.card import write_card
from sim2street.training.methods import build_method
from sim2street.training.methods.adabn import batch_norms, recalibrate
from sim2street.training.methods.base import Method
from sim2street.training.pair import DomainPair, PairStream
from sim2street.training.renamed import TODAY, with_current_names
from sim2street.training.run.beginning import KEY, beginning, changes, recorded
from sim2street.training.run.extra_networks import (
    EXTRA_NETWORKS,
    extra_networks_of,
    load_extra_networks,
    save_extra_networks,
)
from sim2street.training.run.folder import STATE, is_finished, sole_use
from sim2street.training.run.initialise import initialise
from sim2street.training.run.journal import Journal, sample_picture
from sim2street.training.run.optimisers import build_optimisers, set_rates
from sim2street.training.run.signals import stop_signals
from sim2street.training.run.trackers import Followers, chosen_trackers
from sim2street.training.selection import open_pairs, open_selection, predicted_space

LOGGER: Final = logging.getLogger(__name__)
STATE_FORMAT: Final = 1
SAMPLES: Final = 3
"""Sample images saved of each evaluation set."""


class TrainingError(Sim2StreetError):
    """A run cannot start or continue; the message says what was saved."""


class _EvaluationStopped(Exception):
    """A stop was requested between two photos of an evaluation."""


def train(config: RunConfig, out: Path, *, resume: bool = False, allow_changes: bool = False) -> Checkpoint | None:
    """Run `config` to its last step and write `out/checkpoint`.

    Args:
        config: the recipe to run.
        out: folder of the run, created if missing.
        resume: continue from `out/state.pt`; settings and data must be those that the run began with.
        allow_changes: continue even if some differ; the differences are recorded in the state.

    Returns:
        The finished checkpoint; None on all but the first of several processes.

    Raises:
        TrainingError: the folder contains another run, something has changed since it began, a loss is not finite, or
            the disk is full.
        RunFolderError: another process is writing into the folder.
        Interrupted: the run was asked to stop; it can be resumed from there.
    """
    config = config.rooted()
    with sole_use(out):
        if resume and is_finished(out):  # metrics may have been added to it since
            check_folder(config, out, resume, began=True)
            return Checkpoint.open(out / RUN_FOLDER) if os.environ.get("RANK", "0") == "0" else None
        check_folder(config, out, resume, began=(out / (CONFIG if config.stages else STATE)).exists())
        began = beginning(config)
        if resume:
            began["changes"] = changes_since(out, began, allow_changes)
        if config.stages:
            return train_stages(config, out, began)
        run = Run(config, out, resume=resume, began=began)
        run.to_the_end()
        return run.finish()


def changes_since(out: Path, now: dict[str, Any], allowed: bool) -> list[str]:
    """All differences from what a run began with, including those that were allowed earlier.

    Raises:
        TrainingError: something has changed, and `allowed` is false.
    """
    before = recorded(out)
    if before is None:
        LOGGER.warning("%s has no record of its data, so changes to it cannot be detected.", out)
        return []
    found = changes(before, now)
    if found and not allowed:
        raise TrainingError(
            f"The settings or data of {out} have changed since it began: {'; '.join(found)}. Undo the changes, or accept"
            f" them: sim2street train --resume {out} --allow-changes"
        )
    for change in found:
        LOGGER.warning("%s continues with a change: %s.", out, change)
    return [*before["changes"], *found]


def train_stages(config: RunConfig, out: Path, began: dict[str, Any]) -> Checkpoint | None:
    """Run a recipe's stages in `out/<stage>`; the last stage's checkpoint becomes that of the run.

    Finished stages are skipped; an interrupted one is resumed.
    """
    before: Path | None = None
    checkpoint: Checkpoint | None = None
    for name, stage in config.resolve_stages().items():
        place, previous = out / name, before
        before = place
        if is_finished(place):
            checkpoint = Checkpoint.open(place / RUN_FOLDER)
            continue
        if began["changes"] and (place / STATE).exists() and os.environ.get("RANK", "0") == "0":
            write_json(place / CONFIG, stage.model_dump(mode="json"))  # allowed changes apply to the stage as well
        run = Run(stage, place, resume=(place / STATE).exists(), before=previous, whole=out, began=began)
        if run.is_main:
            write_json(out / CONFIG, config.model_dump(mode="json"))
        run.to_the_end()
        checkpoint = run.finish()
        run.accelerator.wait_for_everyone()
        del run  # free its networks and optimisers before the next stage builds its own
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
    if checkpoint is None or os.environ.get("RANK", "0") != "0":  # all processes opened a finished stage
        return None
    if before is not None and (kept := extra_networks_of(before)).is_dir():
        shutil.copytree(kept, out / EXTRA_NETWORKS, dirs_exist_ok=True)
    card = (checkpoint.path / CARD).read_text(encoding="utf-8")
    # It is already stored in fp16, so saving it again is lossless.
    return Checkpoint.save(out / RUN_FOLDER, checkpoint.load(), checkpoint.config, card=card)


class Run:
    """One process's share of a run: method, optimisers and step counter.

    Args:
        config: the recipe to run.
        out: folder of the run.
        resume: continue from its state.
        before: folder of the previous stage, whose checkpoint and extra networks this one may start from.
        whole: folder of the whole run, if this is one of its stages.
        began: record of settings and data, saved with the state.

    Attributes:
        step: optimiser steps taken.
        method: networks and losses.
        optimisers: by the name of the network that they train.
    """

    def __init__(
        self,
        config: RunConfig,
        out: Path,
        *,
        resume: bool,
        before: Path | None = None,
        whole: Path | None = None,
        began: dict[str, Any] | None = None,
    ) -> None:
        self.config = config
        self.out = out
        self.whole = whole or out
        self.began = began
        precision = "no" if config.precision == "fp32" else config.precision
        if precision == "fp16" and best_device().type != "cuda":
            raise TrainingError("precision fp16 needs an NVIDIA GPU; use bf16 or fp32 here.")
        if precision == "bf16" and best_device().type == "cuda" and not has_bf16("cuda"):
            raise TrainingError("This GPU does not support bf16 natively; use precision fp16 or fp32 here.")
        # The others wait while the first process evaluates and fills caches, far longer than the default ten minutes.
        patience = InitProcessGroupKwargs(timeout=datetime.timedelta(hours=12))
        trackers: list[Any] = [*chosen_trackers()]
        self.accelerator = Accelerator(mixed_precision=precision, kwargs_handlers=[patience], log_with=trackers or None)
        launched = int(os.environ.get("WORLD_SIZE", "1"))
        if launched != self.accelerator.num_processes:
            # Each would train alone and overwrite the other's files.
            raise TrainingError(
                f"{launched} processes were launched, but accelerate sees {self.accelerator.num_processes}. On CPU, set"
                " ACCELERATE_USE_CPU=true and launch with torchrun; on GPUs, use accelerate launch --multi_gpu."
            )
        self.step = 0
        check_folder(config, out, resume, began=(out / STATE).exists())

        torch.manual_seed(config.seed)
        segmenter = build(config.network, predicted_space(config), config.network_options)
        if not resume:
            start = before / RUN_FOLDER if before is not None and config.initialisation == PREVIOUS else None
            initialise(segmenter, config.initialisation if start is None else str(start), config.network_options)
        self.method: Method = build_method(config.method, segmenter, config.method_options)
        if not self.method.in_step and self.accelerator.num_processes * config.accumulate > 1:
            raise TrainingError(
                f"Method {config.method} with these options draws its pairs one by one, so it needs one process and"
                f" accumulate = 1; found processes = {self.accelerator.num_processes} and accumulate = {config.accumulate}."
            )
        if config.extra_networks and not self.method.extra_networks:
            raise ConfigError(
                f"extra_networks is {config.extra_networks!r}, but method {config.method} with these options has no extra"
                " networks. Remove the key."
            )
        if config.recalibration and not batch_norms(segmenter):
            raise ConfigError(
                f"recalibration is {config.recalibration}, but network {config.network} has no batch norm. Remove the key."
            )
        if not resume:
            self.take_over(Path(config.extra_networks) if config.extra_networks else before)
        # Convolutions on CPU and tensor cores are fastest in channels-last order.
        self.method.to(self.accelerator.device)
        self.method.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # missing in torch's stubs
        for_training(self.method, self.accelerator.device)
        self.optimisers = build_optimisers(config, self.method)
        if resume:
            self.load_state()

        self.evaluations = [(item, open_selection(item)) for item in config.evaluations] if self.is_main else []
        # The first process fills the caches that the others then read.
        with self.accelerator.main_process_first():
            self.pairs: PairStream = self.open_pairs()
        self.journal: Journal | None = None
        if self.is_main:
            out.mkdir(parents=True, exist_ok=True)
            write_json(out / CONFIG, config.model_dump(mode="json"))
            self.journal = Journal(out, self.step)
        self.followers = Followers(self.accelerator, config, out)

    def take_over(self, earlier: Path | None) -> None:
        """Load the method's extra networks from an earlier run, if there is one that has them.

        Raises:
            TrainingError: the method needs them and there is no earlier run.
            CheckpointError: one of their files is missing or does not fit.
        """
        asked = self.method.needs_extra_networks or self.config.extra_networks is not None
        if earlier is not None and (asked or extra_networks_of(earlier).is_dir()):
            load_extra_networks(self.method.extra_networks, earlier)
        elif self.method.needs_extra_networks:
            raise TrainingError(
                f"Method {self.config.method} with these options needs {', '.join(self.method.extra_networks)} from an"
                " earlier run: set extra_networks to its folder, or make this a stage after the one that trains them."
            )

    def open_pairs(self) -> PairStream:
        """Open this process's share of the training data."""
        processes = self.accelerator
        return open_pairs(self.config, rank=processes.process_index, ranks=processes.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files."""
        return self.accelerator.is_main_process

    @property
    def segmenter(self) -> Segmenter:
        """The network that the checkpoint will contain."""
        return self.method.segmenter

    @property
    def due(self) -> bool:
        """Whether to evaluate at this step; `finish` evaluates the last step."""
        every = self.config.evaluate_every
        return bool(every) and 0 < self.step < self.config.steps and self.step % every == 0

    def to_the_end(self) -> None:
        """Take all remaining steps, logging, evaluating and saving as configured.

        Raises:
            Interrupted: SIGINT or SIGTERM was received; the current step is finished and saved first.
            TrainingError: a loss or weight is not finite, or the disk is full.
        """
        with stop_signals() as stopped:
            self._steps(stopped)

    def _steps(self, stopped: threading.Event) -> None:
        config = self.config
        micro = self.step * config.accumulate
        stream = self.pairs.stream(micro, workers=config.workers)
        bar = tqdm(total=config.steps, initial=self.step, desc=config.name or config.method, disable=not self.is_main)
        sums: dict[str, float] = {}
        since, started = 0, time.perf_counter()
        with bar, contextlib.closing(stream):
            if self.due:  # resumed from the state that was saved for an evaluation
                self.evaluate(stopped)
            while self.step < config.steps:
                for term, value in self.take_step(stream).items():
                    sums[term] = sums.get(term, 0.0) + value
                since += 1
                bar.update()
                if self.step % config.log_every == 0 or self.step == config.steps:
                    means = {term: value / since for term, value in sums.items()}
                    bar.set_postfix_str(", ".join(f"{term} {value:.3g}" for term, value in means.items())[:120])
                    self.log({"losses": means, "seconds": (time.perf_counter() - started) / since})
                    sums, since, started = {}, 0, time.perf_counter()
                asked = self.agree(stopped.is_set())
                if asked or self.due or self.step % config.save_every == 0 or self.step == config.steps:
                    self.save_state()
                if self.due and not asked:
                    self.evaluate(stopped)
                    asked = self.agree(stopped.is_set())
                if asked and self.step < config.steps:
                    raise Interrupted(
                        f"Stopped at step {self.step} of {config.steps}; the state is saved."
                        f" Continue with: sim2street train --resume {self.whole}"
                    )

    def take_step(self, stream: Iterator[DomainPair]) -> dict[str, float]:
        """Draw pairs, apply the method's updates, step the optimisers; return the losses.

        Raises:
            TrainingError: a loss is not finite. The weights are lost by then, but nothing of this step has been saved.
        """
        config, losses = self.config, list[tuple[str, Tensor]]()
        for name, optimiser in self.optimisers.items():
            set_rates(optimiser, config.optimisers[name], self.step, config.steps)
        self.method.train()
        self.method.progress = self.step / config.steps
        try:
            for micro in range(config.accumulate):
                self._apply_updates(stream, micro, losses)
        except RuntimeError:
            self.read(losses)  # one that is not finite explains what else went wrong
            raise
        if config.accumulate > 1 and self.accelerator.scaler is not None:
            # Only here, because gradients accumulated from earlier pairs carry the old scale.
            self.accelerator.scaler.update()
        self.method.after_step(self.step)
        values = self.read(losses)
        self.step += 1
        return values

    def _apply_updates(self, stream: Iterator[DomainPair], micro: int, losses: list[tuple[str, Tensor]]) -> None:
        """Draw the step's pair number `micro` and apply the method's updates; its losses are appended, on the device."""
        config = self.config
        pair = next(stream).to(self.accelerator.device)
        # Dropout and the like depend only on the step and the process.
        torch.manual_seed(_seed(config.seed, self.step * config.accumulate + micro, self.accelerator.process_index))
        updates = self.method.step(channels_last(pair))
        while True:
            with self.accelerator.autocast():
                update = next(updates, None)
            if update is None:
                return
            if update.losses:
                losses += [(term, loss.detach()) for term, loss in update.losses.items()]
                self.accelerator.backward(torch.stack(list(update.losses.values())).sum() / config.accumulate)
            if micro == config.accumulate - 1:
                self.step_optimisers(update.step)

    def step_optimisers(self, names: tuple[str, ...]) -> None:
        """Average the gradients of networks over the processes, step their optimisers and clear them."""
        scaler = self.accelerator.scaler
        for name in names:
            parameters = self.average_gradients(self.method.networks[name])
            optimiser = self.optimisers[name]
            if scaler is not None:
                scaler.unscale_(optimiser)
            if self.config.clip is not None:
                nn.utils.clip_grad_norm_(parameters, self.config.clip)
            if scaler is None:
                optimiser.step()
            else:
                scaler.step(optimiser)
            optimiser.zero_grad(set_to_none=True)
        # Once for all networks: the scale must not change between two whose gradients share it.
        if scaler is not None and names and self.config.accumulate == 1:
            scaler.update()

    def average_gradients(self, network: nn.Module) -> list[nn.Parameter]:
        """Average a network's gradients over the processes; return the parameters that have gradients."""
        parameters = [parameter for parameter in network.parameters() if parameter.grad is not None]
        if self.accelerator.num_processes > 1 and parameters:
            flat = torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])
            flat = self.accelerator.reduce(flat, reduction="mean")
            assert isinstance(flat, Tensor)
            for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
                parameter.grad = part.view_as(parameter)
        return parameters

    def read(self, losses: list[tuple[str, Tensor]]) -> dict[str, float]:
        """Read the losses of a step, all at once, since a graphics card has to finish its work for that.

        Raises:
            TrainingError: one is not finite.
        """
        values: dict[str, float] = {}
        read = torch.stack([loss.float() for _, loss in losses]).tolist() if losses else []
        for (term, _), value in zip(losses, read, strict=True):
            if not math.isfinite(value):
                raise TrainingError(f"The run diverged: {term} is {value} at step {self.step}. {self._advice()}")
            values[term] = values.get(term, 0.0) + value / self.config.accumulate
        return values

    def _advice(self) -> str:
        """What was saved of a run that diverged, and what to try. States with non-finite weights are never saved."""
        whole = (self.out / STATE).exists()
        kept = f"The last valid state is {self.out / STATE}." if whole else "No state was saved yet."
        return f"{kept} Start again in another folder with a lower learning rate or loss weight, with clip, or in fp32."

    def agree(self, flag: bool) -> bool:
        """Whether `flag` is set in any process, so that all of them stop at the same step."""
        if self.accelerator.num_processes == 1:
            return flag
        raised = self.accelerator.reduce(torch.tensor(float(flag), device=self.accelerator.device), reduction="sum")
        return bool(torch.as_tensor(raised) > 0)

    def evaluate(self, stopped: threading.Event | None = None) -> None:
        """Score the evaluation sets with the current weights and save samples; the first process only.

        Does nothing if the journal already has metrics of this step. If `stopped` is set, evaluation ends without
        writing metrics, and resuming repeats it.
        """
        if self.is_main and self.journal is not None and not self.journal.has_figures(self.step):
            with contextlib.suppress(_EvaluationStopped):
                self.journal.line(self.step, {"figures": self._score(self.journal, stopped)})
            self.method.train()
        self.accelerator.wait_for_everyone()

    def _score(self, journal: Journal, stopped: threading.Event | None) -> dict[str, Any]:
        def look_up(_done: int, _total: int) -> None:
            if stopped is not None and stopped.is_set():
                raise _EvaluationStopped

        figures: dict[str, Any] = {}
        predictor = Predictor(self.segmenter, self.config.window, device=self.accelerator.device)
        for item, dataset in self.evaluations:
            report = evaluate(predictor, dataset, progress=look_up)
            figures[item.label] = report.to_json()
            journal.figure(item.label, report.miou, self.step)
            self.followers.log({} if report.miou is None else {f"miou/{item.label}": report.miou}, self.step)
            for index in range(min(SAMPLES, len(dataset))):
                journal.picture(item, index, sample_picture(predictor, dataset, index), self.step)
        return figures

    def log(self, content: dict[str, Any]) -> None:
        """Write losses and rates."""
        if self.journal is not None:
            rates = {name: optimiser.param_groups[0]["lr"] for name, optimiser in self.optimisers.items()}
            if self.accelerator.device.type == "cuda":
                content = {**content, "gpu_memory_mb": round(torch.cuda.max_memory_allocated() / 2**20)}
            self.journal.line(self.step, {**content, "rates": rates})
            for term, value in content["losses"].items():
                self.journal.board.add_scalar(f"loss/{term}", value, self.step)
            for name, rate in rates.items():
                self.journal.board.add_scalar(f"rate/{name}", rate, self.step)
            curves = {f"loss/{term}": value for term, value in content["losses"].items()}
            self.followers.log(curves | {f"rate/{name}": rate for name, rate in rates.items()}, self.step)

    def save_state(self) -> None:
        """Replace `state.pt` atomically; a full disk leaves the old one."""
        self.accelerator.wait_for_everyone()
        if not self.is_main:
            return
        ruined = [key for key, value in self.method.state_dict().items() if not is_finite(value)]
        if ruined:
            raise TrainingError(
                f"The run diverged: {ruined[0]} has non-finite values after step {self.step}. {self._advice()}"
            )
        scaler = self.accelerator.scaler
        state = {
            "format": STATE_FORMAT,
            "step": self.step,
            "method": self.method.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "scaler": None if scaler is None else scaler.state_dict(),
            KEY: self.began,
        }
        partial = self.out / f".{STATE}.partial"
        try:
            with partial.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.out / STATE)
        except (OSError, RuntimeError) as error:  # torch reports a short write as RuntimeError
            partial.unlink(missing_ok=True)
            if "CUDA" in str(error):
                raise
            raise TrainingError(
                f"The state of step {self.step} could not be written to {self.out} ({error}); the previous state is intact."
                " Free some space and continue with --resume."
            ) from error

    def load_state(self) -> None:
        """Load weights, optimisers and step from `state.pt`."""
        path = self.out / STATE
        try:
            # On the CPU, because a second copy may not fit on the GPU; loading copies it there.
            state = torch.load(path, map_location="cpu", weights_only=True)
            if state["format"] != STATE_FORMAT:
                raise TrainingError(f"{path} has format {state['format']}; this version reads format {STATE_FORMAT}.")
            self.method.load_state_dict(with_current_names(state["method"]), strict=True)
            states = {TODAY.get(name, name): kept for name, kept in state["optimisers"].items()}
            for name, optimiser in self.optimisers.items():
                optimiser.load_state_dict(states[name])
            if self.accelerator.scaler is not None and state["scaler"] is not None:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            self.step = int(state["step"])
        except (TrainingError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever a damaged file makes torch raise
            why = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            raise TrainingError(
                f"Cannot resume from {path}: {why}. Remove it to start the run again with --out {self.out}."
            ) from error

    def finish(self) -> Checkpoint | None:
        """Re-estimate batch-norm statistics if the recipe says so, evaluate, and write the checkpoint folder."""
        if self.is_main and self.config.recalibration:
            self.recalibrate()
        self.evaluate()
        if not self.is_main:
            return None
        config = self.config
        details = CheckpointConfig(
            title=config.title,
            method=config.method,
            network=config.network,
            network_options=config.network_options,
            labels=stored_space(self.segmenter.labels),
            window=config.window,
            source=" + ".join(source.label for source in config.sources),
            target=None if config.target is None else config.target.label,
            recipe=config.name,
            seed=config.seed,
            step=self.step,
            commit=current_commit(),
            licence=config.licence,
            initialisation=config.initialisation,
        )
        card = write_card(details, config.about, {})
        save_extra_networks(self.method.extra_networks, self.out)
        checkpoint = Checkpoint.save(self.out / RUN_FOLDER, self.segmenter, details, card=card)
        if self.journal is not None:
            self.journal.close()
        self.followers.close()
        return checkpoint

    def recalibrate(self) -> None:
        """Re-estimate batch-norm statistics on the target images that the next steps would draw."""
        count, device = self.config.recalibration, self.accelerator.device
        stream = self.pairs.stream(self.step * self.config.accumulate, workers=self.config.workers)
        with contextlib.closing(stream), self.accelerator.autocast():
            pairs = (channels_last(pair.to(device)) for pair in itertools.islice(stream, count))
            recalibrate(self.segmenter, tqdm(pairs, total=count, desc="batch norm"))


def check_folder(config: RunConfig, out: Path, resume: bool, *, began: bool) -> None:
    """Refuse to overwrite another run or to resume a different one; `began` says whether the folder has one."""
    if not resume:
        if began:
            raise TrainingError(
                f"{out} already contains a run. Continue it with --resume {out}, or choose another --out."
            )
        return
    if not began:
        raise TrainingError(f"There is nothing to resume in {out}: no state was saved. Start with --out {out}.")
    # Compared after parsing, so that keys added to recipes since then have their defaults in both.
    before, given = (
        RunConfig.read(out / CONFIG).rooted().model_dump(mode="json"),
        config.rooted().model_dump(mode="json"),
    )
    differing = sorted(key for key in given if before[key] != given[key])
    if differing:
        raise TrainingError(
            f"{out} was started with different values of {', '.join(differing)}. Resume it without a recipe, or"
            " start a new run with another --out."
        )


def stored_space(space: LabelSpace) -> str | LabelSpaceOptions:
    """A label space as a checkpoint stores it: its name if it is one of the project's, otherwise all of it."""
    if LABEL_SPACES.get(space.name) == space:
        return space.name
    return LabelSpaceOptions.parse(space.to_json(), where=space.name)


def channels_last(pair: DomainPair) -> DomainPair:
    """The same pair with images in channels-last memory order."""
    order = torch.channels_last
    return DomainPair(
        pair.source_images.contiguous(memory_format=order),
        pair.source_labels,
        pair.target_images.contiguous(memory_format=order),
        pair.source_members,
        pair.target_valid,
    )


def current_commit() -> str:
    """Revision of this repository, with `+` appended if files differ from it; empty outside a checkout."""
    here = Path(__file__).parent
    try:
        command = ["git", "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, cwd=here, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0])
