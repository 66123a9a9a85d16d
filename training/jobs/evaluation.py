"""Score a finished job in a separate process: `python -m sim2street.training.jobs.evaluation FOLDER ID`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from sim2street.models.errors import Sim2StreetError
from sim2street.models.storage.files import METRICS, RUN_FOLDER, write_json
from sim2street.training.jobs.local import FOLLOW_UP, PATIENCE, attend, waits_for_score
from sim2street.training.jobs.record import Evaluation, Job, JobError, JobState
from sim2street.training.jobs.store import JobStore
from sim2street.training.locks import hold

SCENES: Final = {"seed": 2026, "size": (512, 256)}
"""Seed of streets that no recipe trains on, also used to score the shipped checkpoints."""


def ask_to_evaluate(store: JobStore, job: str, **wish: Any) -> Job:
    """Request that a finished job's checkpoint be scored; `wish` are fields of `Evaluation`.

    Raises:
        JobError: the job has not succeeded, or is being scored.
        ConfigError: there is no such data set.
    """
    evaluation = Evaluation.parse(wish, where="evaluation")

    def ask(found: Job) -> Job:
        if found.state is not JobState.SUCCEEDED:
            raise JobError(f"Job {job} is {found.state.value}; only a job that succeeded can be evaluated.")
        if found.evaluation is not None and found.evaluation.state == "waiting":
            raise JobError(f"Job {job} is already being evaluated.")
        return found.having(evaluation=evaluation)

    answer = store.change(job, ask)
    attend(store)
    return answer


def evaluate_job(store: JobStore, job: str) -> Evaluation:
    """Score the checkpoint, update its metrics, and record the result."""
    from sim2street.models.predictor import Predictor
    from sim2street.models.storage.checkpoint import Checkpoint
    from sim2street.training.datasets import DATASETS, open_dataset
    from sim2street.training.evaluate import evaluate
    from sim2street.training.selection import progress_bar

    wish = store.get(job).evaluation
    if wish is None:
        raise JobError(f"No evaluation of job {job} was requested.")
    try:
        rendered = DATASETS.find(wish.dataset).generated
        options: dict[str, Any] = {"style": wish.style, "count": wish.count, **SCENES} if rendered else {}
        dataset = open_dataset(wish.dataset, None, wish.split, **options)
        checkpoint = Checkpoint.open(store.run(job) / RUN_FOLDER)
        name = f"{wish.dataset}/{wish.style if rendered else wish.split}" + (
            f" ({wish.count} scenes)" if rendered else ""
        )
        with progress_bar(f"scoring on {name}") as progress:
            sha = checkpoint.config.weights_sha256
            report = evaluate(Predictor.from_checkpoint(checkpoint), dataset, weights_sha256=sha, progress=progress)
        write_json(checkpoint.path / METRICS, {**checkpoint.metrics, name: report.to_json()})
        changes = {"state": "done", "error": ""}
    except Sim2StreetError as error:
        changes = {"state": "failed", "error": str(error)}
    except (OSError, RuntimeError, MemoryError) as error:
        changes = {"state": "failed", "error": f"{type(error).__name__}: {str(error)[:300]}"}
    result = wish.having(**changes)
    store.change(job, lambda found: found.having(evaluation=result))
    return result


def main() -> int:
    """Entry point of the scoring process; 0 means that the result was recorded."""
    store, job = JobStore(Path(sys.argv[1])), sys.argv[2]
    with hold(
        store.place(job) / FOLLOW_UP, seconds=PATIENCE
    ):  # a process started by a killed runner may still be scoring
        if waits_for_score(store.get(job)):
            result = evaluate_job(store, job)
            print(f"evaluation: {result.state} {result.error}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
