"""Any folder of photos and label images with the user's own classes: `images/` and `labels/`, matched by name.

An optional file `data.toml` beside them changes the defaults:

    label_space = "camvid11"        # a name, a TOML or JSON file, or a table as in models/label_space.py
    images = "images"               # files below a folder of this name are photos ...
    labels = "labels"               # ... and files below a folder of this name are label images; "." is any folder
    photo_names = "*_leftImg8bit"   # names without suffix; * stands for the part that photo and labels share
    label_names = "*_gtFine"
    read_by = "auto"                # "colour" or "value"; auto reads RGB pictures by colour, all others by value
    partly_labelled = false         # true skips photos without a label image when labels are needed
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sim2street.models.errors import DatasetError, LabelError
from sim2street.models.label_space import LabelSpace, LabelSpaceOptions, read_table
from sim2street.models.labels import CITYSCAPES19, label_space, refuse_taken_name
from sim2street.models.numbering import TRAIN_IDS
from sim2street.models.options import Options
from sim2street.models.photo import SUFFIXES, read_label_picture
from sim2street.training.datasets.base import FolderDataset, why_unread

DATA_FILE: Final = "data.toml"
ANY: Final = "."
"""Name of a folder or split that stands for all of them."""
LABEL_SUFFIXES: Final = (".png", ".bmp", ".tif", ".tiff", ".gif", ".webp")
"""Suffixes of label images; JPEG is excluded, because it changes colours and values."""

NamePattern = Annotated[str, Field(pattern=r"^[^*/]*\*[^*/]*$", examples=["*_photo"])]


class FolderOptions(Options):
    """The content of `data.toml`; see the module's docstring."""

    label_space: str | LabelSpaceOptions = CITYSCAPES19.name
    images: str = Field(default="images", min_length=1, description="Name of the folders with photos.")
    labels: str = Field(default="labels", min_length=1, description="Name of the folders with label images.")
    photo_names: NamePattern = Field(
        default="*", description="Names of photos; * is the part shared with the label image."
    )
    label_names: NamePattern = Field(
        default="*", description="Names of label images; * is the part shared with the photo."
    )
    read_by: Literal["auto", "colour", "value"] = "auto"
    partly_labelled: bool = False

    @classmethod
    def read(cls, root: Path) -> FolderOptions:
        """Read a folder's `data.toml`; if there is none, return the defaults.

        Raises:
            LabelError: the file is not valid TOML.
            ConfigError: a key or value is invalid.
        """
        path = root / DATA_FILE
        return cls.parse(read_table(path), where=str(path)) if path.exists() else cls()

    def space(self, root: Path, classes: str | None) -> LabelSpace:
        """The classes of the label images: `classes` if given, otherwise those of the file.

        Raises:
            LabelError: there is no such label space.
        """
        named = self.label_space if classes is None else classes
        if isinstance(named, LabelSpaceOptions):
            return refuse_taken_name(named.build(), where=str(root / DATA_FILE))
        beside = root / named
        return label_space(beside if classes is None and beside.is_file() else named)


class LabelledFolder(FolderDataset):
    """Photos below folders named `images`, label images below folders named `labels`, at any depth.

    A photo and a label image belong together if their paths are equal apart from these folders and from what surrounds the
    * in their names: `images/a/1.jpg` and `labels/a/1.png`, or `a/images/1.jpg` and `a/labels/1.png`. If no paths agree,
    the file names alone are compared.

    Args:
        root: folder with both, or its `data.toml`. None takes SIM2STREET_FOLDER.
        split: "." for all; a folder, such as "train" for `images/train/...` or `train/images/...`; or the name of a text
            file `<split>.txt` in the root with one photo per line, as a path relative to the root, optionally followed by
            a tab or comma and the path of its label image.
        labelled: False reads photos only.
        classes: label space of the label images, by name or file. None takes that of `data.toml`, by default Cityscapes' 19.

    Raises:
        DatasetError: there is no photo, a label image is missing, or two files have the same name.
        LabelError: there is no such label space.
        ConfigError: `data.toml` has an invalid key or value.
    """

    name = "folder"
    title = "own labelled or pseudo-labelled photos"
    terms = "A folder of the trainer's own labelled photos."
    splits = (ANY,)
    labelled_splits = (ANY,)
    gallery = (ANY,)
    root_variable = "SIM2STREET_FOLDER"
    how_to_get = (
        "A labelled folder contains images/<name>.jpg (or another suffix) and labels/<name>.png with a class number or a"
        " colour per pixel; `sim2street datasets check folder --root DIR --write` drafts a data.toml that describes it."
    )

    def __init__(
        self,
        root: str | Path | None = None,
        split: str = ANY,
        *,
        labelled: bool = True,
        classes: str | None = None,
    ) -> None:
        folder = self.find_root(root)
        self.options = FolderOptions.read(folder)
        self.labels = self.options.space(folder, classes)
        # Several numberings are in use only for Cityscapes' classes.
        self.numbering = TRAIN_IDS if self.labels == CITYSCAPES19 else None
        super().__init__(folder, split, labelled=labelled)

    @classmethod
    def space_of(cls, root: str | Path | None, classes: str | None) -> LabelSpace:
        """The classes of a folder, without listing its pictures."""
        if classes is not None:
            return label_space(classes)
        folder = cls.find_root(root)
        return FolderOptions.read(folder).space(folder, None)

    @classmethod
    def find_root(cls, root: str | Path | None) -> Path:
        """Return the folder; `root` may also be its `data.toml`."""
        if root is not None and Path(root).name == DATA_FILE:
            root = Path(root).parent
        return super().find_root(root)

    @property
    def slug(self) -> str:
        """Set, name of the folder, and split."""
        part = "" if self.split == ANY else f"_{self.split.replace('/', '_')}"
        return f"{self.name}_{self.root.resolve().name}{part}"

    def fingerprint(self) -> str:
        """Digest of file names, sizes and modification times, and of the settings that affect reading."""
        how = json.dumps([self.labels.to_json(), self.options.read_by])
        return hashlib.sha256(f"{super().fingerprint()} {how}".encode()).hexdigest()

    def labels_of(self, stored: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        """Convert the stored values of photo `index` to labels.

        Raises:
            LabelError: a value belongs to no class.
        """
        try:
            return self.labels.from_values(stored, source=str(self.label_images[index]))
        except LabelError as error:
            raise LabelError(f"{error}{self._fitting_numberings(stored)}") from None

    def _stored_labels(self, path: Path) -> NDArray[np.uint8]:
        """Read the stored values of a label image as (H, W) uint8; colours are converted to the values of their classes."""
        stored = read_label_picture(path, name=str(path), by=self.options.read_by)
        if stored.ndim == 2:
            return stored
        return self.labels.to_values(self.labels.from_colours(stored, source=str(path)))

    @cached_property
    def found(self) -> dict[str, Path]:
        """Name -> file of all photos."""
        options = self.options
        rest = [path for path in self._files if options.images != options.labels or not self._is_label(path)]
        return self._by_name(rest, options.images, options.photo_names, SUFFIXES, "photos")

    @cached_property
    def found_labels(self) -> dict[str, Path]:
        """Name of the photo -> file of the label image; may include label images without a photo."""
        options = self.options
        labels = self._by_name(self._files, options.labels, options.label_names, LABEL_SUFFIXES, "label images")
        if labels.keys() & self.found.keys():
            return labels
        by_last_part = {name.rpartition("/")[2]: path for name, path in labels.items()}
        last_parts = [name.rpartition("/")[2] for name in self.found]
        if len(by_last_part) < len(labels) or len(set(last_parts)) < len(last_parts):
            return labels
        pairs = zip(self.found, last_parts, strict=True)
        return {name: by_last_part[last] for name, last in pairs if last in by_last_part}

    @cached_property
    def _files(self) -> list[Path]:
        return self.listing.files(self.root)

    def _is_label(self, path: Path) -> bool:
        return path.suffix.lower() in LABEL_SUFFIXES and shared_part(path.stem, self.options.label_names) is not None

    def list_files(self) -> tuple[tuple[str, ...], tuple[Path, ...], tuple[Path, ...]]:
        """List the photos of the split, matched with label images by name."""
        options = self.options
        self.refuse_empty(self.found, self.root / "**" / options.images / "**" / f"{options.photo_names}.jpg")
        listing = self.root / f"{self.split}.txt"
        pairs = dict(self._listed(listing) if listing.is_file() else self._below())
        self.refuse_empty(pairs, self.root / self.split)
        photos = {name: self.found[name] for name in pairs}
        if not self.labelled:
            return tuple(photos), tuple(photos.values()), ()
        missing = [name for name, label in pairs.items() if label is None]
        if len(missing) == len(pairs) or (missing and not options.partly_labelled):
            raise DatasetError(
                f"{len(missing)} of {len(pairs)} label images of {self.name} {self.split} are missing, first that of"
                f" {photos[missing[0]].absolute()}. If only some photos are labelled, set partly_labelled = true in"
                f" {self.root / DATA_FILE}. {self.how_to_get}"
            )
        both = {name: label for name, label in pairs.items() if label is not None}
        return tuple(both), tuple(photos[name] for name in both), tuple(both.values())

    def _below(self) -> Iterator[tuple[str, Path | None]]:
        """Names in the split's folder, with their label images."""
        above = "" if self.split == ANY else f"{self.split.strip('/')}/"
        yield from ((name, self._label_of(name)) for name in self.found if name.startswith(above))

    def _listed(self, listing: Path) -> Iterator[tuple[str, Path | None]]:
        """Names in a list file, with their label images.

        Raises:
            DatasetError: the list cannot be read, or names a file that does not exist.
        """
        try:
            lines = listing.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"{listing} cannot be read: {why_unread(error)}.") from error
        names = {path: name for name, path in self.found.items()}
        for number, line in enumerate(lines, start=1):
            photo, _, label = (part.strip() for part in line.replace(",", "\t").partition("\t"))
            if not photo:
                continue
            name = names.get(self.root / photo, photo if photo in self.found else None)
            label_path = self.root / label
            if name is None or (label and not (label_path.is_file() and ".." not in label_path.parts)):
                raise DatasetError(
                    f"{listing}, line {number} names {photo if name is None else label}, which does not exist; expected"
                    f" the path of a file below {self.root}, such as {self.options.images}/a.jpg."
                )
            yield name, label_path if label else self._label_of(name)

    def _label_of(self, name: str) -> Path | None:
        return self.found_labels.get(name) if self.labelled else None

    def _by_name(
        self, paths: Collection[Path], folder: str, pattern: str, endings: tuple[str, ...], what: str
    ) -> dict[str, Path]:
        """Find files below folders named `folder`, keyed by their path without that folder and with the shared part as name.

        Raises:
            DatasetError: two files have the same key.
        """
        found: dict[str, Path] = {}
        for path in paths:
            *above, _ = path.relative_to(self.root).parts
            shared = shared_part(path.stem, pattern)
            if (folder != ANY and folder not in above) or shared is None:
                continue
            if path.suffix.lower() not in endings:
                if folder != ANY:
                    self.listing.leave_out(path, f"in {folder}/ without a suffix of {what}")
                continue
            if folder != ANY:
                above.remove(folder)
            name = "/".join([*above, shared])
            if name in found:
                raise DatasetError(
                    f"{self.root} contains two {what} named {name}, {found[name].relative_to(self.root)} and"
                    f" {path.relative_to(self.root)}; rename or remove one."
                )
            found[name] = path
        return found


def shared_part(name: str, pattern: str) -> str | None:
    """The part of a name that matches the * of a pattern; None if the name does not match."""
    before, _, after = pattern.partition("*")
    fits = name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after)
    return name[len(before) : len(name) - len(after)] if fits else None
