"""The registry of data sets. Each entry defines file layout, label values, terms of use and how to get the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sim2street.models.errors import ConfigError
from sim2street.models.registry import Registry
from sim2street.training.datasets.acdc import Acdc
from sim2street.training.datasets.base import FolderDataset, Sample, SegmentationDataset, fault_of_dataset
from sim2street.training.datasets.camvid import CamVid
from sim2street.training.datasets.cityscapes import Cityscapes
from sim2street.training.datasets.dark_zurich import DarkZurich
from sim2street.training.datasets.foggy_cityscapes import FoggyCityscapes
from sim2street.training.datasets.gta5 import Gta5
from sim2street.training.datasets.idd import Idd
from sim2street.training.datasets.labelled_folder import LabelledFolder
from sim2street.training.datasets.listing import warn_once
from sim2street.training.datasets.photo_folder import PhotoFolder
from sim2street.training.datasets.rendered import StreetScenes
from sim2street.training.datasets.synthia import Synthia

DATASETS: Final = Registry[type[SegmentationDataset]](
    "data set",
    "sim2street.datasets",
    [
        StreetScenes,
        Gta5,
        Synthia,
        Cityscapes,
        CamVid,
        FoggyCityscapes,
        Acdc,
        DarkZurich,
        Idd,
        LabelledFolder,
        PhotoFolder,
    ],
    fault=fault_of_dataset,
)

__all__ = ["DATASETS", "Sample", "SegmentationDataset", "open_dataset"]


def open_dataset(
    name: str, root: str | Path | None = None, split: str | None = None, **options: Any
) -> SegmentationDataset:
    """Open a data set, and log once what the user should know: skipped files, labels that look misnumbered.

    Args:
        name: key in `DATASETS`.
        root: its folder; None takes the environment variable (SIM2STREET_ and the set's name in capitals). Street
            scenes have none.
        split: split to read; None takes the set's default: "train", or "all" for gta5 and synthia.
        options: further arguments of the class, such as `labelled=False`, or `style` and `count` for street scenes.

    Raises:
        ConfigError: the name or an option is unknown.
        DatasetError: files are missing.
    """
    kind = DATASETS.find(name)
    given = {**({} if root is None else {"root": root}), **({} if split is None else {"split": split}), **options}
    known = kind.parameters()
    if unknown := sorted(given.keys() - set(known)):
        raise ConfigError(
            f"The data set {name} has no option {', '.join(unknown)}; its options are {', '.join(known)}."
        )
    dataset = kind(**given)
    for remark in dataset.remarks if isinstance(dataset, FolderDataset) else ():
        warn_once(remark)
    return dataset
