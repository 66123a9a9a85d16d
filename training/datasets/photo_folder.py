"""Any folder of photos as a target domain, without labels and in any layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sim2street.models.errors import DatasetError
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.photo import SUFFIXES
from sim2street.training.datasets.base import FolderDataset


class PhotoFolder(FolderDataset):
    """All photos below `root`, including sub-folders and linked folders, sorted by path; never labelled.

    Args:
        root: folder to search. None takes SIM2STREET_PHOTOS.
        split: sub-folder of root, or "." for root itself.
        labelled: must stay False.
    """

    name = "photos"
    title = "own photos"
    terms = "The user's own folder of photos."
    labels = CITYSCAPES19
    splits = (".",)
    labelled_splits = ()
    root_variable = "SIM2STREET_PHOTOS"
    how_to_get = f"Use any folder of street photos ({', '.join(SUFFIXES)})."
    table = np.empty(0, np.uint8)

    def __init__(self, root: str | Path | None = None, split: str = ".", *, labelled: bool = False) -> None:
        if labelled:
            raise DatasetError(
                'A plain folder of photos has no labels, so it can only be a target domain; use dataset = "folder" for'
                " photos with labels."
            )
        super().__init__(root, split, labelled=False)

    @property
    def slug(self) -> str:
        """Name of the folder."""
        return f"{self.name}_{(self.root / self.split).resolve().name}"

    def list_files(self) -> tuple[tuple[str, ...], tuple[Path, ...], tuple[Path, ...]]:
        """List the photos of the folder; there are no label images."""
        folder = self.root / self.split
        photos = self.listing.photos(folder)
        self.refuse_empty(photos, folder / "**" / f"*{{{','.join(SUFFIXES)}}}")
        return tuple(path.relative_to(self.root).as_posix() for path in photos), photos, ()
