"""sim2street render: render street scenes to disk."""

from __future__ import annotations

import argparse
from pathlib import Path

from sim2street.training.commands.arguments import parse_count, parse_size, parse_whole


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("render", help="render labelled street scenes in the Cityscapes layout")
    parser.add_argument("--style", default="game", help="look of the scenes (default game)")
    parser.add_argument("--count", type=parse_whole, default=100, help="how many scenes (default 100)")
    parser.add_argument("--size", type=parse_size, default=(512, 256), metavar="WxH", help="default 512x256")
    parser.add_argument("--seed", type=parse_whole, default=0, help="which streets (default 0)")
    parser.add_argument("--split", default="train", help="split folder to write (default train)")
    parser.add_argument("--workers", type=parse_count, default=0, help="processes that render (default this one)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to fill; resumable")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Render street scenes to disk."""
    from sim2street.training.datasets.writer import write_street_scenes
    from sim2street.training.selection import progress_bar

    with progress_bar(f"rendering {options.style}") as report:
        rendered = write_street_scenes(
            options.style,
            options.count,
            options.size,
            options.seed,
            options.out,
            split=options.split,
            workers=options.workers,
            progress=report,
        )
    print(f"{options.out}: {rendered} scenes rendered, {options.count - rendered} already there.")
    return 0
