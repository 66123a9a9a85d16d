"""sim2street translate: translate a data set with the generator of a CyCADA run."""

from __future__ import annotations

import argparse
from pathlib import Path

from sim2street.models.errors import ConfigError
from sim2street.training.commands.arguments import add_data_set, check_device, open_named, parse_whole


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("translate", help="translate a data set with the generator of a CyCADA run")
    parser.add_argument("translator", type=Path, metavar="RUN", help="folder of the run, or of its translation stage")
    add_data_set(parser, scenes=8)
    parser.add_argument("--width", type=parse_whole, help="resize pictures to this width first, such as 1024")
    parser.add_argument("--back", action="store_true", help="translate from target to source instead")
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best available)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to fill; resumable")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Translate a data set into a folder in Cityscapes' layout."""
    from sim2street.training.selection import progress_bar
    from sim2street.training.translate import translate

    if options.width is not None and not 16 <= options.width <= 16384:
        raise ConfigError(f"--width is {options.width}; expected 16 to 16384 pixels.")
    dataset = open_named(options)
    with progress_bar("translating") as progress:
        painted = translate(
            options.translator,
            dataset,
            options.out,
            direction="to_source" if options.back else "to_target",
            split=options.split or "train",
            width=options.width,
            device=check_device(options.device),
            progress=progress,
        )
    print(f"{options.out}: {painted} pictures translated, {len(dataset) - painted} already there; see preview.png.")
    return 0
