"""sim2street import: convert weights released by a paper's authors into a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sim2street.models.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from sim2street.models.importers import WeightsFile
    from sim2street.models.importers.releases import Release

FAMILIES = ("advent", "adaptsegnet", "cycada", "daformer", "hrda", "mic", "segformer", "vfm_uda", "eomt", "mask2former")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("import", help="convert weights released by a paper's authors into a checkpoint")
    parser.add_argument("family", choices=FAMILIES, metavar="FAMILY", help=", ".join(FAMILIES))
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="the file as downloaded; for segformer, vfm_uda, eomt and mask2former also a repository id on the Hub",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the checkpoint")
    parser.add_argument(
        "--published",
        metavar="NAME",
        help="which released weights these are; without FILE they are fetched, if the authors give a direct link",
    )
    parser.add_argument(
        "--ensemble", action="store_true", help="average the logits of several files of the same network"
    )
    parser.add_argument("--title", default="", help="display name")
    parser.add_argument("--source", default="", help="labelled source data set, such as gta5")
    parser.add_argument("--target", default="", help="unlabelled target data set, such as cityscapes")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fetch, read, check, write."""
    from sim2street.models.importers import FAMILIES as KNOWN
    from sim2street.models.importers import import_checkpoint, refuse_place
    from sim2street.models.importers.releases import published

    entry = published(options.published, options.family) if options.published else None
    averaged = options.ensemble or bool(entry and entry.members)
    expected = len(entry.members) if entry and entry.members else (2 if averaged else 1)
    if options.files and averaged and len(options.files) < expected:
        raise ConfigError(f"An ensemble needs {expected} or more files of the same network; got {len(options.files)}.")
    if len(options.files) > 1 and not averaged:
        raise ConfigError(
            "Several files can be imported only as an ensemble that averages their logits: add --ensemble."
        )
    if not options.files and entry is None:
        raise ConfigError("Name a file to import, or released weights with --published NAME.")
    refuse_place(options.out)  # before gigabytes are fetched
    print(f"{KNOWN[options.family].title}, licence: {KNOWN[options.family].licence}")
    files = _given(options.family, options.files) if options.files else _fetched(entry)
    checkpoint = import_checkpoint(
        options.family,
        files,
        options.out,
        published=entry,
        title=options.title,
        source=options.source,
        target=options.target,
    )
    record = checkpoint.config.imported
    assert record is not None
    for reason, count in record.left_out.items():
        print(f"left out: {count} tensors, {reason}")
    print(f"{checkpoint.path}: {checkpoint.config.network}, sha256 {checkpoint.config.weights_sha256}")
    return 0


def _given(family: str, names: list[str]) -> list[WeightsFile]:
    """Files on disk, or on the Hub if the family is released there."""
    from sim2street.models.importers import FAMILIES as KNOWN
    from sim2street.models.importers import WeightsFile
    from sim2street.models.importers.download import fetch_from_hub
    from sim2street.models.storage.hub import is_repository

    on_hub = KNOWN[family].hub_files

    files = []
    for name in names:
        path = Path(name)
        if on_hub and is_repository(name) and not path.exists() and not path.parent.is_dir():
            files.append(WeightsFile(fetch_from_hub(name, on_hub, with_config=True), f"https://huggingface.co/{name}"))
        elif path.is_file():
            files.append(WeightsFile(path))
        else:
            found = "a folder" if path.is_dir() else "nothing"
            raise CheckpointError(f"{path}: expected a file of weights; found {found}.")
    return files


def _fetched(entry: Release | None) -> list[WeightsFile]:
    """The files of released weights, from their authors' servers."""
    from sim2street.models.importers.releases import RELEASES

    assert entry is not None
    parts = [RELEASES[member] for member in entry.members] or [entry]
    by_hand = (
        f"open {entry.page}, download the {'files' if entry.members else 'file'}, and run"
        f" sim2street import {entry.family} {' '.join('FILE' for _ in parts)} --published {entry.name} --out DIR."
    )
    # Checked first, so that no file is fetched in vain.
    if shut := [part.name for part in parts if not (part.url or part.repository)]:
        raise CheckpointError(f"There is no direct link to {' and '.join(shut)}: {by_hand}")
    try:
        return [_fetch(part) for part in parts]
    except CheckpointError as error:
        raise CheckpointError(f"{error} If it cannot be fetched from here, {by_hand}") from error


def _fetch(entry: Release) -> WeightsFile:
    """One file, from its direct link or from the Hub."""
    from sim2street.models.importers import FAMILIES as KNOWN
    from sim2street.models.importers import WeightsFile
    from sim2street.models.importers.download import fetch, fetch_from_hub
    from sim2street.training.selection import progress_bar

    if entry.repository:
        return WeightsFile(
            fetch_from_hub(entry.repository, KNOWN[entry.family].hub_files, with_config=True), entry.page
        )
    with progress_bar(f"fetching {entry.name}") as progress:
        return WeightsFile(fetch(entry.url, progress=progress), entry.url)
