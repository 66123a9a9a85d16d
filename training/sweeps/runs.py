"""Run a sweep's plan on this machine, one run after another or several at once, each in its own process.

A separate process costs seconds, but the sweep survives when the system kills a run that used too much memory.
The commands are those a user would type, and their output is in `<row>/<seed>.log` beside the run.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

from sim2street import child_environment
from sim2street.models.errors import Interrupted
from sim2street.models.storage.files import CONFIG
from sim2street.training.run.folder import STATE, RunFolderError, sole_use
from sim2street.training.run.signals import stop_signals
from sim2street.training.sweeps.plan import PlannedRun, differing, starts_from

POLL_SECONDS: Final = 0.2
INTERRUPTED: Final = 130
"""Exit code of a run that was asked to stop and saved its state."""


def train_here(runs: Sequence[PlannedRun], at_once: int = 1) -> Iterator[tuple[PlannedRun, str | None]]:
    """Train runs in order; those with a saved state resume.

    A run that starts from another's checkpoint waits for it. A stop requested while the caller handles a yielded run
    takes effect when the caller continues.

    Args:
        runs: the runs to train.
        at_once: how many share the machine. Small networks leave a GPU mostly idle; on a CPU there is
            nothing to gain.

    Yields:
        Each run as it ends, with the reason if it failed.

    Raises:
        Interrupted: the sweep was asked to stop (SIGINT, SIGTERM); running trainings were asked to save their state.
    """
    waiting, under_way = list(runs), dict[Future[str | None], PlannedRun]()
    with stop_signals() as stopped, ThreadPoolExecutor(at_once) as pool:

        def fill() -> None:
            while waiting and len(under_way) < at_once and not stopped.is_set():
                ahead = [*waiting, *under_way.values()]
                ready = [run for run in waiting if not any(starts_from(run, other) for other in ahead)]
                if not ready and under_way:
                    return
                run = ready[0] if ready else waiting[0]  # a run that waits for itself fails with its own message
                waiting.remove(run)
                under_way[pool.submit(_train, run, stopped)] = run

        try:
            while waiting or under_way:
                fill()
                ended, _ = wait(under_way, return_when=ALL_COMPLETED if stopped.is_set() else FIRST_COMPLETED)
                for future in ended:
                    run = under_way.pop(future)
                    if stopped.is_set() and future.exception() is None and not run.is_finished:
                        waiting.insert(0, run)
                        continue
                    if at_once > 1:
                        fill()  # before control passes to the caller
                    yield run, future.result()
                if stopped.is_set() and not under_way and waiting:
                    raise Interrupted(f"Sweep stopped in {waiting[0].label}. Run it again to continue there.")
        finally:  # the caller stopped early, perhaps by an exception: leave no training running
            stopped.set()


def command_of(run: PlannedRun) -> list[str]:
    """The command line that starts or resumes a run."""
    begun = (run.out / (CONFIG if run.config.stages else STATE)).exists()
    if begun:
        return ["train", "--resume", str(run.out)]
    changes = [word for override in run.overrides for word in ("--set", override)]
    return ["train", run.row.recipe, *changes, "--out", str(run.out)]


def _wait_for_others(run: PlannedRun, stopped: threading.Event) -> None:
    """Wait until another process has finished with the run's folder: a second sweep, or a training that outlived a killed one."""
    told = False
    while not stopped.is_set():
        try:
            with sole_use(run.out):
                return
        except RunFolderError:
            if not told:
                print(f"Another process is training {run.label}; waiting for it.", file=sys.stderr)
                told = True
            stopped.wait(POLL_SECONDS)


def _train(run: PlannedRun, stopped: threading.Event) -> str | None:
    _wait_for_others(run, stopped)
    if run.is_finished or stopped.is_set():
        return None
    command = command_of(run)
    if "--resume" in command and (others := differing(run)):
        return f"{run.out} contains a run with other settings: {', '.join(others)} differ. Move it to another folder."
    log = run.out.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        # A separate session: Ctrl-C reaches only the sweep, which passes it on once.
        process = subprocess.Popen(
            [sys.executable, "-m", "sim2street.training.cli", *command],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=child_environment(),
            start_new_session=True,
        )
        told = False
        while process.poll() is None:
            if stopped.wait(POLL_SECONDS) and not told:
                process.terminate()
                told = True
            elif told:
                process.wait()
    return None if process.returncode == 0 and run.is_finished else _reason(process.returncode, log)


def _reason(code: int, log: Path) -> str:
    """Why a run ended, in its own words if it printed any."""
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if said:
        return said[-1]
    if code == INTERRUPTED:
        return "It was asked to stop and saved its state."
    if code < 0:
        name = signal.Signals(-code).name
        return f"It was ended by {name}{', usually because memory ran out' if name == 'SIGKILL' else ''}. See {log}."
    last = next((line for line in reversed(lines) if line.strip()), "nothing was printed")
    return f"It ended with exit code {code}: {last.strip()[:300]}. See {log}."
