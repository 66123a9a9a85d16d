"""sim2street publish: publish a checkpoint on the Hugging Face Hub."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("publish", help="publish a checkpoint on the Hugging Face Hub")
    parser.add_argument("checkpoint", metavar="NAME|DIR", help="name in the catalog, or folder")
    parser.add_argument("repo_id", metavar="OWNER/NAME", help="repository on the Hub; created if missing")
    parser.add_argument("--private", action="store_true", help="make it private")
    parser.add_argument("--tag", help="name of this version, such as v1")
    parser.add_argument("--dry-run", action="store_true", help="check everything and print the card; send nothing")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Publish, and record the commit in the Spacefile if it lists this checkpoint."""
    from sim2street.models.storage.catalog import find_checkpoint
    from sim2street.models.storage.files import CARD
    from sim2street.models.storage.spacefile import DEFAULT, record_publication
    from sim2street.training.hosting.publish import publication, publish

    checkpoint = find_checkpoint(options.checkpoint)
    published = publish(checkpoint, options.repo_id, private=options.private, tag=options.tag, dry_run=options.dry_run)
    if options.dry_run:
        files = publication(checkpoint, options.repo_id)
        card = files[CARD]
        assert isinstance(card, bytes)
        print(card.decode())
        sizes = {name: item.stat().st_size if isinstance(item, Path) else len(item) for name, item in files.items()}
        listed = ", ".join(f"{name} ({size:,} bytes)" for name, size in sizes.items())
        print(f"Dry run: would commit {listed} to {published.url}. Nothing was sent.")
        return 0
    tag = f" ({published.tag})" if published.tag else ""
    print(f"{published.url}: published at {published.revision}{tag}")
    if DEFAULT.exists() and record_publication(DEFAULT, checkpoint.path, published.repo_id, published.revision):
        print(f"{DEFAULT.name} now names this commit. Run `sim2street space readme --write` and commit the changes.")
    return 0
