"""What several commands take: numbers, sizes, checkpoints, devices."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from sim2street.models.errors import ConfigError

if TYPE_CHECKING:
    from sim2street.models.storage.checkpoint import Checkpoint
    from sim2street.training.datasets.base import SegmentationDataset


def parse_whole(text: str) -> int:
    """Read a whole number; which ones fit is said by whoever takes it."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}") from None


def parse_number(text: str) -> float:
    """Read a number; which ones fit is said by whoever takes it."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, found {text!r}") from None


def parse_count(text: str) -> int:
    """Read a whole number that is not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of 0 or more, found {text!r}")
    return int(text)


def parse_positive(text: str) -> int:
    """Read a whole number of at least 1."""
    if parse_count(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, found {text!r}")
    return int(text)


def parse_port(text: str) -> int:
    """Read the number of a port."""
    port = parse_count(text)
    if port > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; expected a number up to 65535")
    return port


def parse_size(text: str) -> tuple[int, int]:
    """Read `512x256` as (512, 256)."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 512x256, found {text!r}")
    return int(width), int(height)


def add_data_set(parser: argparse.ArgumentParser, *, scenes: int) -> None:
    """Describe the options that name a labelled set; `scenes` is how many street scenes there are by default."""
    parser.add_argument(
        "--dataset",
        required=True,
        help="such as camvid, cityscapes, acdc, dark_zurich, idd, gta5, folder or street_scenes",
    )
    parser.add_argument("--root", metavar="DIR", help="folder of the data set")
    parser.add_argument("--split", help="part of the data set, such as val")
    parser.add_argument(
        "--label-space",
        help="of a labelled folder: a name such as idd_lite7, or a file (default: as its data.toml says)",
    )
    parser.add_argument("--style", help="look of street scenes (default game)")
    parser.add_argument("--count", type=parse_count, help=f"how many street scenes (default {scenes})")
    parser.add_argument("--seed", type=parse_count, help="which street scenes (default 0)")
    parser.add_argument("--size", type=parse_size, metavar="WxH", help="of street scenes (default 512x256)")
    parser.set_defaults(scenes=scenes)


def open_named(options: argparse.Namespace) -> SegmentationDataset:
    """Open the set that the options of `add_data_set` name.

    Raises:
        ConfigError: an option of street scenes is given for another set, or a value is out of range.
        DatasetError: the set is not where it was looked for.
    """
    from sim2street.training.datasets import DATASETS, open_dataset

    kind = DATASETS.find(options.dataset)
    given = {key: value for key in ("style", "count", "seed", "size") if (value := getattr(options, key)) is not None}
    if kind.generated:
        given.setdefault("count", options.scenes)
    elif given:
        raise ConfigError(f"--{next(iter(given))} is for street_scenes only.")
    if options.label_space is not None:
        if "classes" not in kind.parameters():
            raise ConfigError(f"--label-space is for labelled folders; {options.dataset} knows its own classes.")
        given["classes"] = options.label_space
    return open_dataset(options.dataset, options.root, options.split, **given)


def add_places(parser: argparse.ArgumentParser) -> None:
    """Describe the options that say where a job trains; by default on this machine."""
    parser.add_argument("--hub", metavar="FLAVOUR", help="train on Hugging Face Jobs, such as l4x1")
    parser.add_argument("--namespace", default="", help="user or organisation billed for the job there")
    parser.add_argument("--slurm", action="store_true", help="train on a SLURM cluster; needs the extra slurm")
    parser.add_argument("--partition", metavar="NAME", help="partition of the cluster (default: the cluster's own)")
    parser.add_argument("--gpus", type=parse_count, metavar="N", help="GPUs on one node of the cluster (default 1)")
    parser.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a further option of sbatch, such as account=vision, mem=64G or gres=gpu:a100:2; repeatable",
    )
    parser.add_argument(
        "--timeout",
        type=parse_positive,
        default=240,
        metavar="MINUTES",
        help="time limit on Hugging Face Jobs or SLURM, where a job then goes on in a new one (default 240)",
    )


def chosen_place(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The place that the options of `add_places` name, and the fields of a job that its runner needs.

    Raises:
        ConfigError: two places are named, or an option is for another place.
    """
    from sim2street.training.jobs.record import sbatch_options

    if options.hub is not None and options.slurm:
        raise ConfigError("--hub and --slurm are two places; give only one of them.")
    for_slurm = {"partition": options.partition, "gpus": options.gpus, "sbatch": options.sbatch or None}
    if not options.slurm and (given := [name for name, value in for_slurm.items() if value is not None]):
        raise ConfigError(f"--{given[0]} is for a SLURM cluster; add --slurm, or leave it out.")
    if options.hub is not None:
        values = {"flavour": options.hub, "namespace": options.namespace, "timeout_minutes": options.timeout}
        return "hub", values
    if not options.slurm:
        return "local", {}
    cluster = {name: for_slurm[name] for name in ("partition", "gpus") if for_slurm[name] is not None}
    cluster["options"] = sbatch_options(options.sbatch)
    return "slurm", {"cluster": cluster, "timeout_minutes": options.timeout}


def chosen_checkpoints(names: list[str] | None) -> list[tuple[str, Checkpoint]]:
    """Checkpoints by the names given, or the whole catalog; broken ones are said and left out."""
    from sim2street.models.storage.catalog import catalog, find_checkpoint

    if names:
        return [(name, find_checkpoint(name)) for name in names]
    found: list[tuple[str, Checkpoint]] = []
    for entry in catalog():
        if entry.checkpoint is None:
            print(f"left out {entry.name}: {entry.error}", file=sys.stderr)
        else:
            found.append((entry.name, entry.checkpoint))
    if not found:
        raise ConfigError("There are no checkpoints to use. Train one (sim2street train RECIPE) and name its folder.")
    return found


def check_device(name: str | None) -> str | None:
    """Return the name of a device that works here, or raise `ConfigError`."""
    import torch

    if name is None:
        return None
    try:
        torch.zeros(1, device=name).item()  # read back: the meta device only pretends
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"The device {name!r} cannot be used here: {str(error).splitlines()[0]}.") from error
    return name
