"""Real street photos to try, downloaded on request and kept in the cache for all visitors. Imports no UI library.

The project does not contain the photos: `comma10k.json` only lists their names, sizes and sha256. A file that differs is
refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urljoin, urlsplit

from sim2street.app.content import gallery
from sim2street.app.content.engine import OwnPhoto
from sim2street.models.errors import PhotoError, Sim2StreetError
from sim2street.models.importers.download import (
    FetchError,
    Pin,
    UnreachableError,
    UnstorableError,
    cached_file,
    fetch,
)
from sim2street.models.storage.files import in_units

LIST: Final = Path(__file__).parent / "comma10k.json"
ADDRESS_VARIABLE: Final = "SIM2STREET_COMMA10K"
"""Environment variable with another URL for the photos, such as a mirror; the hashes must still match."""


@dataclass(frozen=True)
class OfferedPhoto:
    """One photo on offer.

    Attributes:
        name: display name.
        file: its path below the offer's URL.
        size: size in bytes.
        sha256: sha256 of the file, as hex.
    """

    name: str
    file: str
    size: int
    sha256: str


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

    def button(self, taken: int = 0) -> str:
        """Label of the button that asks for the photos; the visitor has `taken` of them."""
        if not taken:
            return f"Try {len(self.photos)} real photos ({self._size})"
        left = len(self.photos) - taken
        return f"Add {left} real photo{'' if left == 1 else 's'}"

    @property
    def introduction(self) -> str:
        """What is on offer, as Markdown."""
        return (
            f"**No street photo at hand?** {self.title}: {len(self.photos)} photos, {self._size}, licence {self.licence},"
            f" from [{self.repository}](https://github.com/{self.repository})."
        )

    def progress(self, done: int) -> str:
        """What is under way once `done` photos have been fetched or have failed."""
        return f"Fetching photo {min(done + 1, len(self.photos))} of {len(self.photos)}"

    @property
    def _size(self) -> str:
        return in_units(sum(photo.size for photo in self.photos)).replace(" ", "\N{NO-BREAK SPACE}")

    def address_of(self, photo: OfferedPhoto) -> str:
        """URL of a photo."""
        return urljoin(os.environ.get(ADDRESS_VARIABLE) or self.address, photo.file)


@cache
def offer() -> Offer:
    """The photos that the page offers."""
    read = json.loads(LIST.read_text(encoding="utf-8"))
    title = read["title"]
    photos = tuple(
        OfferedPhoto(f"{title} {_number(each['file'])}", each["file"], each["bytes"], each["sha256"])
        for each in read["photos"]
    )
    return Offer(title, read["repository"], read["licence"], read["address"], photos)


def _number(file: str) -> int:
    """The number with which comma10k begins a name, as in `imgs/0007_b5e785c1fc446ed0_2018-06-14--08-27-35_78_873.png`."""
    return int(PurePosixPath(file).name.partition("_")[0])


def fetch_offer() -> Iterator[str]:
    """Fetch the photos that are not in the cache, one after the other; of several visitors at once, one fetches a photo.

    Yields:
        After each photo, why it was not fetched, as a sentence, or nothing. What concerns the other photos too, such as a
        missing network, is the last.
    """
    for photo in offer().photos:
        try:
            fetch(offer().address_of(photo), pin=Pin(photo.size, photo.sha256))
        except UnreachableError as error:
            yield (
                f"Nothing can be fetched from {urlsplit(offer().address_of(photo)).hostname} at present: {error.reason}."
                " Try again later, or drop photos of your own. Whoever runs this page can check its connection to the"
                f" network, or set {ADDRESS_VARIABLE} to the URL of a mirror."
            )
            return
        except UnstorableError as error:
            yield (
                f"{photo.name} cannot be stored on the computer on which this page runs: {error.reason}. Drop photos of your"
                " own instead. Whoever runs this page can make room there (sim2street cache remove)."
            )
            return
        except FetchError as error:
            yield f"{photo.name} was not fetched: {error.reason.removesuffix('.')}."
        except Sim2StreetError as error:  # names the file, which visitors do not know
            yield f"{photo.name} was not fetched. {error}"
        else:
            yield ""


def offered() -> tuple[list[OwnPhoto], list[str]]:
    """The photos that are in the cache, and why others there cannot be used; does not access the network."""
    found: list[OwnPhoto] = []
    problems: list[str] = []
    for photo in offer().photos:
        path = cached_file(offer().address_of(photo))
        if path is None:
            continue
        try:
            found.append(_read(photo, path))
        except Sim2StreetError as error:
            problems.append(str(error))
    return found, problems


@lru_cache(maxsize=32)
def _read(photo: OfferedPhoto, path: Path) -> OwnPhoto:
    """Read a photo from the cache, once for all visitors."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PhotoError(f"{photo.name} cannot be read from the cache: {error.strerror or error}.") from error
    if hashlib.sha256(data).hexdigest() != photo.sha256:
        raise PhotoError(f"{photo.name} was changed in the cache; fetch it again.")
    return OwnPhoto(gallery.public_scene(data, photo.name), data, photo.name)
