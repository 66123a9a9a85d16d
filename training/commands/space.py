"""sim2street space: check the Spacefile, write the Space's README, compare and deploy."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sim2street import IS_CHECKOUT
from sim2street.models.errors import ConfigError
from sim2street.models.storage.files import in_units

if TYPE_CHECKING:
    from sim2street.models.storage.spacefile import Spacefile


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command and its four actions."""
    parser = commands.add_parser("space", help="manage the hosted Space: check, write its README, compare, deploy")
    parser.add_argument("--file", type=Path, metavar="SPACEFILE", help="default: the project's own")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("check", help="check the Spacefile and everything it names, offline")
    readme = actions.add_parser("readme", help="fail if space/ does not match the Spacefile")
    readme.add_argument("--write", action="store_true", help="update space/ instead")
    actions.add_parser("diff", help="compare the Space on the Hub with the Spacefile")
    deploy = actions.add_parser("deploy", help="make the Space match the Spacefile")
    deploy.add_argument(
        "--dry-run", action="store_true", help="list everything in the Space, without contacting the Hub"
    )
    deploy.add_argument("--wait", action="store_true", help="return once the Space is running")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do one of the actions."""
    from sim2street.models.storage.spacefile import DEFAULT, read_spacefile

    path = (options.file or DEFAULT).resolve()
    spacefile = read_spacefile(path)
    actions = {"check": check, "readme": readme, "diff": diff, "deploy": deploy}
    return actions[options.action](spacefile, path.parent, options)


def check(spacefile: Spacefile, root: Path, options: argparse.Namespace) -> int:
    """Check everything that can be checked without the Hub."""
    from sim2street.models.storage.checkpoint import Checkpoint
    from sim2street.training.hosting.space import space_files

    files = space_files(spacefile, root)
    for model in spacefile.models:
        if model.path is not None and (root / model.path).is_dir():
            Checkpoint.open(root / model.path)
    print(
        f"{spacefile.space.id}: {spacefile.space.sdk} on {spacefile.hardware.flavor}, {len(spacefile.models)} checkpoints,"
        f" {len(files)} files, {in_units(sum(map(len, files.values())))}. The Spacefile is valid."
    )
    return 0


def readme(spacefile: Spacefile, root: Path, options: argparse.Namespace) -> int:
    """Compare or write the generated files."""
    from sim2street.training.hosting.space import drifted_files, write_generated

    if options.file is None and not IS_CHECKOUT:
        raise ConfigError(
            "space/ belongs to the repository and is no part of an installed package. Run this in a checkout, or name a"
            " Spacefile of your own: sim2street space --file SPACEFILE readme."
        )
    folder = root / "space"
    if options.write:
        changed = write_generated(spacefile, root, folder)
        print("\n".join(f"wrote space/{name}" for name in changed) or "space/ is up to date.")
        return 0
    drifted = drifted_files(spacefile, root, folder)
    if drifted:
        raise ConfigError(
            f"{', '.join(f'space/{name}' for name in drifted)} does not match the Spacefile; run"
            " `sim2street space readme --write`."
        )
    print("space/ matches the Spacefile.")
    return 0


def diff(spacefile: Spacefile, root: Path, options: argparse.Namespace) -> int:
    """Print how the Space differs."""
    from sim2street.training.hosting.space import compare

    space_id, lines = compare(spacefile, root)
    print("\n".join([f"{space_id}:", *lines]) if lines else f"{space_id} matches the Spacefile.")
    return 0


def deploy(spacefile: Spacefile, root: Path, options: argparse.Namespace) -> int:
    """Deploy, or list what would be deployed."""
    from sim2street.training.hosting.space import declared_state, differences, space_files
    from sim2street.training.hosting.space import deploy as bring

    if options.dry_run:
        files = space_files(spacefile, root)
        lines = list(differences(declared_state(spacefile, files), None))
        print("\n".join(lines))
        print(f"Dry run: {len(files)} files, {in_units(sum(map(len, files.values())))}. Nothing was sent.")
        return 0
    url, done = bring(spacefile, root, wait=options.wait)
    print("\n".join([*done, url]) if done else f"{url} already matches the Spacefile; nothing was sent.")
    return 0
