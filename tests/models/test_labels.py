from __future__ import annotations

import numpy as np
import pytest

from sim2street.models.errors import LabelError
from sim2street.models.labels import (
    CAMVID11,
    CITYSCAPES19,
    LABEL_SPACES,
    TRAIN_ID_OF_LABEL_ID,
    LabelSpace,
    label_ids_from_train_ids,
    label_space,
    train_ids_from_label_ids,
)


@pytest.mark.parametrize("space", LABEL_SPACES.values(), ids=LABEL_SPACES)
def test_every_space_is_consistent(space: LabelSpace) -> None:
    assert len(space.names) == len(set(space.names)) == space.count == len(space.palette) == len(space.members)
    taken = [train_id for group in space.members for train_id in group]
    assert len(taken) == len(set(taken))
    assert label_space(space.name) is space


def test_camvid_covers_all_nineteen() -> None:
    assert sorted(train_id for group in CAMVID11.members for train_id in group) == list(range(19))
    train_ids = np.array([[10, 2, 3, 13, 16, 12, 6, 255]], np.uint8)
    assert CAMVID11.from_cityscapes19(train_ids).tolist() == [[0, 1, 1, 8, 8, 10, 6, 255]]


def test_label_ids_round_trip() -> None:
    train_ids = np.arange(19, dtype=np.uint8)
    assert (train_ids_from_label_ids(label_ids_from_train_ids(train_ids)) == train_ids).all()
    unlabelled = np.array([0, 1, 6, 9, 10, 29, 30, 255], np.uint8)
    assert (train_ids_from_label_ids(unlabelled) == 255).all()
    assert len(TRAIN_ID_OF_LABEL_ID) == 19


def test_foreign_values_are_named() -> None:
    CITYSCAPES19.check(np.array([0, 18, 255], np.uint8))
    with pytest.raises(LabelError, match="values 19, 40 in truth"):
        CITYSCAPES19.check(np.array([40, 19], np.uint8), source="truth")
    with pytest.raises(LabelError, match="known are cityscapes19"):
        label_space("voc")
