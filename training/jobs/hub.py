"""The runner on Hugging Face Jobs: hardware by the minute, the checkpoint as a repository on the Hub.

Only the resolved recipe is sent; the container's image contains Sim2Street itself (a Space's own image, or the one that
SIM2STREET_JOB_IMAGE names). A job has succeeded when its checkpoint is on the Hub. Labels on each job identify its record,
so a lost list can be rebuilt. Leaving the page stops nothing.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from huggingface_hub import HfApi, JobInfo, JobStage, Volume, get_token, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.utils import httpx

from sim2street.models.errors import CheckpointError, Sim2StreetError
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import PROGRESS, RUN_FOLDER, WEIGHTS, replace_folder
from sim2street.models.storage.hub import FILES
from sim2street.training.config import RunConfig
from sim2street.training.jobs import log as logs
from sim2street.training.jobs.record import Job, JobError, JobState, Publication
from sim2street.training.jobs.store import LOG, RUN, JobStore

LOGGER: Final = logging.getLogger(__name__)
IMAGE_VARIABLE: Final = "SIM2STREET_JOB_IMAGE"
BUCKET_VARIABLE: Final = "SIM2STREET_JOB_BUCKET"
"""Environment variable: a bucket `owner/name` on the Hub that keeps states, so that a retry can resume."""
MOUNT: Final = "/data"
LABEL: Final = "sim2street"
PROGRESS_MARK: Final = "progress "
"""Prefix of the lines in a hosted job's log that repeat its progress.jsonl."""
_STATES: Final = {
    JobStage.SCHEDULING.value: JobState.QUEUED,
    JobStage.RUNNING.value: JobState.RUNNING,
    JobStage.ERROR.value: JobState.FAILED,
    JobStage.CANCELED.value: JobState.CANCELLED,
    JobStage.DELETED.value: JobState.LOST,
}


@dataclass(frozen=True)
class Flavour:
    """Hardware on Hugging Face Jobs.

    Attributes:
        name: as used in a job.
        title: display name.
        dollars_per_hour: the Hub's current price.
        gpus: number of GPUs.
        gpu: model of the GPU, empty for none.
    """

    name: str
    title: str
    dollars_per_hour: float
    gpus: int
    gpu: str


class HubRunner:
    """Submits, follows and cancels jobs of one account.

    Args:
        store: where the records are.
        token: token of the account; None takes the one of `hf auth login`. Never written to disk.
    """

    def __init__(self, store: JobStore, token: str | None = None) -> None:
        self.store = store
        self.token = token
        self.api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)

    def flavours(self) -> list[Flavour]:
        """Available hardware, cheapest first.

        Raises:
            JobError: the Hub does not answer.
        """
        with hub_words("list the hardware"):
            found = self.api.list_jobs_hardware()
        flavours = []
        for item in found:
            gpu = item.accelerator
            per_hour = item.unit_cost_usd * {"minute": 60, "hour": 1, "second": 3600}.get(item.unit_label, 60)
            gpus = 0 if gpu is None else int(gpu.quantity)
            flavours.append(Flavour(item.name, item.pretty_name, per_hour, gpus, "" if gpu is None else gpu.model))
        return sorted(flavours, key=lambda flavour: flavour.dollars_per_hour)

    def submit(self, config: RunConfig, *, flavour: str, **values: Any) -> Job:
        """Record a job, then start it there.

        Args:
            config: what to train.
            flavour: hardware to train on.
            values: more fields of `Job`; `publication` says where the checkpoint goes and is required.

        Raises:
            JobError: something is missing, or the Hub refuses; the record then contains the reason.
        """
        if not values.get("publication"):
            raise JobError("A job on the Hub needs a repository for its checkpoint; give one such as owner/name.")
        image()
        if not values.get("namespace"):
            with hub_words("find out who is signed in"):
                values["namespace"] = self.api.whoami()["name"]
        # Recorded before anything costs money; the label identifies the job if this process dies in between.
        job = self.store.create(config, where="hub", flavour=flavour, **values)
        return self._start(job, config)

    def retry(self, job: str) -> Job:
        """Start an ended job again; it resumes if its states are kept in a bucket, and otherwise starts over."""
        again = self.store.change(job, Job.again)
        return self._start(again, self.store.config(job))

    def cancel(self, job: str) -> Job:
        """Stop a job there.

        Raises:
            JobError: it has ended, or the Hub does not answer.
        """
        found = self.refresh(job)
        if found.state.ended:
            raise JobError(f"Job {job} is already {found.state.value}.")
        with hub_words("cancel"):
            self.api.cancel_job(job_id=found.hub_id, namespace=found.namespace)
        self.store.change(job, lambda record: record.having(cancel_asked=True, reason="Asked to stop."))
        return self.refresh(job)

    def refresh(self, job: str) -> Job:
        """Ask the Hub for a job's state, record it with its progress, and fetch the checkpoint once it exists.

        If the Hub cannot be reached, only the displayed reason changes.
        """
        record = self.store.get(job)
        if record.where != "hub" or record.state.ended:
            return record
        try:
            if not record.hub_id:
                return self._find_by_label(record)
            with hub_words("look for the job"):
                info = self.api.inspect_job(job_id=record.hub_id, namespace=record.namespace)
            self._collect(record)
            return self._take(record, info)
        except JobError as error:
            reason = f"The Hub could not be reached: {error}"
            return self.store.change(job, lambda found: found if found.state.ended else found.having(reason=reason))

    def rebuild(self, namespace: str) -> list[Job]:
        """Find our jobs in an account by their labels, and recreate lost records."""
        for info in self._labelled(namespace):
            labels = info.labels or {}
            name = labels.get("job", "")
            try:
                if self.store.place(name).exists():
                    continue
                environment = info.environment or {}
                config = RunConfig.parse(json.loads(environment["SIM2STREET_RECIPE"]), where=f"job {name}")
                self.store.create(
                    config,
                    id=name,
                    where="hub",
                    attempt=int(labels.get("attempt", 1)),
                    flavour=str(getattr(info.flavor, "value", info.flavor) or ""),
                    submitted_at=info.created_at.timestamp() if info.created_at else time.time(),
                    publication={"repo_id": environment.get("SIM2STREET_REPOSITORY", "")},
                    namespace=namespace,
                    hub_id=info.id,
                )
            except (KeyError, ValueError, Sim2StreetError) as error:
                # Labels set by someone else, or a version whose recipes had other keys.
                LOGGER.warning("job %s in %s is left out: %s", info.id, namespace, error)
        return [self.refresh(job.id) for job in self.store.jobs() if job.where == "hub"]

    def log(self, job: Job, *, follow: bool = False) -> Iterator[str]:
        """Lines of the job's output; `follow` waits for more until it ends."""
        if not job.hub_id:
            return
        with hub_words("read the log"):
            for line in self.api.fetch_job_logs(job_id=job.hub_id, namespace=job.namespace, follow=follow):
                if not line.startswith(PROGRESS_MARK):
                    yield line

    def _start(self, job: Job, config: RunConfig) -> Job:
        assert job.publication is not None
        bucket = os.environ.get(BUCKET_VARIABLE)
        token = self.token or self.api.token or get_token()
        try:
            with hub_words("start the job"):
                info = self.api.run_job(
                    image=image(),
                    command=["python", "-m", "sim2street.training.jobs.remote"],
                    env={
                        "SIM2STREET_RECIPE": json.dumps(config.model_dump(mode="json")),
                        "SIM2STREET_REPOSITORY": job.publication.repo_id,
                        "SIM2STREET_PRIVATE": str(int(job.publication.private)),
                        "SIM2STREET_RUN": f"{MOUNT}/{job.id}" if bucket else "/tmp/run",
                    },
                    secrets={"HF_TOKEN": token} if isinstance(token, str) else None,
                    flavor=job.flavour,
                    timeout=job.timeout_minutes * 60,
                    labels={
                        "app": LABEL,
                        "job": job.id,
                        "attempt": str(job.attempt + 1),
                        "recipe": job.recipe or "own",
                    },
                    volumes=[Volume(type="bucket", source=bucket, mount_path=MOUNT)] if bucket else None,
                    namespace=job.namespace,
                )
        except JobError as error:
            reason = str(error)
            self.store.change(job.id, lambda found: found.to(JobState.FAILED, reason=reason))
            raise

        def note(found: Job) -> Job:
            # A refresh while the Hub was still answering did not find the job and marked it as lost.
            found = found.to(JobState.QUEUED, reason="", ended_at=None) if found.state is JobState.LOST else found
            return found.having(hub_id=info.id, attempt=job.attempt + 1)

        return self.store.change(job.id, note)

    def _labelled(self, namespace: str, **labels: str) -> list[JobInfo]:
        """Our jobs in an account that also have these labels, latest first."""
        with hub_words("list the jobs"):
            infos = list(self.api.list_jobs(labels={"app": LABEL, **labels}, namespace=namespace))
        return sorted(infos, key=lambda info: info.created_at.timestamp() if info.created_at else 0.0, reverse=True)

    def _find_by_label(self, job: Job) -> Job:
        """Handle a record without a job on the Hub: its process died before it recorded the job's id, or before it started it."""
        infos = self._labelled(job.namespace, job=job.id, attempt=str(job.attempt + 1))
        if infos:
            found_id = infos[0].id
            return self.store.change(
                job.id, lambda found: found.having(hub_id=found_id, attempt=max(found.attempt, job.attempt + 1))
            )
        reason = "It was never started on the Hub. Retry starts it."
        return self.store.change(job.id, lambda found: found.to(JobState.LOST, reason=reason))

    def _take(self, record: Job, info: JobInfo) -> Job:
        stage = str(getattr(info.status.stage, "value", info.status.stage))
        seconds = float((info.durations.running_secs if info.durations else None) or record.seconds)
        message = info.status.message or ""
        if stage == JobStage.COMPLETED.value:
            return self._fetch(record, seconds)
        state = _STATES.get(stage, record.state)
        reason = message
        if state is JobState.FAILED:
            last = logs.tail(self.store.place(record.id) / LOG, 1)
            reason = ". ".join(filter(None, [message.rstrip("."), last[0] if last else ""])) or "It failed on the Hub."
        elif state is JobState.LOST:
            reason = "It was deleted on the Hub."
        ended = round(time.time(), 1) if state.ended else None
        values = {"seconds": seconds, "reason": reason, "ended_at": ended}

        def take(found: Job) -> Job:
            return found.having(**values) if state is found.state else found.to(state, **values)

        return self.store.change(record.id, take)

    def _fetch(self, record: Job, seconds: float) -> Job:
        """Handle a finished job: fetch its checkpoint, or record that it is missing."""
        wish = record.publication
        assert wish is not None
        with hub_words("look for the checkpoint"):
            revision, names = None, []
            if self.api.repo_exists(wish.repo_id):
                info = self.api.model_info(wish.repo_id)
                revision, names = info.sha, [item.rfilename for item in info.siblings or []]
        ended = {"seconds": seconds, "ended_at": round(time.time(), 1)}
        if WEIGHTS not in names:
            reason = f"It ended without an error, but there is no checkpoint in {wish.repo_id}; see the log."
            return self.store.change(record.id, lambda found: found.to(JobState.FAILED, reason=reason, **ended))
        try:
            with hub_words("fetch the checkpoint"):
                # Into the store itself, so that nothing is left behind in a hidden cache.
                partial = self.store.place(record.id) / f".{RUN}.{RUN_FOLDER}.partial"
                snapshot_download(
                    wish.repo_id,
                    revision=revision,
                    allow_patterns=list(FILES),
                    local_dir=partial,
                    token=self.token,
                    endpoint=os.environ.get("HF_ENDPOINT"),
                )
        except JobError as error:
            reason = f"The job has finished, but its checkpoint could not be fetched yet: {error}"
            return self.store.change(record.id, lambda found: found.having(reason=reason))
        shutil.rmtree(partial / ".cache", ignore_errors=True)
        try:
            Checkpoint.open(partial)
        except CheckpointError as error:
            shutil.rmtree(partial, ignore_errors=True)
            reason = f"The checkpoint in {wish.repo_id} is incomplete: {error}"
            return self.store.change(record.id, lambda found: found.to(JobState.FAILED, reason=reason, **ended))
        place = self.store.run(record.id) / RUN_FOLDER
        place.parent.mkdir(exist_ok=True)
        replace_folder(partial, place)
        url = f"{self.api.endpoint}/{wish.repo_id}"
        published = Publication.parse(
            {**wish.model_dump(), "state": "published", "revision": revision or "", "url": url, "attempts": 1},
            where="publishing",
        )
        ended |= {"reason": "", "publication": published}

        def finish(found: Job) -> Job:
            running = found if found.state is JobState.RUNNING else found.to(JobState.RUNNING)
            return running.to(JobState.SUCCEEDED, **ended)

        return self.store.change(record.id, finish)

    def _collect(self, job: Job) -> None:
        """Rewrite log and progress from the complete remote log, so that replayed lines never count twice."""
        with hub_words("read the log"):
            lines = list(self.api.fetch_job_logs(job_id=job.hub_id, namespace=job.namespace))
        progress = [line.removeprefix(PROGRESS_MARK) for line in lines if line.startswith(PROGRESS_MARK)]
        others = [line for line in lines if not line.startswith(PROGRESS_MARK)]
        run = self.store.run(job.id)
        run.mkdir(exist_ok=True)
        (run / PROGRESS).write_text("".join(f"{line}\n" for line in progress), encoding="utf-8")
        (self.store.place(job.id) / LOG).write_text("\n".join(others)[-logs.KEPT :], encoding="utf-8")


def image() -> str:
    """The container's image: the one that SIM2STREET_JOB_IMAGE names, or on a Space the Space's own.

    Raises:
        JobError: there is none.
    """
    named = os.environ.get(IMAGE_VARIABLE)
    if named:
        return named
    if os.environ.get("SPACE_ID"):
        return f"hf.co/spaces/{os.environ['SPACE_ID']}"
    raise JobError(
        f"Jobs on the Hub need an image with Sim2Street: build the Dockerfile, push it, and name it in {IMAGE_VARIABLE}."
    )


@contextmanager
def hub_words(doing: str) -> Iterator[None]:
    """Turn the client's exceptions into one sentence.

    Raises:
        JobError: instead of the client's exception.
    """
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        advice = {
            401: " Sign in with a token that may run jobs (hf auth login).",
            402: " The account has no credit for jobs.",
            403: " The token does not permit this; it needs the right to run jobs.",
            404: " It no longer exists.",
        }.get(status, " Try again later." if status >= 500 else "")
        raise JobError(f"The Hub answered {status} to the request to {doing}.{advice}") from error
    except (httpx.HTTPError, LocalEntryNotFoundError, OSError) as error:
        raise JobError(f"The Hub could not be reached to {doing} ({type(error).__name__}). Try again later.") from error
