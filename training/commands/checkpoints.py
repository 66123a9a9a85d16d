"""sim2street checkpoints: list the catalog."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim2street.models.storage.checkpoint import Checkpoint


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("checkpoints", help="list the available checkpoints")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List the catalog."""
    from sim2street.models.storage.catalog import catalog

    entries = catalog()
    if options.json:
        print(json.dumps([_describe(entry.checkpoint, entry.name, entry.error) for entry in entries], indent=2))
        return 0
    if not entries:
        print("There are no checkpoints yet. Train one: sim2street train RECIPE")
    for entry in entries:
        if entry.checkpoint is None:
            print(f"{entry.name}\n    broken: {entry.error}")
            continue
        config = entry.checkpoint.config
        figures = ", ".join(
            f"{name} {100 * report['miou']:.1f}"
            for name, report in entry.checkpoint.metrics.items()
            if report.get("miou")
        )
        sources = " + ".join(dict.fromkeys(config.source.split(" + ")))  # the same look may be rendered at two sizes
        arrow = sources + (f" -> {config.target}" if config.target else "")
        print(f"{entry.name}\n    {config.title} · {config.network} · {arrow} · step {config.step} · {config.licence}")
        if figures:
            print(f"    mIoU: {figures}")
    return 0


def _describe(checkpoint: Checkpoint | None, name: str, error: str | None) -> dict[str, Any]:
    if checkpoint is None:
        return {"name": name, "error": error}
    config = checkpoint.config
    return {
        "name": name,
        "title": config.title,
        "method": config.method,
        "network": config.network,
        "source": config.source,
        "target": config.target,
        "step": config.step,
        "licence": config.licence,
        "metrics": checkpoint.metrics,
        "weights_sha256": config.weights_sha256,
    }
