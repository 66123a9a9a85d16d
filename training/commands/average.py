"""sim2street average: write a checkpoint whose weights are the mean of others'."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "average", help="average the weights of checkpoints that were trained from one another"
    )
    parser.add_argument(
        "checkpoints", nargs="+", metavar="NAME|DIR|REPO_ID", help="at least two; one that is given twice counts twice"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the new checkpoint")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Average checkpoints.

    Raises:
        ConfigError: the folder has content already, or the checkpoints do not suit one another.
        RunFolderError: another process is writing into the folder.
    """
    from sim2street.models.errors import ConfigError
    from sim2street.models.storage.catalog import find_checkpoint
    from sim2street.models.storage.checkpoint import Checkpoint
    from sim2street.models.storage.files import visible
    from sim2street.training.average import average
    from sim2street.training.hosting.card import write_card
    from sim2street.training.run.folder import sole_use

    if options.out.exists() and (not options.out.is_dir() or visible(options.out)):
        raise ConfigError(f"{options.out} exists already; choose another folder, or delete this one.")
    with sole_use(options.out):
        segmenter, config = average([find_checkpoint(name) for name in options.checkpoints])
        written = Checkpoint.save(options.out, segmenter, config, card=write_card(config, "", {}))
    print(f"{written.path}: the mean of {', '.join(written.config.averaged)}. Evaluate it before you use it.")
    return 0
