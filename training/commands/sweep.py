"""sim2street sweep: train recipes with several seeds and score them on the same sets, in one table."""

from __future__ import annotations

import argparse
import functools
import importlib.util
import sys
from pathlib import Path

from sim2street.models.errors import ConfigError
from sim2street.training.commands.arguments import add_places, chosen_place, parse_positive


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("sweep", help="train recipes with several seeds and tabulate them")
    parser.add_argument("sweep", metavar="FILE", help="name of a shipped sweep, or a TOML file")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of all runs; finished runs in it are reused"
    )
    parser.add_argument("--row", action="append", default=[], metavar="NAME", help="run only this row; repeatable")
    parser.add_argument(
        "--earlier",
        type=Path,
        action="append",
        default=[],
        metavar="TABLE",
        help="an earlier table of this sweep whose finished runs are reused; repeatable, the first with a run wins",
    )
    parser.add_argument("--jobs", action="store_true", help="train as background jobs, which outlive this command")
    add_places(parser)
    parser.add_argument(
        "--publish", metavar="OWNER/NAME", help="with --hub: checkpoints are published as OWNER/NAME-ROW-SEED"
    )
    parser.add_argument(
        "--at-once", type=parse_positive, default=1, metavar="N", help="train N runs in parallel on one GPU (default 1)"
    )
    parser.add_argument("--evaluate-only", action="store_true", help="train nothing; score the checkpoints in DIR")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run a sweep; the exit code is 2 if a run failed."""
    if not options.evaluate_only and importlib.util.find_spec("accelerate") is None:
        raise ConfigError('Training needs accelerate: pip install -e ".[train]"')
    from sim2street.training.sweeps.definition import load_sweep
    from sim2street.training.sweeps.plan import Launcher, sweep_through
    from sim2street.training.sweeps.table import to_markdown

    launcher: Launcher | None = None
    if options.jobs and options.evaluate_only:
        raise ConfigError("--jobs is for training, but --evaluate-only trains nothing; give only one of them.")
    if options.at_once > 1 and (options.jobs or options.evaluate_only):
        other = "--jobs queues all runs" if options.jobs else "--evaluate-only trains nothing"
        raise ConfigError(f"--at-once {options.at_once} is for training here, but {other}; give only one of them.")
    where, place = chosen_place(options)
    if where != "local" and not options.jobs:
        raise ConfigError(f"--{where} trains in background jobs; add --jobs.")
    if (options.publish is not None) != (where == "hub"):
        raise ConfigError("--hub and --publish OWNER/NAME belong together: checkpoints come back through the Hub.")
    if options.jobs:
        from sim2street.training.sweeps.as_jobs import train_as_jobs

        launcher = functools.partial(train_as_jobs, where=where, repository=options.publish or "", **place)
    elif not options.evaluate_only:
        from sim2street.training.sweeps.runs import train_here

        launcher = functools.partial(train_here, at_once=options.at_once)
    sweep = load_sweep(options.sweep)
    # With --markdown, stdout holds only the table.
    stream = sys.stderr if options.markdown else sys.stdout
    table = sweep_through(
        sweep,
        options.out,
        launcher,
        rows=options.row,
        earlier=options.earlier,
        tell=lambda line: print(line, file=stream, flush=True),
    )
    if options.markdown:
        print(to_markdown(table), end="")
    print(f"{options.out / sweep.name}.json and .csv written.", file=stream)
    return 2 if any(run["state"] == "failed" for row in table["rows"] for run in row["runs"]) else 0
