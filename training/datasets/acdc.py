"""ACDC (Sakaridis et al., ICCV 2021): fog, night, rain and snow, with Cityscapes' 19 classes."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Final

from sim2street.models.errors import DatasetError
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.numbering import TRAIN_IDS
from sim2street.training.datasets.base import FolderDataset, label_table

PHOTO_SUFFIX: Final = "_rgb_anon.png"
LABEL_SUFFIX: Final = "_gt_labelTrainIds.png"
CONDITIONS: Final = ("fog", "night", "rain", "snow")


class AnonymisedDrives(FolderDataset):
    """The layout shared by ACDC and Dark Zurich: `rgb_anon` and `gt`, one folder per drive, labels as train ids.

    A split can be restricted to a condition: `val/night` is the night photos of val.
    """

    labels = CITYSCAPES19
    numbering = TRAIN_IDS
    table = label_table(TRAIN_IDS.meaning)
    conditions: ClassVar[tuple[str, ...]]
    """Conditions to which a split can be restricted."""
    default: ClassVar[tuple[str, ...]]
    """Conditions in a split without restriction."""

    @abstractmethod
    def _folder(self, part: str, condition: str) -> Path:
        """Folder with the drives, relative to `rgb_anon` and `gt`."""

    def list_files(self) -> tuple[tuple[str, ...], tuple[Path, ...], tuple[Path, ...]]:
        """List the photos of the chosen conditions, or of all four."""
        part, _, condition = self.split.partition("/")
        if condition and condition not in self.conditions:
            raise DatasetError(
                f"{self.name} has no split {self.split!r}; expected {part}, or {part}/ and one of"
                f" {', '.join(self.conditions)}."
            )
        keys: list[str] = []
        photos: list[Path] = []
        labels: list[Path] = []
        chosen = (condition,) if condition else self.default
        for each in chosen:
            folder = self._folder(part, each)
            for photo in self.listing.matching(self.root / "rgb_anon" / folder, PHOTO_SUFFIX, depth=2):
                stem = photo.name[: -len(PHOTO_SUFFIX)]
                keys.append(f"{each}_{photo.parent.name}_{stem}")
                photos.append(photo)
                labels.append(self.root / "gt" / folder / photo.parent.name / f"{stem}{LABEL_SUFFIX}")
        self.refuse_empty(photos, self.root / "rgb_anon" / self._folder(part, chosen[0]) / f"*/*{PHOTO_SUFFIX}")
        return tuple(keys), tuple(photos), tuple(labels) if self.labelled else ()


class Acdc(AnonymisedDrives):
    """All four conditions of a split, or one: `train`, `val/fog`. The labels of `test` are not public."""

    name = "acdc"
    title = "ACDC"
    paper = "Sakaridis et al., ICCV 2021"
    terms = "non-commercial use under its own licence; registration needed."
    conditions = CONDITIONS
    default = CONDITIONS
    splits = ("train", "val", "test")
    root_variable = "SIM2STREET_ACDC"
    how_to_get = (
        "Register at https://acdc.vision.ee.ethz.ch, download rgb_anon_trainvaltest.zip and gt_trainval.zip and unpack"
        " both into one folder, so that it holds rgb_anon/<condition>/<split>/<drive>/*_rgb_anon.png and"
        " gt/<condition>/<split>/<drive>/*_gt_labelTrainIds.png for fog, night, rain and snow."
    )

    def _folder(self, part: str, condition: str) -> Path:
        return Path(condition) / part
