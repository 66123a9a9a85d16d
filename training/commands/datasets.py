"""sim2street datasets: what there is of a data set on this disk."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sim2street.models.errors import ConfigError
from sim2street.training.commands.arguments import parse_count

if TYPE_CHECKING:
    from sim2street.training.datasets.inspection import PartInspection


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command and its one action."""
    parser = commands.add_parser("datasets", help="inspect data sets on this disk")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="report what is there, what is missing, and how often classes occur")
    check.add_argument("name", metavar="NAME", help="such as gta5, synthia, cityscapes, acdc, dark_zurich or idd")
    check.add_argument("--root", metavar="DIR", help="folder of the data set")
    check.add_argument("--split", help="the only part to look at")
    check.add_argument("--label-space", help="of a labelled folder's label images (default cityscapes19)")
    check.add_argument(
        "--images", type=parse_count, default=200, help="most pictures opened per part, 0 for all (default 200)"
    )
    check.add_argument(
        "--write", action="store_true", help="of a folder: write a first data.toml from what its label images hold"
    )
    check.add_argument("--json", type=Path, metavar="FILE", help="write the findings")
    check.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Inspect a data set; exit code 2 if a part of it cannot be used."""
    from sim2street.models.storage.files import write_json
    from sim2street.training.datasets.inspection import inspect_dataset
    from sim2street.training.selection import progress_bar

    if options.label_space is not None and options.name != "folder":
        raise ConfigError(f"--label-space is for labelled folders; {options.name} knows its own classes.")
    more = {} if options.label_space is None else {"classes": options.label_space}
    if options.write:
        _write_data_file(options)
    with progress_bar(f"inspecting {options.name}") as progress:
        parts = inspect_dataset(
            options.name, options.root, options.split, images=options.images, progress=progress, **more
        )
    for part in parts:
        print("\n".join(_lines(part)))
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.json, {part.split: part.to_json() for part in parts})
    return 2 if any(part.problem or part.unreadable for part in parts) else 0


def _write_data_file(options: argparse.Namespace) -> None:
    """Write `data.toml` into a folder, unless there is one."""
    from sim2street.models.errors import ConfigError
    from sim2street.models.storage.files import written_whole
    from sim2street.training.datasets.data_file_draft import look_at
    from sim2street.training.datasets.labelled_folder import DATA_FILE, LabelledFolder
    from sim2street.training.selection import progress_bar

    if options.name != LabelledFolder.name:
        raise ConfigError(f"--write is for the data set folder; {options.name} is read as its authors lay it out.")
    path = LabelledFolder.find_root(options.root) / DATA_FILE
    if path.exists():
        raise ConfigError(f"{path} is there already and stays as it is: remove it first, or leave out --write.")
    with progress_bar(f"looking at {options.root}") as progress:
        look = look_at(options.root, images=options.images, progress=progress)
    with written_whole(path) as partial:
        partial.write_text(look.text, encoding="utf-8")
    print("\n".join([f"wrote {path}:", *(f"    {finding}" for finding in look.findings)]))


def _lines(part: PartInspection) -> list[str]:
    lines = [f"{part.split}: {part.photos} photos, {'labelled' if part.labelled else 'without labels'}"]
    if part.problem:
        lines.append(f"    {part.problem}")
    if part.inspected:
        sizes = ", ".join(f"{count} of {size}" for size, count in part.sizes.items())
        lines.append(f"    opened {part.inspected}: {sizes}")
    lines += [f"    {remark}" for remark in part.remarks]
    if part.resized:
        lines.append(f"    {part.resized} labels differ from their photo in size; they are resized when read")
    if part.turned:
        lines.append(f"    {part.turned} photos are turned by their EXIF orientation, and their labels with them")
    if part.dark:
        lines.append(f"    {part.dark} photos are nearly black: do their values use only part of the range?")
    if part.unreadable:
        lines.append(f"    {part.unreadable_total} of them cannot be used:")
    lines += [f"    {sentence}" for sentence in part.unreadable]
    if part.shares:
        present = sorted(part.shares.items(), key=lambda item: -item[1])
        shares = ", ".join(f"{name} {100 * share:.2f}" for name, share in present if share)
        absent = ", ".join(name for name, share in present if not share)
        lines.append(f"    share of labelled pixels in percent: {shares}; {100 * part.ignored:.1f} carry no class")
        lines += [f"    in none of these pictures: {absent}"] if absent else []
    return lines
