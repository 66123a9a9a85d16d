"""IDD, the India Driving Dataset (Varma et al., WACV 2019), in Cityscapes' 19 classes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sim2street.models.labels import CITYSCAPES19
from sim2street.models.numbering import TRAIN_IDS
from sim2street.training.datasets.base import FolderDataset, label_table

PHOTO_STEM: Final = "_leftImg8bit"
PHOTO_SUFFIXES: Final = tuple(f"{PHOTO_STEM}.{end}" for end in ("png", "jpg", "jpeg"))
LABEL_SUFFIX: Final = "_gtFine_labelcsTrainIds.png"


class Idd(FolderDataset):
    """Photos of one split, PNG in the first part of the set and JPEG in the second.

    The set comes with polygons. Its authors' converter draws them as label images; those read here contain Cityscapes'
    train ids, and 255 for classes that Cityscapes lacks. The split "test" has no public labels.
    """

    name = "idd"
    title = "IDD"
    paper = "Varma et al., WACV 2019"
    terms = "non-commercial research under its own licence; registration needed."
    gallery = ("val", "train")
    labels = CITYSCAPES19
    splits = ("train", "val", "test")
    root_variable = "SIM2STREET_IDD"
    how_to_get = (
        "Register at https://idd.insaan.iiit.ac.in, download IDD Segmentation, unpack it, and paint the labels with the"
        " authors' https://github.com/AutoNUE/public-code: python preperation/createLabels.py --datadir DIR"
        " --id-type csTrainId. The folder then holds leftImg8bit/<split>/<drive>/*_leftImg8bit.png or .jpg and"
        " gtFine/<split>/<drive>/*_gtFine_labelcsTrainIds.png."
    )
    numbering = TRAIN_IDS
    table = label_table(TRAIN_IDS.meaning)

    def list_files(self) -> tuple[tuple[str, ...], tuple[Path, ...], tuple[Path, ...]]:
        """List the photos of all drives of the split."""
        folder = self.root / "leftImg8bit" / self.split
        photos = self.listing.matching(folder, PHOTO_SUFFIXES, depth=2)
        self.refuse_empty(photos, folder / f"*/*{PHOTO_STEM}.png")
        stems = [photo.stem[: -len(PHOTO_STEM)] for photo in photos]
        # Frame numbers restart in each drive.
        keys = tuple(f"{photo.parent.name}_{stem}" for photo, stem in zip(photos, stems, strict=True))
        labels = tuple(
            self.root / "gtFine" / self.split / photo.parent.name / f"{stem}{LABEL_SUFFIX}"
            for photo, stem in zip(photos, stems, strict=True)
        )
        return keys, photos, labels if self.labelled else ()
