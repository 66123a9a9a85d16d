"""sim2street jobs: submit, list, show, follow, cancel and retry trainings that outlive the terminal."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING

from sim2street.models.errors import ConfigError
from sim2street.training.commands.arguments import add_places, chosen_place, parse_number, parse_whole

if TYPE_CHECKING:
    from sim2street.training.jobs.record import Job
    from sim2street.training.jobs.store import JobStore


_OTHERS = {"hub": "on Hugging Face Jobs the flavour says how many GPUs train.", "slurm": "on SLURM say --gpus."}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command and its subcommands."""
    parser = commands.add_parser("jobs", help="train in the background: submit, list, show, logs, cancel, retry")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    submit = actions.add_parser("submit", help="queue a training and return")
    submit.add_argument("recipe", help="name of a shipped recipe, or a TOML file")
    submit.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    submit.add_argument("--processes", type=parse_whole, default=1, help="number of processes, one per GPU (default 1)")
    submit.add_argument("--machines", type=parse_whole, default=1, help="machines that train together (default 1)")
    submit.add_argument("--machine-rank", type=parse_whole, default=0, help="rank of this machine (default 0)")
    submit.add_argument("--main-address", default="127.0.0.1", help="address of machine 0")
    submit.add_argument("--main-port", type=parse_whole, default=29500, help="port of machine 0 (default 29500)")
    submit.add_argument(
        "--patience",
        type=parse_number,
        default=3600.0,
        metavar="SECONDS",
        help="a job silent for this long has hung (default 3600)",
    )
    submit.add_argument("--publish", metavar="OWNER/NAME", help="publish the finished checkpoint on the Hub")
    add_places(submit)
    submit.set_defaults(act=submit_job)

    listing = actions.add_parser("list", help="list all jobs, latest first")
    listing.add_argument(
        "--hub", metavar="ACCOUNT", help="first find this account's jobs on Hugging Face Jobs by their labels"
    )
    listing.add_argument("--json", action="store_true", help="print a list of objects")
    listing.set_defaults(act=list_jobs)
    for name, act, words in (
        ("show", show_job, "show a job's state, progress and figures"),
        ("logs", show_log, "print the end of a job's log"),
        ("cancel", cancel_job, "save a job's state and stop it"),
        ("retry", retry_job, "resume a job from its last saved state"),
    ):
        action = actions.add_parser(name, help=words)
        action.add_argument("job", help="job id, as printed by `jobs list`, or its number")
        if name == "logs":
            action.add_argument(
                "--follow", action="store_true", help="follow the log until the job ends; Ctrl-C only stops following"
            )
        action.set_defaults(act=act)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make sure that a runner is alive, then run the subcommand."""
    from sim2street.training.jobs import local
    from sim2street.training.jobs.store import JobStore

    store = JobStore()
    local.attend(store)
    if "job" in options:
        options.job = store.named(options.job)
    return options.act(store, options) or 0


def submit_job(store: JobStore, options: argparse.Namespace) -> None:
    """Queue a training."""
    from sim2street.training.config import load_recipe
    from sim2street.training.jobs.places import PLACES

    config = load_recipe(options.recipe, options.overrides)
    where, place = chosen_place(options)
    values = {"by": "command line", "patience_seconds": options.patience, **place}
    together = {
        "count": options.processes,
        "machines": options.machines,
        "machine_rank": options.machine_rank,
        "main_address": options.main_address,
        "main_port": options.main_port,
    }
    if where == "local":
        values["processes"] = together
    elif options.processes > 1 or options.machines > 1:
        raise ConfigError(f"--processes and --machines are for this machine; {_OTHERS[where]}")
    if options.publish is not None:
        values["publication"] = {"repo_id": options.publish}
    job = PLACES[where](store).submit(config, **values)
    print(job.id)


def list_jobs(store: JobStore, options: argparse.Namespace) -> None:
    """List all jobs."""
    if options.hub is not None:
        from sim2street.training.jobs.hub import HubRunner

        HubRunner(store).rebuild(options.hub)
    jobs = [_fresh(store, job) for job in store.jobs()]
    if options.json:
        print(json.dumps([job.model_dump(mode="json") for job in jobs], indent=2))
        return
    if not jobs:
        print("There are no jobs yet. Submit one: sim2street jobs submit RECIPE")
    for job in jobs:
        print(_line(store, job))


def show_job(store: JobStore, options: argparse.Namespace) -> None:
    """Show one job."""
    from sim2street.training.jobs.places import in_words
    from sim2street.training.jobs.progress import read_progress

    job = _fresh(store, store.get(options.job))
    print(_line(store, job))
    print(f"    on {in_words(job)}, folder: {store.place(job.id)}")
    progress = read_progress(store.config(job.id), store.run(job.id))
    for term, (_, values) in progress.losses.items():
        print(f"    {term}: {values[-1]:.4g}")
    for label, (steps, reports) in progress.figures.items():
        miou = reports[-1].get("miou")
        print(f"    mIoU on {label}: {'–' if miou is None else f'{100 * miou:.1f}'} at step {steps[-1]}")
    if progress.seconds_left and not job.state.ended:
        print(f"    left: {progress.seconds_left / 60:.0f} minutes at the present pace")


def show_log(store: JobStore, options: argparse.Namespace) -> None:
    """Print the end of a log, and follow it until the job ends if asked to."""
    from sim2street.training.jobs import log
    from sim2street.training.jobs.hub import HubRunner
    from sim2street.training.jobs.store import LOG

    job = store.get(options.job)
    if job.where == "hub":
        for line in HubRunner(store).log(job, follow=options.follow):
            print(line, flush=True)
        return
    path, seen = store.place(job.id) / LOG, list[str]()
    while True:
        ended = _fresh(store, store.get(job.id)).state.ended
        lines = log.tail(path, 200)
        for line in log.new_lines(seen, lines):
            print(line, flush=True)
        seen = lines
        if ended or not options.follow:
            return
        time.sleep(1)


def cancel_job(store: JobStore, options: argparse.Namespace) -> None:
    """Ask a job to save and stop."""
    from sim2street.training.jobs.places import place_of

    answer = place_of(store, options.job).cancel(options.job)
    print(f"{answer.id} {answer.state.value}: {answer.reason}")


def retry_job(store: JobStore, options: argparse.Namespace) -> None:
    """Resume a job that has ended."""
    from sim2street.training.jobs.places import place_of

    answer = place_of(store, options.job).retry(options.job)
    print(f"{answer.id} {answer.state.value}")


def _fresh(store: JobStore, job: Job) -> Job:
    from sim2street.training.jobs.places import place_of

    return job if job.state.ended else place_of(store, job.id).refresh(job.id)


def _line(store: JobStore, job: Job) -> str:
    from sim2street.models.errors import Sim2StreetError
    from sim2street.training.jobs.progress import Progress, read_progress

    try:
        progress = read_progress(store.config(job.id), store.run(job.id))
    except Sim2StreetError:
        progress = Progress(0, job.steps)
    return f"{job.id}  {job.state.value}  {progress.step} of {job.steps} steps{f'  {job.reason}' if job.reason else ''}"
