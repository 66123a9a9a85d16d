"""Cityscapes (Cordts et al., CVPR 2016), and everything stored in its layout, such as rendered scenes."""

from __future__ import annotations

from pathlib import Path

from sim2street.models.labels import CITYSCAPES19, IGNORE, TRAIN_ID_OF_LABEL_ID
from sim2street.models.numbering import LABEL_IDS
from sim2street.training.datasets.base import FolderDataset, label_table

PHOTO_SUFFIX = "_leftImg8bit.png"
LABEL_SUFFIX = "_gtFine_labelIds.png"


class Cityscapes(FolderDataset):
    """Photos of one split ("train", "val", "test"), labels as the 19 train ids.

    The label images store label ids 0..33; the licence plate's -1 is 255. The split "test" has no public labels and can
    only be used with `labelled=False`.
    """

    name = "cityscapes"
    title = "Cityscapes"
    paper = "Cordts et al., CVPR 2016"
    terms = "non-commercial use under its own licence; registration needed."
    gallery = ("val", "train")
    labels = CITYSCAPES19
    splits = ("train", "val", "test")
    root_variable = "SIM2STREET_CITYSCAPES"
    how_to_get = (
        "Register at https://www.cityscapes-dataset.com, download leftImg8bit_trainvaltest.zip and"
        " gtFine_trainvaltest.zip and unpack both into one folder, so that it holds"
        " leftImg8bit/<split>/<city>/*_leftImg8bit.png and gtFine/<split>/<city>/*_gtFine_labelIds.png;"
        " or fill a folder with `sim2street render`."
    )
    numbering = LABEL_IDS
    table = label_table({label_id: TRAIN_ID_OF_LABEL_ID.get(label_id, IGNORE) for label_id in range(34)})

    def list_files(self) -> tuple[tuple[str, ...], tuple[Path, ...], tuple[Path, ...]]:
        """List the photos of all cities of the split."""
        folder = self.root / "leftImg8bit" / self.split
        photos = self.listing.matching(folder, PHOTO_SUFFIX, depth=2)
        self.refuse_empty(photos, folder / f"*/*{PHOTO_SUFFIX}")
        keys = tuple(photo.name[: -len(PHOTO_SUFFIX)] for photo in photos)
        labels = (
            self.root / "gtFine" / self.split / photo.parent.name / f"{key}{LABEL_SUFFIX}"
            for key, photo in zip(keys, photos, strict=True)
        )
        return keys, photos, tuple(labels) if self.labelled else ()
