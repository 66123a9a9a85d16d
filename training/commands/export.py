"""sim2street export: write a checkpoint's network as a file for other engines."""

from __future__ import annotations

import argparse
from pathlib import Path

from sim2street.training.commands.arguments import parse_size


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "export", help="write a checkpoint's network for OpenVINO, ONNX Runtime or TorchScript"
    )
    parser.add_argument("checkpoint", metavar="NAME|DIR|REPO_ID", help="one that reads a photo whole")
    parser.add_argument(
        "--to",
        required=True,
        choices=("onnx", "openvino", "torchscript"),
        help="onnx needs the extra export, openvino the extra openvino",
    )
    parser.add_argument("--size", type=parse_size, metavar="WxH", help="fix the input's size (default: any size)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="ends in .onnx, .xml (OpenVINO) or .pt (TorchScript)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Export one checkpoint."""
    from sim2street.models.exported import FORMATS, card_of
    from sim2street.models.storage.catalog import find_checkpoint
    from sim2street.models.storage.files import in_units, size_of
    from sim2street.training.export import export

    card = export(find_checkpoint(options.checkpoint), options.to, options.out, options.size)
    size = sum(size_of(file) for file in FORMATS[options.to].files(options.out))
    print(
        f"{options.out}: {in_units(size)}, within {card.checked['largest_difference']:.1e} of our own probabilities on three"
        f" photos. {card_of(options.out).name} says how to use it. Licence: {card.config.licence}."
    )
    return 0
