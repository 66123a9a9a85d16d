"""The runner on this machine: a separate process that trains queued jobs one after another.

    python -m sim2street.training.jobs.local FOLDER

It is independent of its callers: page, server and command line only write records and call `attend`, which starts a runner
if none is running. It holds a lock that the kernel releases when it dies, and its trainer survives it. So whatever is
killed, the next `attend` finds the trainer, or what is left of it. The runner exits when nothing is left to do.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sim2street import IS_CHECKOUT, ROOT, child_environment
from sim2street.models.errors import Sim2StreetError
from sim2street.models.storage.files import PROGRESS, write_json
from sim2street.training.activity import VARIABLE
from sim2street.training.jobs import log as logs
from sim2street.training.jobs import processes
from sim2street.training.jobs.ending import Ending, classify
from sim2street.training.jobs.progress import has_begun
from sim2street.training.jobs.record import Job, JobError, JobState, ProcessIdentity
from sim2street.training.jobs.store import ACTIVITY, LOG, PULSE, RECIPE, JobStore
from sim2street.training.locks import Busy, hold, is_held

LOGGER: Final = logging.getLogger(__name__)
WORKPLACE: Final = ROOT if IS_CHECKOUT else None
"""Working folder of the processes; None is the current folder, where an installed package looks for `runs`."""
RUNNER_LOG: Final = "runner.log"
POLL: Final = 0.25
"""Seconds between two checks of the trainer."""
PULSE_EVERY: Final = 3.0
"""Seconds between two written pulses."""
LINGER: Final = 1.0
"""Seconds for which an idle runner waits for more work before it exits."""
WAITS: Final = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 1800.0, 1800.0, 3600.0, 3600.0, 3600.0)
"""Seconds between attempts to publish while the Hub is down; after the last one, publishing must be requested again."""
FOLLOW_UP: Final = ".follow_up"
"""Lock in a job's folder: one process at a time scores or publishes it."""
PATIENCE: Final = 86400.0
"""Seconds for which a second such process waits for the first one."""
SECRETS: Final = ("SIM2STREET_ADMIN", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OAUTH_", "STREAMLIT_")
"""Prefixes of environment variables that are kept from trainers."""


def attend(store: JobStore) -> bool:
    """Make sure that a runner looks after the local jobs; returns whether one was started."""
    if not any(map(needs_runner, store.jobs())) or is_held(store.folder / ".runner"):
        return False
    with (store.folder / RUNNER_LOG).open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "sim2street.training.jobs.local", str(store.folder)],
            cwd=WORKPLACE,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return True


def needs_runner(job: Job) -> bool:
    """Whether a job needs work here: a local one until it ends, and any that succeeded until its follow-ups are done."""
    if not job.state.ended:
        return job.where == "local"
    return job.state is JobState.SUCCEEDED and (waits_for_hub(job) or waits_for_score(job))


def waits_for_hub(job: Job) -> bool:
    """Whether its checkpoint still has to be published."""
    return job.publication is not None and job.publication.state == "waiting"


def waits_for_score(job: Job) -> bool:
    """Whether its checkpoint still has to be scored."""
    return job.evaluation is not None and job.evaluation.state == "waiting"


def cancel(store: JobStore, job: str) -> Job:
    """Ask a local job to save and stop; a queued job is cancelled at once.

    Raises:
        JobError: it has already ended.
    """

    def ask(found: Job) -> Job:
        if found.state.ended:
            raise JobError(f"Job {job} is already {found.state.value}.")
        if found.state is JobState.QUEUED:
            return found.to(JobState.CANCELLED, reason="Cancelled before it started.", ended_at=round(time.time(), 1))
        return found.having(cancel_asked=True, reason="Asked to save and stop.")

    answer = store.change(job, ask)
    attend(store)
    return answer


def retry(store: JobStore, job: str) -> Job:
    """Queue an ended job again; it resumes from its last state.

    Raises:
        JobError: it has not ended, or it succeeded.
    """
    again = store.change(job, Job.again)
    attend(store)
    return again


def trainer_command(job: Job, store: JobStore) -> list[str]:
    """The command for a job: a list whose parts are ours or validated, never a shell line."""
    run = store.run(job.id)
    train = ["-m", "sim2street.training.cli", "train"]
    if has_begun(run):
        train += ["--resume", str(run)]
    else:
        train += [str(store.place(job.id) / RECIPE), "--out", str(run)]
    shape = job.processes
    if shape.count == 1 and shape.machines == 1:
        return [sys.executable, *train]
    # accelerate assumes one GPU per process; ACCELERATE_USE_CPU in the environment keeps them on CPUs.
    launch = ["--multi_gpu", "--num_processes", str(shape.count * shape.machines)]
    launch += ["--num_machines", str(shape.machines), "--machine_rank", str(shape.machine_rank)]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    if shape.machines > 1:
        launch += ["--main_process_ip", shape.main_address, "--main_process_port", str(shape.main_port)]
    else:
        launch += ["--main_process_port", "0"]
    return [sys.executable, "-m", "accelerate.commands.launch", *launch, *train]


def trainer_environment(job: Job, store: JobStore) -> dict[str, str]:
    """The environment without secrets; on a machine without GPUs, several processes train on the CPUs."""
    environment = {name: value for name, value in child_environment().items() if not name.startswith(SECRETS)}
    environment["PYTHONUNBUFFERED"] = "1"
    environment[VARIABLE] = str(store.place(job.id) / ACTIVITY)
    if job.processes.count * job.processes.machines > 1 and processes.graphics_cards() == 0:
        environment["ACCELERATE_USE_CPU"] = "true"
    return environment


@dataclass
class Trainer:
    """The running trainer, started by this runner or found again.

    Attributes:
        job: its job.
        process: its identity.
        child: the child process to wait for; None if an earlier runner started it.
        spent: seconds of training before this runner took over.
    """

    job: str
    process: ProcessIdentity
    child: subprocess.Popen[bytes] | None
    spent: float = 0.0
    began: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    sign: tuple[float, ...] = ()
    asked_at: float | None = None
    hung: float | None = None
    killed: bool = False
    peak_mb: float = 0.0
    pulse_at: float = 0.0
    memory_kills: int = field(default_factory=processes.out_of_memory_kills)

    @property
    def seconds(self) -> float:
        """Seconds spent training so far, by a monotonic clock."""
        return self.spent + time.monotonic() - self.began

    def has_ended(self) -> bool:
        """Whether it has ended."""
        if self.child is None:
            return not processes.is_alive(self.process)
        if self.child.returncode is not None:
            return True
        # Not reaped yet: until `wait`, the system cannot reuse its pid.
        return os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


@dataclass
class FollowUp:
    """A process that scores or publishes a finished job."""

    job: Job
    name: str
    child: subprocess.Popen[bytes]
    memory_kills: int = field(default_factory=processes.out_of_memory_kills)


class Runner:
    """Looks after the local jobs of a store, and the follow-ups of all, until none needs work."""

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self.trainer: Trainer | None = None
        self.follow_up: FollowUp | None = None
        self.next_try: dict[str, float] = {}

    def work(self) -> None:
        """Train and publish, and return when nothing is left; return at once if another runner is active."""
        with ExitStack() as stack:
            try:
                stack.enter_context(hold(self.store.folder / ".runner", seconds=3))
            except Busy:
                return
            idle_since: float | None = None
            while True:
                try:
                    busy = self.look()
                except (OSError, Sim2StreetError) as error:  # a full disk: records wait until there is space again
                    LOGGER.error("%s; trying again", error)
                    busy = True
                    time.sleep(2)
                if busy:
                    idle_since = None
                elif idle_since is None:
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since > LINGER:
                    with self.store.locked():  # a later submission finds the lock free
                        if not any(map(needs_runner, self.store.jobs())):
                            stack.close()
                            return
                time.sleep(POLL)

    def look(self) -> bool:
        """Do what is due; returns whether anything is in progress."""
        logs.cap(self.store.folder / RUNNER_LOG)
        jobs = list(reversed(self.store.jobs()))
        local = [job for job in jobs if job.where == "local"]
        if self.trainer is None:
            for job in local:
                if job.state is JobState.RUNNING:
                    self.find_again(job)
                    break
        if self.trainer is None:
            queued = [job for job in local if job.state is JobState.QUEUED]
            if queued:
                self.start(queued[0])
        if self.trainer is not None:
            self.watch(self.trainer)
        following_up = self.run_follow_ups(jobs)
        return self.trainer is not None or following_up

    def find_again(self, job: Job) -> None:
        """Take over a job left running by an earlier runner: its trainer, or the result."""
        spent = max(job.seconds, self.store.pulse(job.id).get("seconds", 0.0))
        # A runner that died right after starting its trainer had not recorded the trainer.
        process = job.trainer or processes.find_leader(str(self.store.run(job.id)))
        if process is None:
            # It died between marking the job and starting its trainer.
            following = JobState.CANCELLED if job.cancel_asked else JobState.QUEUED
            self.store.change(job.id, lambda found: found.to(following, reason=""))
            return
        self.trainer = Trainer(job.id, process, None, spent)
        if job.trainer is None:
            self.store.change(job.id, lambda found: found.having(trainer=process))
        LOGGER.info("found %s again as process %s", job.id, process.pid)

    def start(self, job: Job) -> None:
        """Start the trainer of a queued job."""

        def begin(found: Job) -> Job:
            if found.state is not JobState.QUEUED:
                raise JobError(f"Job {found.id} was changed meanwhile.")
            return found.to(JobState.RUNNING, attempt=found.attempt + 1, reason="", trainer=None)

        try:
            job = self.store.change(job.id, begin)
        except JobError:
            return
        try:
            self.store.begin_attempt(job.id)
            command = trainer_command(job, self.store)
            resumed = ", resumed" if "--resume" in command else ""
            log = logs.open_log(self.store.place(job.id) / LOG, f"{job.attempt}{resumed}")
            try:
                child = subprocess.Popen(
                    command,
                    cwd=WORKPLACE,
                    env=trainer_environment(job, self.store),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            finally:
                os.close(log)
        except (Sim2StreetError, OSError) as error:
            reason = f"It could not be started: {error}"
            self.store.change(job.id, lambda found: found.to(JobState.FAILED, reason=reason))
            return
        # A child that ended at once keeps its identity until we wait for it.
        process = processes.identify(child.pid) or processes.identity_of_ended(child.pid)
        self.trainer = Trainer(job.id, process, child, job.seconds)
        self.store.change(job.id, lambda found: found.having(trainer=process))

    def watch(self, trainer: Trainer) -> None:
        """Check the trainer once: cap its log, write its pulse, ask it to stop, or record its end."""
        place = self.store.place(trainer.job)
        try:
            job = self.store.get(trainer.job)
        except JobError as error:
            LOGGER.warning("%s Its folder was removed; its trainer is ended.", error)
            processes.end(trainer.process, signal.SIGKILL)
            processes.end_leftovers(trainer.process)
            self.trainer = None
            return
        logs.cap(place / LOG)
        if trainer.has_ended():
            self.record_end(trainer, job)
            return
        now = time.monotonic()
        sign = signs_of_life(place / LOG, self.store.run(job.id))
        if sign != trainer.sign:
            trainer.sign, trainer.heard = sign, now
        if now - trainer.pulse_at >= PULSE_EVERY:
            trainer.pulse_at = now
            memory = processes.memory_mb(trainer.process.pid)
            trainer.peak_mb = max(trainer.peak_mb, memory)
            pulse = {"peak_memory_mb": trainer.peak_mb, "seconds": trainer.seconds}
            write_json(place / PULSE, {**pulse, "silent_seconds": now - trainer.heard})
        if trainer.hung is None and not self.wants_end(job) and now - trainer.heard > job.patience_seconds:
            trainer.hung = now - trainer.heard
        if trainer.asked_at is None and (self.wants_end(job) or trainer.hung is not None):
            trainer.asked_at = now
            processes.end(trainer.process, signal.SIGTERM)
        elif trainer.asked_at is not None and now - trainer.asked_at > job.grace_seconds:
            trainer.killed = True
            processes.end(trainer.process, signal.SIGKILL)

    def wants_end(self, job: Job) -> bool:
        """Whether the trainer should save and stop."""
        return job.cancel_asked

    def conclude(self, job: Job, ending: Ending) -> tuple[JobState, str]:
        """State that follows a trainer's end, and the reason."""
        return classify(job, self.store.run(job.id), ending)

    def record_end(self, trainer: Trainer, job: Job) -> None:
        """Record how a trainer ended."""
        processes.end_leftovers(trainer.process)
        code = None if trainer.child is None else trainer.child.wait()
        place = self.store.place(job.id)
        ending = Ending(
            code=code,
            lines=logs.last_attempt(place / LOG),
            hung=trainer.hung,
            killed=trainer.killed,
            out_of_memory_kills=processes.out_of_memory_kills() - trainer.memory_kills,
        )
        state, reason = self.conclude(job, ending)
        ended_at = round(time.time(), 1) if state.ended else None
        ended = {"reason": reason, "seconds": trainer.seconds, "ended_at": ended_at, "trainer": None}

        def note(found: Job) -> Job:
            if found.may_become(state):
                return found.to(state, **ended)
            # If the record was changed meanwhile, the next job must not wait for this one.
            LOGGER.warning("%s is %s in its record; left unchanged", job.id, found.state.value)
            return found

        self.store.change(job.id, note)
        self.trainer = None
        LOGGER.info("%s %s %s", job.id, state.value, reason)

    def run_follow_ups(self, jobs: list[Job]) -> bool:
        """Score and publish finished jobs that request it, one at a time; returns whether any is waiting.

        Scoring waits until no training needs the machine; publishing is retried later if the Hub was down.
        """
        if self.follow_up is not None:
            if self.follow_up.child.poll() is None:
                return True
            self.settle(self.follow_up)
            self.follow_up = None
            return True  # its job has changed since it was read
        done = [job for job in jobs if job.state is JobState.SUCCEEDED]
        for job in done if self.trainer is None else ():
            if waits_for_score(job):
                self.send(job, "evaluation")
                return True
        ready = [job for job in done if waits_for_hub(job)]
        for job in ready:
            assert job.publication is not None
            tries = job.publication.attempts
            wait = (0.0, *WAITS)[min(tries, len(WAITS))]
            if time.monotonic() >= self.next_try.setdefault(f"{job.id}/{tries}", time.monotonic() + wait):
                self.send(job, "publication")
                break
        return bool(ready)

    def send(self, job: Job, follow_up: str) -> None:
        """Start the process of a follow-up, which records its own outcome."""
        with (self.store.place(job.id) / LOG).open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", f"sim2street.training.jobs.{follow_up}", str(self.store.folder), job.id],
                cwd=WORKPLACE,
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.follow_up = FollowUp(job, follow_up, child)

    def settle(self, follow_up: FollowUp) -> None:
        """Record how a follow-up died; one that ended by itself has recorded its own outcome."""
        code = follow_up.child.returncode
        if code == 0:
            return
        words = f"It ended with exit code {code}; see the log."
        if code < 0:
            starved = code == -signal.SIGKILL and processes.out_of_memory_kills() > follow_up.memory_kills
            name = signal.Signals(-code).name
            words = "Out of memory: the kernel killed it." if starved else f"It was killed from outside ({name})."

        def note(found: Job) -> Job:
            if follow_up.name == "evaluation" and found.evaluation is not None:
                return found.having(evaluation=found.evaluation.having(state="failed", error=words))
            if follow_up.name == "publication" and found.publication is not None:
                return found.having(publication=found.publication.after_failure(words, len(WAITS)))
            return found

        self.store.change(follow_up.job.id, note)


def signs_of_life(log: Path, run: Path) -> tuple[float, ...]:
    """Sizes and modification times of the files that a live trainer changes; compared only with each other, never with a clock."""
    signs: list[float] = []
    for path in (log, *sorted(run.glob(f"**/{PROGRESS}"))):
        try:
            status = path.stat()
        except OSError:
            continue
        signs += [status.st_size, status.st_mtime_ns]
    return tuple(signs)


def main() -> int:
    """Entry point of the runner process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    Runner(JobStore(Path(sys.argv[1]))).work()
    return 0


if __name__ == "__main__":
    sys.exit(main())
