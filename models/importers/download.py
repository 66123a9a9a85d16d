"""Fetching released weights: over a plain link, or from the Hugging Face Hub by repository id."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from huggingface_hub.utils import WeakFileLock, httpx

from sim2street.models.errors import CheckpointError
from sim2street.models.importers.reading import MAX_BYTES
from sim2street.models.storage.cache import FETCHED, cache_folder, mark_used
from sim2street.models.storage.files import CONFIG, sha256_of
from sim2street.models.storage.hub import hub_errors

PARTS: Final = 2**20
SECONDS: Final = 30
"""Longest silence of a server."""
DIGEST_IN_NAME: Final = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+(\.gz)?$")
"""Authors who follow PyTorch's habit put the beginning of a file's sha256 into its name."""


def fetch(url: str, *, progress: Callable[[int, int], None] | None = None) -> Path:
    """Fetch a file into the cache, going on where an earlier try was cut short; one that is there is not fetched again.

    Of two who want the same file one fetches and the other waits. A file that has changed on the server since an earlier
    try begins anew, where the server gives it a tag. It is verified against the server's length and, where its name carries one, the beginning of its sha256.

    Args:
        url: http or https.
        progress: called with bytes done and bytes in all (0 if the server does not say).

    Raises:
        CheckpointError: the server cannot be reached or refuses, the disk is full, or what came is not the file.
    """
    cached = cached_file(url)
    if cached is not None:
        mark_used(cached)
        return cached
    place = _place(url)
    folder, name = place.parent, place.name
    partial = folder / f"{name}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(folder.with_name(f"{folder.name}.lock")):
            if not place.exists():
                _download(url, partial, progress)
                _verify(partial, name, url)
                partial.replace(place)
                _tag_of(partial).unlink(missing_ok=True)
    except httpx.HTTPError as error:
        raise CheckpointError(
            f"{url} could not be fetched: {error or type(error).__name__}. Run the command again to go on."
        ) from error
    except OSError as error:
        raise CheckpointError(f"{url} could not be stored in {folder}: {error.strerror or error}.") from error
    return place


def cached_file(url: str) -> Path | None:
    """What `fetch` has fetched from an address, if it is in the cache.

    Raises:
        CheckpointError: the address names no file.
    """
    place = _place(url)
    return place if place.exists() else None


def _place(url: str) -> Path:
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if name in ("", ".", ".."):
        raise CheckpointError(f"{url} names no file. Give the address of the file itself.")
    return cache_folder() / FETCHED / hashlib.sha256(url.encode()).hexdigest()[:12] / name


def fetch_from_hub(repository: str, files: Sequence[str], *, with_config: bool = False) -> Path:
    """Fetch the weights of a repository; cached ones without network.

    Args:
        repository: `owner/name`, or `owner/name@revision`.
        files: names under which the weights may lie, the better first.
        with_config: fetch the config that names the classes too, where there is one; it lies beside the weights then.

    Raises:
        CheckpointError: the repository is not there, not allowed, not reachable, or holds no weights.
    """
    name, _, revision = repository.partition("@")
    weights = _weights_from_hub(name, files, revision or None)
    if with_config:
        _fetch_config(name, weights.parent.name)  # a folder of the Hub's cache is called by its commit
    return weights


def _fetch_config(name: str, commit: str) -> None:
    """Fetch the config of a commit into the folder of its weights; one that does not exist is no error."""
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
            except LocalEntryNotFoundError:  # no network; asking it for the other file would only wait again
                cached = (try_to_load_from_cache(name, other, revision=revision) for other in files)
                found = next((path for path in cached if isinstance(path, str)), None)
                if found is None:
                    raise
                return Path(found)
            except EntryNotFoundError:
                continue
    raise CheckpointError(f"{name} holds none of {', '.join(files)}.")


def _download(url: str, partial: Path, progress: Callable[[int, int], None] | None) -> None:
    """Fill `partial`; bytes that it holds are not asked for again."""
    there = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if there:
        headers["Range"] = f"bytes={there}-"
        if _tag_of(partial).exists():  # of another tag, the whole file comes
            headers["If-Range"] = _tag_of(partial).read_text(encoding="ascii")
    with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=SECONDS) as answer:
        if answer.status_code == 416:  # there is nothing after what is there: complete, or another file by now
            partial.unlink()
            raise httpx.HTTPError("what was fetched before does not fit the file, and was removed")
        answer.raise_for_status()
        if answer.headers.get("content-type", "").startswith("text/html"):
            raise CheckpointError(f"{url} answers with a web page, not with a file. Open it in a browser.")
        resumed = answer.status_code == 206
        tag = answer.headers.get("etag", "")
        if resumed and not answer.headers.get("content-range", "").startswith(f"bytes {there}-"):
            partial.unlink()
            raise httpx.HTTPError("the server went on at another place than it was asked to; what there was is removed")
        if not resumed:
            partial.unlink(missing_ok=True)  # before the tag: old bytes must never stand beside a new one
            _tag_of(partial).unlink(missing_ok=True)
            if tag.startswith('"') and tag.isascii():  # a weak one, W/"...", says nothing about bytes
                _tag_of(partial).write_text(tag, encoding="ascii")
        done = there if resumed else 0
        total = done + int(answer.headers.get("content-length") or 0)
        if total > MAX_BYTES:
            raise CheckpointError(f"{url} is {total / 2**30:.1f} GB; up to {MAX_BYTES >> 30} GB are fetched.")
        with partial.open("ab" if resumed else "wb") as file:
            for part in answer.iter_bytes(PARTS):
                file.write(part)
                done += len(part)
                if done > MAX_BYTES:
                    raise CheckpointError(f"{url} goes on beyond {MAX_BYTES >> 30} GB.")
                if progress is not None:
                    progress(done, total)
    if total and done != total:
        raise httpx.HTTPError(f"{done} of {total} bytes came")


def _tag_of(partial: Path) -> Path:
    """Where the server's tag of a file under way is noted."""
    return partial.with_name(f"{partial.name}.etag")


def _verify(path: Path, name: str, url: str) -> None:
    match = DIGEST_IN_NAME.search(name)
    if match is None:
        return
    digest = sha256_of(path)
    if not digest.startswith(match[1]):
        path.unlink()
        raise CheckpointError(
            f"{url} gave a file whose sha256 begins with {digest[:8]}; its name promises {match[1]}. It was removed."
        )
