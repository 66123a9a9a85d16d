"""sim2street export: write a checkpoint's network as a file for other engines."""

from __future__ import annotations

import argparse
from pathlib import Path

from sim2street.training.commands.arguments import parse_size


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("export", help="write a checkpoint's network as ONNX or TorchScript")
    parser.add_argument("checkpoint", metavar="NAME|DIR|REPO_ID", help="one that reads a photo whole")
    parser.add_argument("--to", required=True, choices=("onnx", "torchscript"), help="onnx needs the extra export")
    parser.add_argument("--size", type=parse_size, metavar="WxH", help="fix the input's size (default: any size)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="ends in .onnx or .pt")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Export one checkpoint."""
    from sim2street.models.storage.catalog import find_checkpoint
    from sim2street.models.storage.files import in_units, size_of
    from sim2street.training.export import card_of, export

    card = export(find_checkpoint(options.checkpoint), options.to, options.out, options.size)
    print(
        f"{options.out}: {in_units(size_of(options.out))}, within {card['checked']['largest_difference']:.1e} of our own"
        f" probabilities on three photos. {card_of(options.out).name} says how to use it. Licence: {card['licence']}."
    )
    return 0
