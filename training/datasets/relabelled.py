"""A labelled data set in the classes of another label space."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim2street.models.label_space import LabelSpace
from sim2street.training.datasets.base import Sample, SegmentationDataset


class Relabelled(SegmentationDataset):
    """The photos of another set, with labels merged into the classes of `labels`; pixels without a class there become 255.

    Args:
        origin: a labelled data set.
        labels: a space into which the set's classes can be merged, or of which they are a subset.

    Raises:
        LabelError: the set's classes cannot be converted to `labels`.
    """

    name = "relabelled"

    def __init__(self, origin: SegmentationDataset, labels: LabelSpace) -> None:
        if not labels.takes(origin.labels):
            labels.require_members(origin.labels)  # raises an error that says how to define a mapping
        self.origin = origin
        self.labels = labels
        self.labelled = origin.labelled
        self.keys = origin.keys

    @property
    def slug(self) -> str:
        """Slug of the set, and the label space."""
        return f"{self.origin.slug}_{self.labels.name}"

    def read_photo(self, index: int) -> NDArray[np.uint8]:
        """Return photo `index` as (H, W, 3) uint8 RGB."""
        return self.origin.read_photo(index)

    def read_labels(self, index: int) -> NDArray[np.uint8]:
        """Return the labels of photo `index` as (H, W) uint8 of the coarser space."""
        return self.labels.relabel(self.origin.read_labels(index), self.origin.labels)

    def read(self, index: int) -> Sample:
        """Return photo and labels, aligned as the original set aligns them."""
        sample = self.origin.read(index)
        return replace(sample, labels=self.labels.relabel(sample.labels, self.origin.labels))

    def fingerprint(self) -> str:
        """Digest of the set's pictures and of the label space."""
        return hashlib.sha256(f"{self.origin.fingerprint()} {json.dumps(self.labels.to_json())}".encode()).hexdigest()

    def describe(self) -> str:
        """Return the set's description and the label space."""
        return f"{self.origin.describe()}, in the {self.labels.count} classes of {self.labels.name}"
