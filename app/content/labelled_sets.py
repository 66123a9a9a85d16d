"""Labelled sets that a page can score on: rendered streets, and data sets on this machine.

Each of their pictures can be opened in Compare by its URL. Imports no UI library.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from sim2street.app.content import gallery
from sim2street.app.content.gallery import FIRST_SCENE, RENDERED, SCENE_SIZE, Scene
from sim2street.app.content.panes import display_space
from sim2street.app.content.streets import rendered_scene
from sim2street.models.labels import LabelSpace
from sim2street.training.datasets import SegmentationDataset, open_dataset
from sim2street.training.datasets.rendered import StreetScenes
from sim2street.training.datasets.street_scenes import STYLES

STREET_COUNT: Final = 100
"""Number of the gallery's streets that are scored in each look; no recipe trains on them."""


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Pictures with ground truth, in a fixed order.

    Attributes:
        key: data set and split, such as "street_scenes/fog" or "camvid/val".
        title: display name.
        pictures: the data set.
    """

    key: str
    title: str
    pictures: SegmentationDataset

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def rendered(self) -> bool:
        """Whether the pictures are rendered by this project."""
        return isinstance(self.pictures, StreetScenes)

    @property
    def space(self) -> LabelSpace:
        """Classes in which pictures are scored and shown."""
        return display_space(self.pictures.labels)

    @cached_property
    def fingerprint(self) -> str:
        """A hash that changes whenever the pictures may have changed."""
        return self.pictures.fingerprint()

    def name(self, index: int) -> str:
        """Display name of a picture."""
        return f"street {index}" if self.rendered else self.pictures.keys[index]

    def scene(self, index: int) -> Scene:
        """The picture as Compare shows it, with its ground truth.

        Raises:
            Sim2StreetError: its files cannot be read.
        """
        if isinstance(self.pictures, StreetScenes):
            return rendered_scene(self.pictures.style, index)
        return gallery.photo_set_scene(self.pictures, index)

    def address(self, index: int) -> dict[str, str]:
        """Query parameters with which Compare shows this picture."""
        if isinstance(self.pictures, StreetScenes):
            return {"photo": RENDERED, "style": self.pictures.style, "street": str(index)}
        name, split = self.key.split("/")
        return {
            "photo": self.pictures.title,
            f"{name}_split": split,
            f"{name}_{split}_photo": self.pictures.keys[index],
        }


def labelled_set_titles() -> dict[str, str]:
    """Key -> title of all sets, without opening any."""
    streets = {f"{StreetScenes.name}/{style}": f"Rendered streets, {style}" for style in STYLES}
    photos = {
        f"{kind.name}/{split}": f"{kind.title} {split}"
        for kind in gallery.available_photo_sets()
        for split in kind.gallery
    }
    return streets | photos


def labelled_set(key: str) -> LabelledSet:
    """Open a set of `labelled_set_titles`.

    Raises:
        Sim2StreetError: its folder does not have the expected layout.
    """
    name, _, part = key.partition("/")
    if name == StreetScenes.name:
        pictures = open_dataset(name, style=part, count=STREET_COUNT, start=FIRST_SCENE, size=SCENE_SIZE)
    else:
        pictures = open_dataset(name, split=part)
    return LabelledSet(key, labelled_set_titles()[key], pictures)
