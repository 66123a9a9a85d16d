"""sim2street collection: group the published checkpoints and the Space on the Hub."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("collection", help="group the published checkpoints and the Space on the Hub")
    parser.add_argument("--file", type=Path, metavar="SPACEFILE", help="default: the project's own")
    parser.add_argument("--dry-run", action="store_true", help="list its items without contacting the Hub")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Create the collection, or add its missing items."""
    from sim2street.models.storage.spacefile import DEFAULT, read_spacefile
    from sim2street.training.hosting.collection import collection_items, gather

    spacefile = read_spacefile(options.file or DEFAULT)
    if options.dry_run:
        items = collection_items(spacefile, spacefile.space.id)
        print("\n".join(f"{kind:6s} {item}" for item, kind in items))
        print("Dry run: nothing was sent.")
        return 0
    url, items = gather(spacefile)
    print(f"{url}: {len(items)} items")
    return 0
