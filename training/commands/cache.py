"""sim2street cache: list and remove copies that are kept for faster or offline reading."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from sim2street.models.errors import ConfigError
from sim2street.training.commands.arguments import parse_count

if TYPE_CHECKING:
    from sim2street.models.storage.cache import CacheEntry


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command and its two actions."""
    parser = commands.add_parser("cache", help="list or remove cached data sets and fetched weights")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list the cache, largest entry first")
    listing.add_argument("--json", action="store_true", help="print a list of objects")
    listing.set_defaults(act=list_entries)
    removal = actions.add_parser("remove", help="free disk space; entries needed again are rebuilt or fetched again")
    removal.add_argument("--all", action="store_true", help="remove everything")
    removal.add_argument("--dry-run", action="store_true", help="list what would be removed, without removing it")
    removal.set_defaults(act=remove)
    for action in (listing, removal):
        action.add_argument(
            "words", nargs="*", metavar="WORD", help="only entries with all these words, such as samples camvid 480x360"
        )
        action.add_argument(
            "--unused", type=parse_count, metavar="DAYS", help="only entries not used for this many days"
        )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List or remove."""
    from sim2street.models.storage.cache import cache_entries

    wanted = [word.strip().lower() for word in options.words]
    if "" in wanted:  # such as a shell variable that is not set
        raise ConfigError("One of the words is empty and would match every entry. Leave it out.")
    entries = [
        entry
        for entry in cache_entries()
        if all(word in f"{entry.kind} {entry.name}".lower() for word in wanted)
        and (options.unused is None or entry.days_unused() >= options.unused)
    ]
    return options.act(entries, options) or 0


def list_entries(entries: list[CacheEntry], options: argparse.Namespace) -> None:
    """Print the entries."""
    if options.json:
        print(json.dumps([_describe(entry) for entry in entries], indent=2))
        return
    _print(entries)
    _sum_up(entries, "in")


def remove(entries: list[CacheEntry], options: argparse.Namespace) -> int:
    """Remove the entries that were asked for; exit code 2 if one could not be removed.

    Raises:
        ConfigError: neither words nor `--unused` nor `--all` was given.
    """
    from sim2street.models.storage.cache import remove_entries

    if not (options.all or options.words or options.unused is not None):
        raise ConfigError(
            "Say what to remove: words of its name, --unused DAYS, or --all. `cache list` shows the entries."
        )
    if options.dry_run:
        _print(entries)
        _sum_up(entries, "would be removed from")
        return 0
    removed, stayed = remove_entries(entries)
    _print(removed)
    _sum_up(removed, "removed from")
    for sentence in stayed:
        print(sentence, file=sys.stderr)
    return 2 if stayed else 0


def _print(entries: list[CacheEntry]) -> None:
    from sim2street.models.storage.files import in_units

    for entry in entries:
        days = int(entry.days_unused())
        used = "used today" if days == 0 else f"used {days} day{'s' * (days > 1)} ago"
        print(f"{in_units(entry.size):>9}  {entry.kind:10}  {used:16}  {entry.name}")


def _sum_up(entries: list[CacheEntry], words: str) -> None:
    from sim2street.models.storage.cache import cache_folder
    from sim2street.models.storage.files import in_units

    total = in_units(sum(entry.size for entry in entries))
    print(f"{total} {words} {cache_folder()}, {len(entries)} {'entry' if len(entries) == 1 else 'entries'}.")


def _describe(entry: CacheEntry) -> dict[str, object]:
    return {
        "kind": entry.kind,
        "name": entry.name,
        "bytes": entry.size,
        "days_unused": round(entry.days_unused(), 2),
        "paths": [str(path) for path in entry.paths],
    }
