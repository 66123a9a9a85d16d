"""Real street photos to try, downloaded on request and kept in the cache. Imports no UI library.

The project does not contain the photos: `comma10k.json` only lists their names, sizes and sha256. A file that differs is
refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urljoin

from sim2street.app.content import gallery
from sim2street.app.content.gallery import Scene
from sim2street.models.errors import CheckpointError, PhotoError
from sim2street.models.importers.download import cached_file, fetch
from sim2street.models.storage.files import sha256_of

LIST: Final = Path(__file__).parent / "comma10k.json"
ADDRESS_VARIABLE: Final = "SIM2STREET_COMMA10K"
"""Environment variable with another URL for the photos, such as a mirror; the hashes must still match."""


@dataclass(frozen=True)
class OfferedPhoto:
    """One photo on offer.

    Attributes:
        file: its path below the offer's URL.
        size: size in bytes.
        sha256: sha256 of the file, as hex.
    """

    file: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """Display name."""
        return PurePosixPath(self.file).name


@dataclass(frozen=True)
class Offer:
    """A pinned set of photos.

    Attributes:
        title: the name given by its authors.
        repository: URL where it is published.
        licence: licence of the photos.
        address: URL of the folder with the photos.
        photos: all photos.
    """

    title: str
    repository: str
    licence: str
    address: str
    photos: tuple[OfferedPhoto, ...]

    @property
    def size(self) -> int:
        """Bytes of all photos."""
        return sum(photo.size for photo in self.photos)

    def address_of(self, photo: OfferedPhoto) -> str:
        """URL of a photo."""
        return urljoin(os.environ.get(ADDRESS_VARIABLE) or self.address, photo.file)


@cache
def offer() -> Offer:
    """The photos that the page offers."""
    read = json.loads(LIST.read_text(encoding="utf-8"))
    photos = tuple(OfferedPhoto(each["file"], each["bytes"], each["sha256"]) for each in read["photos"])
    return Offer(read["title"], read["repository"], read["licence"], read["address"], photos)


def fetched(photo: OfferedPhoto) -> bool:
    """Whether a photo is in the cache; does not access the network."""
    return cached_file(offer().address_of(photo)) is not None


def fetch_photo(photo: OfferedPhoto) -> Path:
    """Download a photo into the cache unless it is there; returns its path.

    Raises:
        PhotoError: it cannot be downloaded, or the file has the wrong size or hash and was deleted.
    """
    try:
        path = fetch(offer().address_of(photo))
    except CheckpointError as error:
        raise PhotoError(f"{photo.name} was not fetched. {error}") from error
    size, sha256 = path.stat().st_size, sha256_of(path)
    if (size, sha256) != (photo.size, photo.sha256):
        path.unlink(missing_ok=True)
        raise PhotoError(
            f"{photo.name} is not the pinned file: it has {size} bytes and sha256 {sha256[:12]}…,"
            f" expected {photo.size} bytes and {photo.sha256[:12]}…. It was deleted."
        )
    return path


def offered_scene(photo: OfferedPhoto) -> Scene:
    """Read a fetched photo.

    Raises:
        PhotoError: it is no longer in the cache, was changed there, or cannot be read.
    """
    path = cached_file(offer().address_of(photo))
    if path is None:
        raise PhotoError(f"{photo.name} is no longer in the cache; fetch it again.")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != photo.sha256:
        raise PhotoError(f"{photo.name} was changed in the cache. Delete {path} and fetch it again.")
    return gallery.public_scene(data, photo.name)
