"""GTA5, "Playing for Data" (Richter et al., ECCV 2016): 24,966 frames of a game with Cityscapes' classes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from sim2street.models.errors import DatasetError
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.numbering import LABEL_IDS
from sim2street.training.datasets.base import FolderDataset, label_table, why_unread

ALL = "all"


class Gta5(FolderDataset):
    """All frames, or those listed in `<split>.txt`, with labels as the 19 train ids.

    Label images are palette PNGs whose index is the label id 0..34; their colours are ignored. Frames measure 1914x1052
    pixels with a few exceptions, and a few label images differ from their photo by some rows: `read` resizes such labels
    to the photo.
    """

    name = "gta5"
    title = "GTA5"
    paper = "Richter et al., ECCV 2016"
    terms = "frames of a video game, for research and education only."
    labels = CITYSCAPES19
    splits = (ALL,)
    labelled_splits = (ALL,)
    root_variable = "SIM2STREET_GTA5"
    how_to_get = (
        "Download the ten image and ten label archives, 01_images.zip to 10_images.zip and 01_labels.zip to"
        " 10_labels.zip, from https://download.visinf.tu-darmstadt.de/data/from_games/ and unpack all into one folder,"
        " so that it holds images/00001.png ... and labels/00001.png ...; a split other than 'all' is a file"
        " <split>.txt beside them with one file name per line."
    )
    photo_folder: ClassVar[str] = "images"
    label_folder: ClassVar[str] = "labels"
    numbering = LABEL_IDS
    table = label_table(LABEL_IDS.meaning)

    def __init__(self, root: str | Path | None = None, split: str = ALL, *, labelled: bool = True) -> None:
        super().__init__(root, split, labelled=labelled)

    def list_files(self) -> tuple[tuple[str, ...], tuple[Path, ...], tuple[Path, ...]]:
        """List the photos, all or those that `<split>.txt` names."""
        folder = self.root / self.photo_folder
        if self.split == ALL:
            photos = self.listing.matching(folder, ".png", depth=1)
            self.refuse_empty(photos, folder / "*.png")
        else:
            listed = [folder / name for name in self._listed()]
            self.refuse_empty(listed, self.root / f"{self.split}.txt")
            photos = self._existing(listed, "photo")
        keys = tuple(photo.stem for photo in photos)
        labels = tuple(self.root / self.label_folder / photo.name for photo in photos) if self.labelled else ()
        return keys, photos, labels

    def _listed(self) -> list[str]:
        path = self.root / f"{self.split}.txt"
        try:
            lines = path.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(
                f"The split {self.split!r} of {self.name} was looked for in {path.absolute()}: {why_unread(error)}. {self.how_to_get}"
            ) from error
        return [f"{Path(line).stem}.png" for line in lines]
