"""Foggy Cityscapes (Sakaridis et al., IJCV 2018): Cityscapes' photos with synthetic fog, and its labels unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sim2street.models.errors import DatasetError
from sim2street.training.datasets.cityscapes import LABEL_SUFFIX, Cityscapes

DENSITIES: Final = ("0.02", "0.01", "0.005")
"""Attenuation coefficient beta of the fog in 1/m, for visibilities of about 150, 300 and 600 metres; densest first."""


class FoggyCityscapes(Cityscapes):
    """Photos of one split and fog density: `train` has the densest fog (0.02), `val/0.005` the lightest."""

    name = "foggy_cityscapes"
    title = "Foggy Cityscapes"
    paper = "Sakaridis et al., IJCV 2018"
    terms = "derived from Cityscapes and under its licence: non-commercial use, registration needed."
    gallery = ("val", "train")
    splits = tuple(f"{split}/{density}" for split in ("train", "val", "test") for density in DENSITIES)
    labelled_splits = tuple(f"{split}/{density}" for split in ("train", "val") for density in DENSITIES)
    root_variable = "SIM2STREET_FOGGY_CITYSCAPES"
    how_to_get = (
        "Register at https://www.cityscapes-dataset.com, download leftImg8bit_trainvaltest_foggy.zip and"
        " gtFine_trainvaltest.zip and unpack both into one folder, so that it holds"
        " leftImg8bit_foggy/<split>/<city>/*_leftImg8bit_foggy_beta_0.02.png (or leftImg8bit_foggyDBF/...) and"
        " gtFine/<split>/<city>/*_gtFine_labelIds.png."
    )

    def list_files(self) -> tuple[tuple[str, ...], tuple[Path, ...], tuple[Path, ...]]:
        """List the photos of the split at one density of fog."""
        part, _, density = self.split.partition("/")
        density = density or DENSITIES[0]
        if density not in DENSITIES:
            raise DatasetError(
                f"{self.name} has no split {self.split!r}; expected {part}, or {part}/ and one of"
                f" {', '.join(DENSITIES)}."
            )
        suffix = f"_leftImg8bit_foggy_beta_{density}.png"
        # The archive of 2018 and the later one with edge-preserving fog ("dual-reference bilateral filter").
        folders = [self.root / name / part for name in ("leftImg8bit_foggy", "leftImg8bit_foggyDBF")]
        folder = next((each for each in folders if each.is_dir()), folders[0])
        photos = self.listing.matching(folder, [f"_leftImg8bit_foggy_beta_{each}.png" for each in DENSITIES], depth=2)
        photos = tuple(photo for photo in photos if photo.name.lower().endswith(suffix.lower()))
        self.refuse_empty(photos, folder / f"*/*{suffix}")
        keys = tuple(photo.name[: -len(suffix)] for photo in photos)
        labels = tuple(
            self.root / "gtFine" / part / photo.parent.name / f"{key}{LABEL_SUFFIX}"
            for key, photo in zip(keys, photos, strict=True)
        )
        return keys, photos, labels if self.labelled else ()
