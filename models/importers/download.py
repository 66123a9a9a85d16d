"""Fetch released weights from a direct link, or from the Hugging Face Hub by repository id."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from huggingface_hub.utils import WeakFileLock, httpx

from sim2street.models.errors import CheckpointError
from sim2street.models.importers.reading import MAX_BYTES
from sim2street.models.storage.cache import FETCHED, cache_folder, mark_used
from sim2street.models.storage.files import CONFIG, in_units, sha256_of
from sim2street.models.storage.hub import hub_errors

PARTS: Final = 2**20
SECONDS: Final = 30
"""Longest wait for data from a server."""
CONNECT_SECONDS: Final = 10
"""Longest wait for a connection; others who want the same file wait as long."""
DIGEST_IN_NAME: Final = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+(\.gz)?$")
"""By PyTorch's convention, a file's name may contain the beginning of its sha256."""


class FetchError(CheckpointError):
    """A file that could not be fetched.

    Args:
        sentence: what happened, with the URL.
        reason: the same in a few words, without the URL or a full stop.
    """

    def __init__(self, sentence: str, reason: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class UnreachableError(FetchError):
    """The server does not answer, or serves nobody at present; its other files cannot be fetched either."""


class UnstorableError(FetchError):
    """The cache cannot be written, for example because the disk is full; no other file can be stored either."""


@dataclass(frozen=True)
class Pin:
    """What a file has to be.

    Attributes:
        size: size in bytes.
        sha256: sha256 as hex.
    """

    size: int
    sha256: str

    def fits(self, path: Path) -> bool:
        """Whether a file is the pinned one."""
        return path.stat().st_size == self.size and sha256_of(path) == self.sha256


def fetch(url: str, *, progress: Callable[[int, int], None] | None = None, pin: Pin | None = None) -> Path:
    """Fetch a file into the cache and resume an interrupted download; a cached file is not fetched again.

    If two processes or threads want the same file, one fetches and the other waits. If the server gives a tag, a file that has
    changed since an earlier try starts over. The file is checked against the server's length, the sha256 prefix in its name, if
    any, and `pin`, before it is stored under its name.

    Args:
        url: http or https.
        progress: called with the bytes done and the total bytes (0 if the server does not say).
        pin: what the file has to be; a cached file that differs is fetched again.

    Raises:
        UnreachableError: the server cannot be reached, or serves nobody at present.
        UnstorableError: the cache cannot be written.
        CheckpointError: the server refuses this file, or sent something else.
    """
    place = _place(url)
    folder, name = place.parent, place.name
    partial = folder / f"{name}.partial"
    try:
        if _is_there(place, pin):
            mark_used(place)
            return place
        folder.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(folder.with_name(f"{folder.name}.lock")):
            if not _is_there(place, pin):
                _download(url, partial, progress, MAX_BYTES if pin is None else pin.size)
                _verify(partial, name, url, pin)
                partial.replace(place)
                _tag_of(partial).unlink(missing_ok=True)
    except httpx.HTTPError as error:
        reason, kind = _reason(error), UnreachableError if _is_general(error) else FetchError
        raise kind(f"{url} could not be fetched: {reason}. Run the command again to resume.", reason) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnstorableError(f"{url} could not be stored in {folder}: {reason}.", reason) from error
    return place


def _is_there(place: Path, pin: Pin | None) -> bool:
    return place.exists() and (pin is None or pin.fits(place))


def _is_general(error: httpx.HTTPError) -> bool:
    """Whether the server would give another file just as little."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, (httpx.ConnectError, httpx.TimeoutException))


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.HTTPStatusError):  # its own text spans lines and repeats the URL
        return f"the server answered {error.response.status_code} {error.response.reason_phrase}".rstrip()
    return str(error) or type(error).__name__


def cached_file(url: str) -> Path | None:
    """The cached file of a URL, or None.

    Raises:
        CheckpointError: the URL does not name a file.
    """
    place = _place(url)
    return place if place.exists() else None


def _place(url: str) -> Path:
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if name in ("", ".", ".."):
        raise CheckpointError(f"{url} does not name a file. Give the URL of the file itself.")
    return cache_folder() / FETCHED / hashlib.sha256(url.encode()).hexdigest()[:12] / name


def fetch_from_hub(repository: str, files: Sequence[str], *, with_config: bool = False) -> Path:
    """Fetch the weights of a repository; cached ones need no network.

    Args:
        repository: `owner/name`, or `owner/name@revision`.
        files: possible names of the weights, in order of preference.
        with_config: also fetch the config that names the classes, if there is one; it is stored beside the weights.

    Raises:
        CheckpointError: the repository does not exist, is not permitted or reachable, or has no weights.
    """
    name, _, revision = repository.partition("@")
    weights = _weights_from_hub(name, files, revision or None)
    if with_config:
        _fetch_config(name, weights.parent.name)  # the Hub's cache names folders by commit
    return weights


def _fetch_config(name: str, commit: str) -> None:
    """Fetch the config of a commit into the folder of its weights, if it exists."""
    with hub_errors(name, commit):
        try:
            hf_hub_download(name, CONFIG, revision=commit, endpoint=os.environ.get("HF_ENDPOINT"))
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            return


def _weights_from_hub(name: str, files: Sequence[str], revision: str | None) -> Path:
    with hub_errors(name, revision):
        for file in files:
            try:
                endpoint = os.environ.get("HF_ENDPOINT")
                return Path(hf_hub_download(name, file, revision=revision, endpoint=endpoint))
            except LocalEntryNotFoundError:  # no network: asking for the other file would only time out again
                cached = (try_to_load_from_cache(name, other, revision=revision) for other in files)
                found = next((path for path in cached if isinstance(path, str)), None)
                if found is None:
                    raise
                return Path(found)
            except EntryNotFoundError:
                continue
    raise CheckpointError(f"{name} contains no weights; expected one of {', '.join(files)}.")


def _download(url: str, partial: Path, progress: Callable[[int, int], None] | None, most: int) -> None:
    """Fill `partial`, of at most `most` bytes; bytes it already has are not requested again."""
    there = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if there:
        headers["Range"] = f"bytes={there}-"
        if _tag_of(partial).exists():  # if the tag differs, the server sends the whole file
            headers["If-Range"] = _tag_of(partial).read_text(encoding="ascii")
    timeout = httpx.Timeout(SECONDS, connect=CONNECT_SECONDS)
    with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=timeout) as answer:
        if answer.status_code == 416:  # no bytes follow: the file is complete, or has changed on the server
            partial.unlink()
            raise httpx.HTTPError("the partial file does not match the server's file and was removed")
        answer.raise_for_status()
        if answer.headers.get("content-type", "").startswith("text/html"):
            raise CheckpointError(f"{url} returns a web page instead of a file. Open it in a browser.")
        resumed = answer.status_code == 206
        tag = answer.headers.get("etag", "")
        if resumed and not answer.headers.get("content-range", "").startswith(f"bytes {there}-"):
            partial.unlink()
            raise httpx.HTTPError("the server resumed at another position than requested; the partial file was removed")
        if not resumed:
            partial.unlink(missing_ok=True)  # before the tag: old bytes must never be paired with a new tag
            _tag_of(partial).unlink(missing_ok=True)
            if tag.startswith('"') and tag.isascii():  # a weak tag, W/"...", does not identify the bytes
                _tag_of(partial).write_text(tag, encoding="ascii")
        done = there if resumed else 0
        total = done + int(answer.headers.get("content-length") or 0)
        if total > most:
            raise CheckpointError(f"{url} has {in_units(total)}; expected at most {in_units(most)}.")
        with partial.open("ab" if resumed else "wb") as file:
            for part in answer.iter_bytes(PARTS):
                file.write(part)
                done += len(part)
                if done > most:
                    break
                if progress is not None:
                    progress(done, total)
    if done > most:
        partial.unlink()
        raise CheckpointError(f"{url} is larger than expected, which is at most {in_units(most)}.")
    if total and done != total:
        raise httpx.HTTPError(f"the connection ended after {done} of {total} bytes")


def _tag_of(partial: Path) -> Path:
    """Where the server's tag of a partial file is stored."""
    return partial.with_name(f"{partial.name}.etag")


def _verify(path: Path, name: str, url: str, pin: Pin | None) -> None:
    if pin is not None and not pin.fits(path):
        size, digest = path.stat().st_size, sha256_of(path)
        path.unlink()
        raise CheckpointError(
            f"{name} is not the pinned file: it has {size} bytes and sha256 {digest[:12]}…,"
            f" expected {pin.size} bytes and {pin.sha256[:12]}…. It was removed."
        )
    match = DIGEST_IN_NAME.search(name)
    if match is None:
        return
    digest = sha256_of(path)
    if not digest.startswith(match[1]):
        path.unlink()
        raise CheckpointError(
            f"The sha256 of the file from {url} begins with {digest[:8]}, but its name says {match[1]}. The file was removed."
        )
