"""Sweep: recipes × seeds, each run in its own folder, all scored on the same sets and collected in one table.

Its rows and tests are defined in a file (`training/sweeps/definition.py`).

    FOLDER/<row>/<seed>/              a run as `sim2street train` makes it; an existing one is reused or resumed
    FOLDER/<row>/<seed>/scores.json   its metrics, each tied to weights, window and test set
    FOLDER/<row>/<seed>/failure.json  why it has no checkpoint
    FOLDER/<sweep>.json and .csv      the table (`training/sweeps/table.py`), replaced after every run

Runs that failed are tried again when the sweep is called again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from pydantic import TypeAdapter

from sim2street.models.errors import CheckpointError, ConfigError, Sim2StreetError
from sim2street.models.predictor import Predictor
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import CONFIG, RUN_FOLDER, write_json
from sim2street.training.config import RunConfig, load_recipe
from sim2street.training.datasets.base import SegmentationDataset
from sim2street.training.evaluate import evaluate
from sim2street.training.run.folder import is_finished
from sim2street.training.selection import open_selection, progress_bar
from sim2street.training.sweeps.definition import SweepConfig, SweepRow, SweepTest
from sim2street.training.sweeps.table import FORMAT, RunResult, Standing, build_table, write_table

SCORES: Final = "scores.json"
FAILURE: Final = "failure.json"
IMMATERIAL: Final = frozenset(
    {"title", "about", "name", "licence", "workers", "evaluations", "evaluate_every", "save_every", "log_every"}
)
"""Keys of a recipe that do not affect the weights."""


@dataclass(frozen=True)
class PlannedRun:
    """One row with one seed.

    Attributes:
        row: the row.
        seed: the seed.
        config: the recipe with the row's changes and the seed.
        out: folder of the run.
    """

    row: SweepRow
    seed: int
    config: RunConfig
    out: Path

    @property
    def label(self) -> str:
        """The row and seed, for messages."""
        return f"{self.row.name}, seed {self.seed}"

    @property
    def overrides(self) -> tuple[str, ...]:
        """Changes to the recipe, in the form of `--set`."""
        return (*self.row.set, f"seed={self.seed}")

    @property
    def is_finished(self) -> bool:
        """Whether its checkpoint exists."""
        return is_finished(self.out)


Launcher = Callable[[Sequence[PlannedRun]], Iterable[tuple[PlannedRun, str | None]]]
"""Completes runs and yields each as it ends, with the reason if it failed and None if its checkpoint exists.
`sim2street.training.sweeps.runs.train_here` runs them here, each in its own process,
`sim2street.training.sweeps.as_jobs.train_as_jobs` in the background."""


def plan(sweep: SweepConfig, folder: Path) -> list[PlannedRun]:
    """All runs of a sweep, first seeds first, so that a sweep that is cut short still has every row.

    Raises:
        ConfigError: a row's recipe or one of its changes is wrong; the message begins with the row.
    """
    runs: list[tuple[int, PlannedRun]] = []
    for row in sweep.rows:
        for place, seed in enumerate(row.seeds):
            try:
                config = load_recipe(row.recipe, [*row.set, f"seed={seed}"])
            except ConfigError as error:
                raise ConfigError(f"Row {row.name}: {error}") from error
            runs.append((place, PlannedRun(row, seed, config, folder / row.name / str(seed))))
    return [run for _, run in sorted(runs, key=lambda item: item[0])]


def sweep_through(
    sweep: SweepConfig,
    folder: Path,
    launcher: Launcher | None,
    *,
    rows: Sequence[str] = (),
    earlier: Sequence[Path] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Complete the runs of a sweep, score them and write the table.

    Args:
        sweep: what to run.
        folder: folder of the sweep.
        launcher: how to run; None only scores existing checkpoints.
        rows: names of the rows to run, empty for all; the table lists all rows.
        earlier: tables of this sweep whose finished runs are reused if the folder lacks them, so that several machines
            or days fill one table; if several tables have a run, the first counts. These runs are not repeated.
        tell: called with a progress line as each run ends.

    Returns:
        The table as written.

    Raises:
        ConfigError: a row's recipe is wrong, there is no row of that name, or an earlier table belongs to another sweep
            or other test sets.
        DatasetError: a test set is missing. Nothing has run then.
    """
    unknown = [name for name in rows if name not in {row.name for row in sweep.rows}]
    if unknown:
        known = ", ".join(row.name for row in sweep.rows)
        raise ConfigError(f"The sweep {sweep.name} has no row {unknown[0]!r}; it has {known}.")
    runs = plan(sweep, folder)
    tests = {test.name: (test, open_selection(test)) for test in sweep.tests}
    for name, (_, dataset) in tests.items():
        if not dataset.labelled:
            raise ConfigError(f"Test {name}: {dataset.describe()}. A test set needs labels.")
    done: dict[tuple[str, int], RunResult] = {}
    for table in earlier:
        done = earlier_runs(table, sweep, fingerprints(tests)) | done
    folder.mkdir(parents=True, exist_ok=True)
    results = {run.out: RunResult(run.row.name, run.seed, *_standing(run)) for run in runs}
    results |= {run.out: done[run.row.name, run.seed] for run in runs if (run.row.name, run.seed) in done}

    def settle(run: PlannedRun, reason: str | None) -> None:
        results[run.out] = result = _settle(run, tests, reason)
        outcome = ", ".join(f"{name} {_percent(score['miou'])}" for name, score in result.scores.items())
        tell(f"{run.label}: {outcome or result.reason or 'not run yet'}")
        write_table(folder / sweep.name, build_table(sweep, list(results.values()), fingerprints(tests)))

    missing = [run for run in runs if not run.is_finished and (run.row.name, run.seed) not in done]
    waiting = [run for run in missing if not rows or run.row.name in rows]
    for run in runs:
        if run.is_finished:
            settle(run, None)
    if launcher is not None:
        for run, reason in launcher(waiting):
            settle(run, reason)
    whole = build_table(sweep, list(results.values()), fingerprints(tests))
    write_table(folder / sweep.name, whole)
    return whole


def earlier_runs(path: Path, sweep: SweepConfig, known_by: dict[str, str]) -> dict[tuple[str, int], RunResult]:
    """Finished runs by row and seed from an earlier table.

    Raises:
        ConfigError: it is not a table, or it was measured on other test sets than the sweep's, because the renderer or
            the folder of a data set has changed since.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. --earlier needs the table of a sweep.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} is not valid JSON; expected the table of a sweep, such as {sweep.name}.json."
        ) from error
    try:
        if table["format"] != FORMAT:
            raise ConfigError(
                f"{path} has format {table['format']!r}; this version reads format {FORMAT}. Run the sweep again."
            )
        measured_on = {test["name"]: test["fingerprint"] for test in table["tests"]}
        runs = [_earlier_run(run, measured_on.keys()) for row in table["rows"] for run in row["runs"]]
        made = {
            row["name"]: (row["recipe"], row["set"], any(run["state"] == "finished" for run in row["runs"]))
            for row in table["rows"]
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"{path} is not the table of a sweep, such as {sweep.name}.json: {error!r}.") from error
    others = {row.name: (row.recipe, list(row.set)) for row in sweep.rows}
    for name, (recipe, changes, finished) in made.items():
        if finished and others.get(name, (recipe, changes)) != (recipe, changes):
            raise ConfigError(
                f"{path} has the row {name!r} with another recipe or other settings than {sweep.name}. Remove the"
                " row from it, or rename it."
            )
    if changed := sorted(name for name in known_by | measured_on if known_by.get(name) != measured_on.get(name)):
        raise ConfigError(f"{path} was measured on other test sets: {', '.join(changed)} differ. Run its rows again.")
    return {(run.row, run.seed): run for run in runs if run.state == "finished"}


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a valid number")


def _earlier_run(values: dict[str, Any], tests: Iterable[str]) -> RunResult:
    """A run from a table that may have been edited: every value is checked, and none is silently dropped.

    Raises:
        TypeError, ValueError: a key is unknown, missing or of another type, or scores are invalid.
    """
    if unknown := values.keys() - RunResult.__dataclass_fields__.keys():
        raise TypeError(f"unknown {', '.join(sorted(unknown))}")
    run = TypeAdapter(RunResult).validate_json(json.dumps(values), strict=True)
    if run.state == "finished" and not all(_is_report(run.scores.get(test)) for test in tests):
        raise TypeError(f"the figures of {run.row}, seed {run.seed}")
    return run


def fingerprints(tests: dict[str, tuple[SweepTest, SegmentationDataset]]) -> dict[str, str]:
    """Fingerprint of each test set."""
    return {name: dataset.fingerprint() for name, (_, dataset) in tests.items()}


def starts_from(run: PlannedRun, other: PlannedRun) -> bool:
    """Whether a run's initial weights or extra networks come from another run of the sweep."""
    starts = [start for start in (run.config.initialisation, run.config.extra_networks) if start]
    return run is not other and any(Path(start).resolve().is_relative_to(other.out.resolve()) for start in starts)


def _standing(run: PlannedRun) -> tuple[Standing, str | None]:
    """State and reason of a run as found in its folder."""
    failure = _read(run.out / FAILURE)
    if run.is_finished:
        return "finished", None
    return ("failed", str(failure["reason"])) if "reason" in failure else ("missing", None)


def _settle(run: PlannedRun, tests: dict[str, tuple[SweepTest, SegmentationDataset]], reason: str | None) -> RunResult:
    """Score a run with a checkpoint; keep the reason of a run without one."""
    if not run.is_finished:
        if reason is not None:
            run.out.mkdir(parents=True, exist_ok=True)
            write_json(run.out / FAILURE, {"reason": reason})
        return RunResult(run.row.name, run.seed, *_standing(run))
    (run.out / FAILURE).unlink(missing_ok=True)
    try:
        checkpoint = Checkpoint.open(run.out / RUN_FOLDER)
        scores = _scores(run, checkpoint, tests)
    except CheckpointError as error:
        advice = f"Remove {run.out / RUN_FOLDER} and run the sweep again: it is rebuilt from the run's saved state."
        return RunResult(run.row.name, run.seed, "failed", f"{error} {advice}")
    except Sim2StreetError as error:
        return RunResult(run.row.name, run.seed, "failed", str(error))
    return RunResult(
        run.row.name,
        run.seed,
        "finished",
        None,
        weights_sha256=checkpoint.config.weights_sha256,
        commit=checkpoint.config.commit,
        steps=checkpoint.config.step,
        differs=differing(run),
        scores=scores,
    )


def _scores(
    run: PlannedRun, checkpoint: Checkpoint, tests: dict[str, tuple[SweepTest, SegmentationDataset]]
) -> dict[str, dict[str, Any]]:
    """Scores by test; those in the run's folder are reused if weights, window and set are unchanged."""
    kept = _read(run.out / SCORES)
    predictor: Predictor | None = None
    for name, (_, dataset) in tests.items():
        binding = {
            "weights_sha256": checkpoint.config.weights_sha256,
            "window": checkpoint.config.window.model_dump(mode="json"),
            "fingerprint": dataset.fingerprint(),
        }
        entry = kept.get(name)
        if isinstance(entry, dict) and entry.get("bound_to") == binding and _is_report(entry.get("report")):
            continue
        predictor = predictor or Predictor.from_checkpoint(checkpoint)
        with progress_bar(f"{run.label} on {name}") as progress:
            report = evaluate(predictor, dataset, weights_sha256=checkpoint.config.weights_sha256, progress=progress)
        kept[name] = {"bound_to": binding, "report": report.to_json()}
        write_json(run.out / SCORES, kept)
    return {name: kept[name]["report"] for name in tests}


def differing(run: PlannedRun) -> tuple[str, ...]:
    """Keys that affect the weights and in which the run in the folder differs from the sweep."""
    try:
        found = RunConfig.read(run.out / CONFIG).rooted().model_dump(mode="json")
    except ConfigError:
        return (CONFIG,)
    planned = run.config.rooted().model_dump(mode="json")
    return tuple(sorted(key for key in planned if key not in IMMATERIAL and planned[key] != found[key]))


def _read(path: Path) -> dict[str, Any]:
    """Read one of our JSON objects; a missing or damaged file counts as empty and is rewritten."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_report(found: Any) -> bool:
    """Whether scores have the form and range that `Report.to_json` writes."""
    if not isinstance(found, dict) or not isinstance(found.get("iou_per_class"), dict):
        return False
    values = [found.get("miou", math.nan), *found["iou_per_class"].values()]
    return all(value is None or (type(value) in (int, float) and 0 <= value <= 1) for value in values)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
