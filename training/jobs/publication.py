"""Publish a finished job in a separate process: `python -m sim2street.training.jobs.publication FOLDER ID`.

The trained checkpoint is kept whatever happens here. A failure is recorded with its reason and retried later.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sim2street.models.errors import Sim2StreetError
from sim2street.models.storage.files import RUN_FOLDER
from sim2street.training.jobs.local import FOLLOW_UP, PATIENCE, WAITS, attend, waits_for_hub
from sim2street.training.jobs.record import Job, JobError, JobState, Publication
from sim2street.training.jobs.store import JobStore
from sim2street.training.locks import hold


def ask_to_publish(store: JobStore, job: str, repo_id: str, *, private: bool) -> Job:
    """Request that a finished job's checkpoint be published on the Hub; the runner does it.

    A request that failed and would be tried again gives way to the new one: its repository may have been mistyped.

    Raises:
        JobError: the job has not succeeded, or is being published.
        ConfigError: the repository id is not valid.
    """
    wish = Publication.parse({"repo_id": repo_id, "private": private}, where="publishing")

    def ask(found: Job) -> Job:
        if found.state is not JobState.SUCCEEDED:
            raise JobError(f"Job {job} is {found.state.value}; only a job that succeeded can be published.")
        if found.publication is not None and found.publication.is_untried:
            raise JobError(f"Job {job} is already being published to {found.publication.repo_id}.")
        return found.having(publication=wish)

    answer = store.change(job, ask)
    attend(store)
    return answer


def publish_job(store: JobStore, job: str) -> Publication:
    """Try once, and record the result."""
    from sim2street.models.storage.checkpoint import Checkpoint
    from sim2street.training.hosting.publish import publish

    wish = store.get(job).publication
    if wish is None:
        raise JobError(f"No publication of job {job} was requested.")
    try:
        checkpoint = Checkpoint.open(store.run(job) / RUN_FOLDER)
        done = publish(checkpoint, wish.repo_id, private=wish.private)
        attempts = wish.attempts + 1
        result = wish.having(state="published", attempts=attempts, url=done.url, revision=done.revision, error="")
    except Sim2StreetError as error:
        result = wish.after_failure(str(error), len(WAITS))
    # Another repository may have been asked for meanwhile.
    store.change(job, lambda found: found.having(publication=result) if found.publication == wish else found)
    return result


def main() -> int:
    """Entry point of the publishing process; 0 means that the result was recorded."""
    store, job = JobStore(Path(sys.argv[1])), sys.argv[2]
    with hold(
        store.place(job) / FOLLOW_UP, seconds=PATIENCE
    ):  # a process started by a killed runner may still be publishing
        if waits_for_hub(store.get(job)):
            result = publish_job(store, job)
            print(f"publishing to {result.repo_id}: {result.state} {result.error or result.url}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
