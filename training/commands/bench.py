"""sim2street bench: measure this project's speed against other libraries, in a checkout of the repository."""

from __future__ import annotations

import argparse
import subprocess
import sys

from sim2street import ROOT, child_environment
from sim2street.models.errors import ConfigError
from sim2street.training.commands.arguments import parse_positive


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("bench", help="measure speed against other libraries, in processor time")
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="only rows that contain one of these, such as segformer"
    )
    parser.add_argument(
        "--rounds", type=parse_positive, default=9, help="how often both sides are measured (default 9)"
    )
    parser.add_argument("--quick", action="store_true", help="one round on small pictures, to see that everything runs")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table from a process of its own, which computes on one thread from its start."""
    if not (ROOT / "benchmarks" / "speed.py").is_file():
        raise ConfigError(
            f"sim2street bench runs the folder benchmarks of the repository, which is not in {ROOT}. Clone the repository"
            ' and install it there: pip install -e ".[app,train,bench]".'
        )
    command = [sys.executable, "-m", "benchmarks.speed", *options.words, "--rounds", str(options.rounds)]
    command += ["--quick"] if options.quick else []
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env={**child_environment(), **one_thread}, check=False).returncode
