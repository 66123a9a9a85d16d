"""Any folder of labelled photos: `images/` beside `labels/`, matched by name."""

from __future__ import annotations

from pathlib import Path

from sim2street.models.errors import DatasetError
from sim2street.models.labels import CITYSCAPES19, label_space
from sim2street.models.numbering import TRAIN_IDS
from sim2street.models.photo import SUFFIXES
from sim2street.training.datasets.base import FolderDataset, label_table


class LabelledFolder(FolderDataset):
    """Photos in `images/`, label images in `labels/` under the same name with the suffix .png; sub-folders allowed.

    Label images hold the classes of one label space as 0, 1, 2, ... (Cityscapes' train ids, unless `classes` says
    otherwise) and 255 for pixels without a class.

    Args:
        root: folder that holds both. None takes SIM2STREET_FOLDER.
        split: sub-folder of root that holds both, "." for root itself.
        labelled: False looks into `images/` alone.
        classes: the label space of the label images, a key of `LABEL_SPACES`.

    Raises:
        DatasetError: there is no photo, or a label image is missing.
        LabelError: there is no such label space.
    """

    name = "folder"
    title = "own labelled photos"
    terms = "A folder of the trainer's own labelled photos."
    splits = (".",)
    labelled_splits = (".",)
    root_variable = "SIM2STREET_FOLDER"
    how_to_get = (
        "A labelled folder holds images/<name>.jpg (or another suffix) and labels/<name>.png with one class number per"
        " pixel, 255 where there is none."
    )

    def __init__(
        self,
        root: str | Path | None = None,
        split: str = ".",
        *,
        labelled: bool = True,
        classes: str = "cityscapes19",
    ) -> None:
        self.labels = label_space(classes)
        self.table = label_table({value: value for value in range(self.labels.count)})
        self.numbering = TRAIN_IDS if self.labels is CITYSCAPES19 else None  # no other is known that is numbered so
        super().__init__(root, split, labelled=labelled)

    @property
    def slug(self) -> str:
        """Name of the folder."""
        return f"{self.name}_{self._place.resolve().name}"

    @property
    def _place(self) -> Path:
        return self.root / self.split

    def _list(self) -> tuple[tuple[str, ...], tuple[Path, ...], tuple[Path, ...]]:
        images = self._place / "images"
        photos = self.listing.photos(images)
        self._refuse_empty(photos, images / "**" / f"*{{{','.join(SUFFIXES)}}}")
        names = [photo.relative_to(images).with_suffix("") for photo in photos]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DatasetError(
                f"{images} holds two photos called {twice}; rename one, or its label image is ambiguous."
            )
        labels = tuple(self._place / "labels" / name.with_name(f"{name.name}.png") for name in names)
        return tuple(name.as_posix() for name in names), photos, labels if self.labelled else ()
