"""Photos with random damage, read in this process as the command line reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from sim2street.models.photo import read_label_image, read_photo
from tests.campaign.mutations import bytes_changed, picture
from tests.campaign.part import Outcome


def photos(count: int, rng: Random, folder: Path) -> Outcome:
    """Each as a photo at full size, as a photo for a page, and as a label image."""
    outcome = Outcome()
    readers: tuple[Callable[[bytes], object], ...] = (
        read_photo,
        lambda data: read_photo(data, long_side=32),
        read_label_image,
    )
    for number in range(count):
        data, read = bytes_changed(picture(rng), rng), rng.choice(readers)
        outcome.attack(f"photo {number}", lambda data=data, read=read: read(data))
    return outcome
