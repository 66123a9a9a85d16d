"""The runner on a SLURM cluster, through submitit (the extra `slurm`): one node per job, its GPUs through accelerate.

This machine and the nodes share the folder of the jobs, so nothing is sent: `Training` is what submitit starts on the node,
and it does there what the runner on this machine does here. It starts the same trainer, watches it, and writes the same
record and log. Here a job is only submitted, and the cluster is asked about those whose record does not say how they ended.

A node that is wanted back gets its state saved first. At the time limit, and where the cluster sends submitit's signal
before it pre-empts, the job asks to be queued again; after SIGTERM the cluster decides. A job that starts again resumes.
"""

from __future__ import annotations

import getpass
import importlib.util
import logging
import os
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sim2street import IS_CHECKOUT, child_environment
from sim2street.training.config import RunConfig
from sim2street.training.jobs import log as logs
from sim2street.training.jobs import processes
from sim2street.training.jobs.ending import Ending
from sim2street.training.jobs.local import POLL, Runner
from sim2street.training.jobs.progress import has_begun
from sim2street.training.jobs.record import Cluster, Job, JobError, JobState
from sim2street.training.jobs.store import JobStore
from sim2street.training.locks import Busy, hold, is_held
from sim2street.training.run.folder import is_finished

if TYPE_CHECKING:
    from submitit import Executor
    from submitit.helpers import DelayedSubmission

LOGGER: Final = logging.getLogger(__name__)
EXECUTOR_VARIABLE: Final = "SIM2STREET_SUBMITIT"
"""Environment variable: `local` runs the jobs as processes of this machine, to try the road without a cluster."""
FOLDER: Final = "slurm"
"""Where a job's folder keeps submitit's files."""
SUBMITTING: Final = ".submitting"
"""Lock in a job's folder while the cluster has not yet answered."""
SAVING_SECONDS: Final = 120
"""How long before the time limit the cluster warns a job, so that it can save its state."""
RESTARTS: Final = 10_000
"""How often a job may reach its time limit and be queued again."""
DOOMED_SECONDS: Final = 600
"""How long a job that was told to end waits for its end, so that the cluster and not the job says why it ended."""
ANSWER_SECONDS: Final = 30
"""How long a command of the cluster may take."""
FRESH_SECONDS: Final = 5.0
"""How long the list of the queue is believed."""
_WAITING: Final = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
_ACTIVE: Final = {"CONFIGURING", "COMPLETING", "RESIZING", "RUNNING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED"}
_STUCK: Final = ("AccountNotAllowed", "BadConstraints", "Invalid", "Partition", "QOSNotAllowed")
"""How reasons begin for which a job waits until somebody changes what it asks for."""
_ADVICE: Final = "Retry resumes from the last saved state."


@dataclass
class Training:
    """What runs on the node. submitit pickles it, so it holds only names.

    Args:
        folder: the folder of the jobs, which the node shares.
        job: the job's id.
    """

    folder: str
    job: str

    def __call__(self) -> str:
        """Train until the end, or until the cluster wants the node back; returns the state in the record."""
        runner = self._runner = NodeRunner(JobStore(Path(self.folder)))
        # In a thread, so that a signal never finds this process between two steps of changing the record.
        watch = self._watch = threading.Thread(target=runner.train, args=(self.job,), daemon=True)
        signal.signal(signal.SIGTERM, lambda *_: runner.interrupted.set())
        watch.start()
        while watch.is_alive():
            watch.join(1)
        if runner.fault is not None:
            raise runner.fault
        if runner.interrupted.is_set() and not runner.store.get(self.job).state.ended:
            time.sleep(DOOMED_SECONDS)
            raise JobError("The job was told to end, but the cluster did not end it.")
        return runner.store.get(self.job).state.value

    def checkpoint(self) -> DelayedSubmission | None:
        """What is to be queued again, with the state saved; submitit asks when it is signalled. None if training has ended."""
        from submitit.helpers import DelayedSubmission

        self._runner.interrupted.set()
        self._watch.join()
        ended = self._runner.store.get(self.job).state.ended
        return None if ended else DelayedSubmission(Training(self.folder, self.job))


class NodeRunner(Runner):
    """The runner of one job, on its node."""

    def __init__(self, store: JobStore) -> None:
        super().__init__(store)
        self.interrupted = threading.Event()
        self.fault: Exception | None = None

    def train(self, name: str) -> None:
        """Train one job; what an earlier life of it has left is resumed."""
        from submitit import JobEnvironment

        number = JobEnvironment().job_id
        try:
            job = self.store.change(name, lambda found: self._claimed(found, number))
            if job.slurm_id != number:
                raise JobError(f"Job {name} was submitted again as {job.slurm_id}; {number} ends.")
            if job.cancel_asked:
                ended = {"reason": "Cancelled before it started.", "ended_at": round(time.time(), 1)}
                self.store.change(name, lambda found: found.to(JobState.CANCELLED, **ended))
                return
            self.start(job)
            while self.trainer is not None:
                self.watch(self.trainer)
                time.sleep(POLL)
        except Exception as error:  # it is raised again in the main thread
            self.fault = error

    def wants_end(self, job: Job) -> bool:
        """Whether the trainer should save and stop: it is cancelled, or the cluster wants the node back."""
        return super().wants_end(job) or self.interrupted.is_set()

    def conclude(self, job: Job, ending: Ending) -> tuple[JobState, str]:
        """A trainer that was interrupted is queued again, and not failed."""
        state, reason = super().conclude(job, ending)
        if state is JobState.FAILED and self.interrupted.is_set() and ending.hung is None:
            return JobState.QUEUED, f"The cluster wanted {socket.gethostname()} back. It resumes when it gets a node."
        return state, reason

    def _claimed(self, job: Job, number: str) -> Job:
        """The record as it is before a start; also of a job whose node died, or whose submitter died before it had the number."""
        if job.slurm_id not in ("", number):
            return job
        job = job.having(slurm_id=number)
        if job.state not in (JobState.RUNNING, JobState.LOST):
            return job
        spent = max(job.seconds, self.store.pulse(job.id).get("seconds", 0.0))
        return job.to(JobState.QUEUED, reason="", seconds=spent, trainer=None, ended_at=None)


class SlurmRunner:
    """Submits, follows and cancels jobs of this user on the cluster.

    Args:
        store: where the records are; the nodes must share this folder.
    """

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self.executor = _executor_name()

    def submit(self, config: RunConfig, *, cluster: dict[str, Any] | Cluster | None = None, **values: Any) -> Job:
        """Record a job, then submit it.

        Args:
            config: what to train.
            cluster: what to ask for, as in `Cluster`.
            values: more fields of `Job`; `timeout_minutes` is the time limit of each start.

        Raises:
            JobError: submitit or a cluster is missing, or the cluster refuses; the record then contains the reason.
            ConfigError: a value is wrong.
        """
        check_cluster()
        wanted = Cluster.parse(cluster or {}, where="slurm")
        # One process per GPU; on CPUs a single one.
        values = {"processes": {"count": max(1, wanted.gpus)}, **values}
        return self._start(self.store.create(config, where="slurm", cluster=wanted.model_dump(), **values))

    def retry(self, job: str) -> Job:
        """Submit an ended job again; it resumes from its last state."""
        check_cluster()
        return self._start(self.store.change(job, Job.again))

    def cancel(self, job: str) -> Job:
        """Ask a job to save and stop; one that waits is removed from the queue, and a second call ends it at once.

        Raises:
            JobError: it has ended, or the cluster does not answer.
        """
        found = self.refresh(job)
        if found.state.ended:
            raise JobError(f"Job {job} is already {found.state.value}.")
        if found.cancel_asked:
            self._end(found)
            return self.refresh(job)
        reason = "Asked to save and stop; cancel again to end it at once."
        found = self.store.change(job, lambda record: record.having(cancel_asked=True, reason=reason))
        if self.executor == "slurm":  # no effect on a job that has started meanwhile, which sees that it was asked
            _said_by("scancel", "--state=PENDING", found.slurm_id)
            _Queue.forget()
        return self.refresh(job)

    def refresh(self, job: str) -> Job:
        """Ask the cluster about a job that has not ended, and record what its node could not.

        If the cluster does not answer, only the displayed reason changes.
        """
        record = self.store.get(job)
        if record.where != "slurm" or record.state.ended or is_held(self.store.place(job) / SUBMITTING):
            return record
        if not record.slurm_id:
            lost = {"reason": "It was never submitted to the cluster. Retry submits it.", "ended_at": time.time()}
            return self.store.change(job, lambda found: _moved(found, JobState.LOST, **lost))
        try:
            state, words = self._ask(record)
        except JobError as error:
            reason = f"The cluster could not be asked: {error}"
            return self.store.change(job, lambda found: found if found.state.ended else found.having(reason=reason))
        return self.store.change(job, lambda found: self._brought_up_to_date(found, state, words))

    def _brought_up_to_date(self, job: Job, state: str, words: str) -> Job:
        if job.state.ended:  # its node has written that meanwhile
            return job
        if state in _WAITING:
            stuck = words.startswith(_STUCK)
            advice = " It cannot start like this: cancel it and ask for less." if stuck else ""
            reason = f"Waiting in the cluster's queue ({words or state}).{advice}"
            waiting = job if job.state is JobState.QUEUED else job.to(JobState.QUEUED, trainer=None)
            return waiting if job.cancel_asked else waiting.having(reason=reason)
        if state in _ACTIVE:
            stale = job.reason.startswith(("Waiting in", "The cluster could not"))
            return job.having(reason="") if stale else job
        return _moved(job, *self._ending(job, state), ended_at=round(time.time(), 1), trainer=None)

    def _ending(self, job: Job, state: str) -> tuple[JobState, str]:
        """How a job ended whose node could not write it."""
        if is_finished(self.store.run(job.id)):
            return JobState.SUCCEEDED, ""
        if state.startswith("CANCELLED") or (job.cancel_asked and state != "TIMEOUT"):
            begun = has_begun(self.store.run(job.id))
            return (
                JobState.CANCELLED,
                f"Cancelled on the cluster. {_ADVICE}" if begun else "Cancelled before it started.",
            )
        if state == "TIMEOUT":
            limit = f"its time limit of {job.timeout_minutes} minutes"
            return JobState.FAILED, f"The cluster ended it at {limit}, before it could save its state. {_ADVICE}"
        if state == "OUT_OF_MEMORY":
            advice = "Ask for more with the option mem, such as mem=64G, or use a smaller batch"
            return JobState.FAILED, f"Out of memory on the node. {advice}. {_ADVICE}"
        last = logs.tail(self._folder(job) / f"{job.slurm_id}_0_log.err", 1)
        said = f" It last said: {last[0][:300]}" if last else ""
        if not state:
            return (
                JobState.LOST,
                f"The cluster no longer knows job {job.slurm_id}, and nothing says how it ended.{said}",
            )
        return JobState.FAILED, f"The cluster ended it ({state.lower().replace('_', ' ')}). {_ADVICE}{said}"

    def _start(self, job: Job) -> Job:
        try:
            with hold(self.store.place(job.id) / SUBMITTING, seconds=0):
                number = self._submitted(job)
                _Queue.forget()
                return self.store.change(job.id, lambda found: found.having(slurm_id=number))
        except Busy as error:
            raise JobError(f"Job {job.id} is being submitted by another process.") from error
        except JobError as error:
            failed = {"reason": str(error), "ended_at": round(time.time(), 1)}
            self.store.change(job.id, lambda found: found.to(JobState.FAILED, **failed))
            raise

    def _submitted(self, job: Job) -> str:
        """Submit a job and return its number.

        Raises:
            JobError: the cluster refuses, in its own words.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            return self._executor(job).submit(Training(str(self.store.folder), job.id)).job_id
        except (FailedJobError, FailedSubmissionError) as error:
            said = " ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in str(error).splitlines())
            raise JobError(
                f"The cluster refused the job: {said[:400] or 'it gave no reason'}. Check partition, time limit, GPUs and"
                " options against `sinfo` and your account, then retry or launch again."
            ) from error
        except OSError as error:
            raise JobError(f"The job could not be submitted: {error}.") from error

    def _executor(self, job: Job) -> Executor:
        from submitit import LocalExecutor, SlurmExecutor

        assert job.cluster is not None
        if self.executor == "local":
            executor = LocalExecutor(self._folder(job), max_num_timeout=RESTARTS)
            executor.update_parameters(timeout_min=job.timeout_minutes, signal_delay_s=SAVING_SECONDS)
            return executor
        # A checkout is not installed, so the node must be told where it is.
        setup = [f"export PYTHONPATH={shlex.quote(child_environment()['PYTHONPATH'])}"] if IS_CHECKOUT else []
        slurm = SlurmExecutor(self._folder(job), max_num_timeout=RESTARTS)
        asked = {"partition": job.cluster.partition} if job.cluster.partition else {}
        if job.cluster.gpus and "gres" not in job.cluster.options:
            asked["gpus_per_node"] = str(job.cluster.gpus)
        flags = {name: value or True for name, value in job.cluster.options.items()}
        slurm.update_parameters(
            job_name=job.id,
            time=job.timeout_minutes,
            signal_delay_s=SAVING_SECONDS,
            setup=setup,
            additional_parameters={"requeue": True, **flags},
            **asked,
        )
        return slurm

    def _folder(self, job: Job) -> Path:
        return self.store.place(job.id) / FOLDER

    def _ask(self, job: Job) -> tuple[str, str]:
        """The cluster's name for a job's state, empty if it knows none, and why it waits.

        Raises:
            JobError: the cluster does not answer.
        """
        if self.executor == "local":
            return ("RUNNING" if processes.identify(int(job.slurm_id)) else "", "")
        listed = _Queue.look_up(job.slurm_id)
        if listed is not None:
            return listed
        place = self.store.place(job.id)
        place.chmod(
            place.stat().st_mode
        )  # a file system over the network then looks again whether the record has changed
        try:
            states = _said_by(
                "sacct", "--noheader", "--allocations", "--parsable2", f"--jobs={job.slurm_id}", "--format=State"
            )
        except JobError as error:  # many small clusters keep no accounts
            LOGGER.info("sacct says nothing about %s: %s", job.slurm_id, error)
            return "", ""
        return states.partition("\n")[0].strip(), ""

    def _end(self, job: Job) -> None:
        if self.executor == "slurm":
            _said_by("scancel", job.slurm_id)
            _Queue.forget()
        elif job.trainer is not None:
            processes.end(job.trainer, signal.SIGKILL)


class _Queue:
    """This user's jobs as the cluster last listed them, so that many jobs cost one question."""

    _listed: ClassVar[dict[str, tuple[str, str]]] = {}
    _until: ClassVar[float] = 0.0

    @classmethod
    def look_up(cls, number: str) -> tuple[str, str] | None:
        """State of a job and why it waits; None if the queue does not have it."""
        if time.monotonic() > cls._until or number not in cls._listed:
            lines = _said_by("squeue", "--noheader", "--states=all", f"--user={getpass.getuser()}", "--format=%i|%T|%r")
            rows = (line.split("|", 2) for line in lines.splitlines() if line.count("|") >= 2)
            cls._listed = {row[0]: (row[1], "" if row[2] == "None" else row[2]) for row in rows}
            cls._until = time.monotonic() + FRESH_SECONDS
        return cls._listed.get(number)

    @classmethod
    def forget(cls) -> None:
        """Ask again next time."""
        cls._until = 0.0


def check_cluster() -> None:
    """Make sure that jobs can be submitted from here.

    Raises:
        JobError: submitit is not installed, or this machine belongs to no cluster.
    """
    if importlib.util.find_spec("submitit") is None:
        raise JobError('Jobs on a SLURM cluster need submitit: pip install "sim2street[train,slurm]".')
    missing = [name for name in ("sbatch", "srun") if shutil.which(name) is None]
    if missing and _executor_name() == "slurm":
        raise JobError(
            f"There is no SLURM on this machine: {missing[0]} was not found. Submit from a login node of the cluster."
        )


def _executor_name() -> str:
    name = os.environ.get(EXECUTOR_VARIABLE) or "slurm"
    if name not in ("slurm", "local"):
        raise JobError(f"{EXECUTOR_VARIABLE} is {name[:40]!r}; expected slurm or local.")
    return name


def _moved(job: Job, state: JobState, reason: str, **values: Any) -> Job:
    """A job in another state; one that succeeded unseen has run first."""
    if not job.may_become(state):
        job = job.to(JobState.RUNNING)
    return job.to(state, reason=reason, **values)


def _said_by(*command: str) -> str:
    """What a command of the cluster prints.

    Raises:
        JobError: it is missing, fails or does not answer.
    """
    name = command[0]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except FileNotFoundError as error:
        raise JobError(f"{name} was not found. Ask on a login node of the cluster.") from error
    except subprocess.TimeoutExpired as error:
        raise JobError(f"{name} did not answer within {ANSWER_SECONDS} seconds.") from error
    if done.returncode:
        raise JobError(f"{name} said: {' '.join((done.stderr or done.stdout).split())[:300]}")
    return done.stdout
