"""Data sets by name. Each knows where its files lie, what their values mean and how to get them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Final

from sim2street.models.errors import ConfigError, DatasetError
from sim2street.training.datasets.acdc import Acdc
from sim2street.training.datasets.base import Sample, SegmentationDataset
from sim2street.training.datasets.camvid import CamVid
from sim2street.training.datasets.cityscapes import Cityscapes
from sim2street.training.datasets.dark_zurich import DarkZurich
from sim2street.training.datasets.foggy_cityscapes import FoggyCityscapes
from sim2street.training.datasets.gta5 import Gta5
from sim2street.training.datasets.idd import Idd
from sim2street.training.datasets.labelled_folder import LabelledFolder
from sim2street.training.datasets.photo_folder import PhotoFolder
from sim2street.training.datasets.rendered import StreetScenes
from sim2street.training.datasets.synthia import Synthia

DATASETS: Final[dict[str, type[SegmentationDataset]]] = {
    "acdc": Acdc,
    "camvid": CamVid,
    "cityscapes": Cityscapes,
    "dark_zurich": DarkZurich,
    "foggy_cityscapes": FoggyCityscapes,
    "folder": LabelledFolder,
    "gta5": Gta5,
    "idd": Idd,
    "photos": PhotoFolder,
    "street_scenes": StreetScenes,
    "synthia": Synthia,
}

__all__ = ["DATASETS", "Sample", "SegmentationDataset", "open_dataset"]


def open_dataset(
    name: str, root: str | Path | None = None, split: str | None = None, **options: Any
) -> SegmentationDataset:
    """Open a data set.

    Args:
        name: key in `DATASETS`.
        root: its folder; None takes it from the environment (SIM2STREET_ and the set's name in capitals). Street
            scenes have none.
        split: part of it; None takes the set's default: "train", of gta5 and synthia "all".
        options: more arguments of the class, such as `labelled=False`, or `style` and `count` of street scenes.

    Raises:
        ConfigError: an option is unknown.
        DatasetError: the name is unknown, or files are missing.
    """
    if name not in DATASETS:
        raise DatasetError(f"There is no data set {name!r}; known are {', '.join(DATASETS)}.")
    given = {**({} if root is None else {"root": root}), **({} if split is None else {"split": split}), **options}
    known = [option for option in inspect.signature(DATASETS[name]).parameters]
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise ConfigError(f"The data set {name} has no option {', '.join(unknown)}; it takes {', '.join(known)}.")
    return DATASETS[name](**given)
