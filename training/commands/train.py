"""sim2street train: train a recipe, or resume a run."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from sim2street.models.errors import ConfigError, Interrupted

if TYPE_CHECKING:
    from sim2street.models.storage.checkpoint import Checkpoint
    from sim2street.training.config import RunConfig


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("train", help="train a recipe into a checkpoint")
    parser.add_argument("recipe", nargs="?", help="name of a shipped recipe, or a TOML file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change a value, such as steps=200 or optimisers.segmenter.rate=1e-4; repeatable",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the run (default runs/RECIPE)")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="resume the run in this folder")
    parser.add_argument(
        "--allow-changes",
        action="store_true",
        help="with --resume: continue even if data or settings differ from those the run started with",
    )
    parser.add_argument("--publish", metavar="OWNER/NAME", help="publish the finished checkpoint on the Hub")
    parser.add_argument(
        "--check",
        action="store_true",
        help="train nothing; report whether the run could start, what it needs and how long it would take",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train a recipe, resume a run, or check whether it could start (exit code 2 if not)."""
    from sim2street.training.config import RunConfig, load_recipe

    if importlib.util.find_spec("accelerate") is None:
        raise ConfigError('Training needs accelerate: pip install -e ".[train]"')
    from sim2street.models.storage.files import CONFIG, RUN_FOLDER, WEIGHTS
    from sim2street.training.hosting.publish import check_names, require_write_token
    from sim2street.training.run.folder import STATE
    from sim2street.training.run.loop import train

    if options.recipe is None:
        if options.resume is None:
            raise ConfigError("Name a recipe to train, or a run to resume: sim2street train RECIPE | --resume DIR.")
        if options.overrides:
            raise ConfigError(
                "--set cannot change a run that has started; leave it out, or start a new run from a recipe."
            )
        if (options.resume / WEIGHTS).is_file():  # its config.json is that of a checkpoint
            raise ConfigError(
                f"{options.resume} is a checkpoint, not a run. Name the folder of its run, which contains {RUN_FOLDER}/; or"
                f" train a recipe with --set initialisation={options.resume}."
            )
        try:
            config = RunConfig.read(options.resume / CONFIG)
        except ConfigError as error:
            raise ConfigError(f"{options.resume} does not contain a run: {error}") from error
    else:
        config = load_recipe(options.recipe, options.overrides)
    if options.resume is not None and options.out is not None:
        raise ConfigError("--out is for a new run and --resume for an existing one; give only one of them.")
    if options.publish is not None:  # hours of training should not end at a missing token
        check_names(options.publish)
        require_write_token()
    out = options.resume or options.out or Path("runs") / config.name
    if options.check:
        if options.resume is not None:
            raise ConfigError("--check is for a run that has not started; leave out --resume.")
        return report_check(config, out)
    if options.allow_changes and options.resume is None:
        raise ConfigError("--allow-changes is for an existing run; name it with --resume.")
    try:
        checkpoint = train(config, out, resume=options.resume is not None, allow_changes=options.allow_changes)
    except KeyboardInterrupt:
        if any(out.rglob(STATE)):
            raise
        raise Interrupted(
            "Stopped before the first step; nothing of the run was saved. The same command starts it again."
        ) from None
    if checkpoint is not None:
        print(f"{checkpoint.path}: step {checkpoint.config.step}, sha256 {checkpoint.config.weights_sha256}")
        if options.publish is not None:
            publish_trained(checkpoint, options.publish)
    return 0


def publish_trained(checkpoint: Checkpoint, repo_id: str) -> None:
    """Publish the checkpoint just trained; if that fails, keep it and say how to try again."""
    from sim2street.training.hosting.publish import PublishError, publish

    try:
        published = publish(checkpoint, repo_id)
    except PublishError as error:
        raise PublishError(
            f"{error} The checkpoint itself is finished; publish it with:"
            f" sim2street publish {checkpoint.path} {repo_id}"
        ) from error
    print(f"{published.url}: published at {published.revision}")


def report_check(config: RunConfig, out: Path) -> int:
    """Print each finding of a check as it arrives; return 2 if the run could not start."""
    from sim2street.training.run.check import Verdict, check_run

    could_start = True
    for finding in check_run(config, out):
        print(f"{finding.verdict.value:<9}  {finding.subject}: {finding.text}", flush=True)
        could_start &= finding.verdict is not Verdict.PROBLEM
    print("The run could start." if could_start else "The run could not start.")
    return 0 if could_start else 2
