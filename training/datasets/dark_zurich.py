"""Dark Zurich (Sakaridis et al., ICCV 2019): the same streets by day, at twilight and at night."""

from __future__ import annotations

from pathlib import Path

from sim2street.training.datasets.acdc import AnonymisedDrives


class DarkZurich(AnonymisedDrives):
    """Night photos of a split, or those of another time: `train`, `train/day`, `val`.

    Only val's 50 night photos have public labels; `train` can only be used with `labelled=False`.
    """

    name = "dark_zurich"
    title = "Dark Zurich"
    paper = "Sakaridis et al., ICCV 2019"
    terms = "non-commercial use under its own licence."
    conditions = ("night", "twilight", "day")
    default = ("night",)
    splits = ("train", "train/twilight", "train/day", "val", "test")
    labelled_splits = ("val",)
    root_variable = "SIM2STREET_DARK_ZURICH"
    how_to_get = (
        "Download Dark_Zurich_train_anon.zip and Dark_Zurich_val_anon.zip from"
        " https://www.trace.ethz.ch/publications/2019/GCMA_UIoU and unpack both into one folder, so that it holds"
        " rgb_anon/<split>/<night, twilight or day>/<drive>/*_rgb_anon.png and"
        " gt/val/night/<drive>/*_gt_labelTrainIds.png."
    )

    def _folder(self, part: str, condition: str) -> Path:
        return Path(part) / condition
