"""Checkpoints from the Hugging Face Hub, by repository id: safetensors and JSON only, never a pickle, never code.

This file also turns every error of the Hub, for downloads, uploads and Spaces alike, into one sentence that says what to do.
No sentence contains a token or a signed URL.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx
from tqdm.auto import tqdm

from sim2street.models.errors import CheckpointError
from sim2street.models.storage.checkpoint import PICKLES, Checkpoint
from sim2street.models.storage.files import CARD, CONFIG, METRICS, WEIGHTS

FILES: Final = (WEIGHTS, CONFIG, METRICS, CARD)
REPOSITORY: Final = re.compile(r"^(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?$")

HUB_ERRORS: Final = (OSError, httpx.HTTPError, HFValidationError, RuntimeError)
"""What the client raises: HTTP errors and files that cannot be written are OSErrors, a failed LFS upload is a RuntimeError."""

STATUS_SENTENCES: Final = {
    401: "The Hub does not accept the token. Sign in again with `hf auth login`, or set HF_TOKEN to a valid one.",
    402: "The Hub asks for a paid plan or credits for this; see the account's billing page.",
    403: "The token does not permit this for {what}. Create one with the role `write` at huggingface.co/settings/tokens,"
    " as the owner or a member of its organisation.",
    409: "Someone else changed {what} at the same moment. Nothing was written; try again.",
    412: "Someone else changed {what} at the same moment. Nothing was written; try again.",
    429: "The Hub's rate limit was reached (429). Wait a few minutes and try again.",
}

Progress = Callable[[int, int], None]
"""Called with the bytes done and the total bytes."""


def hub_api(token: str | None = None) -> HfApi:
    """The client for the Hub that `HF_ENDPOINT` names, huggingface.co unless set."""
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)


def is_repository(source: str) -> bool:
    """Whether this reads as `owner/name` or `owner/name@revision` rather than as a path."""
    return REPOSITORY.match(source) is not None and not source.startswith((".", "/"))


def git_blob(data: bytes) -> str:
    """Digest that git, and the Hub for small files, uses to identify a content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def split_repository(source: str) -> tuple[str, str | None]:
    """Split `owner/name@revision`; without one the revision is None.

    Raises:
        CheckpointError: it does not have this form.
    """
    match = REPOSITORY.match(source)
    if match is None:
        raise CheckpointError(f"{source!r} is not a repository id; expected owner/name or owner/name@revision.")
    return match["repository"], match["revision"]


def download_checkpoint(source: str, progress: Progress | None = None) -> Checkpoint:
    """Fetch a checkpoint's four files into the Hub's cache and check them; cached files are not fetched again.

    The next call resumes an interrupted download. A damaged one is removed from the cache.

    Args:
        source: `owner/name`, or `owner/name@revision` with a branch, tag or commit.
        progress: called as bytes arrive.

    Raises:
        CheckpointError: it does not exist, is not permitted, reachable, complete or a checkpoint, or the disk is full.
    """
    repository, revision = split_repository(source)
    with hub_errors(repository, revision):
        folder = _snapshot(repository, revision, tqdm_class=None if progress is None else _reporter(progress))
    try:
        return Checkpoint.open(folder, repository=f"{repository}@{folder.name}")
    except CheckpointError as error:
        hint = "" if (folder / WEIGHTS).exists() else _pickle_hint(repository, revision)
        _forget(folder)
        raise CheckpointError(f"{repository}: {error}{hint}") from error


def cached_checkpoint(source: str) -> Checkpoint | None:
    """Open a previously downloaded checkpoint without network access; None if it is missing or incomplete."""
    repository, revision = split_repository(source)
    try:
        folder = _snapshot(repository, revision, local_files_only=True)
        return Checkpoint.open(folder, repository=f"{repository}@{folder.name}")
    except (*HUB_ERRORS, CheckpointError):
        return None


@contextmanager
def hub_errors(repository: str, revision: str | None) -> Iterator[None]:
    """Turn any error of the Hub's client in this context into a `CheckpointError` that says what to do."""
    try:
        yield
    except HUB_ERRORS as error:
        raise CheckpointError(hub_sentence(error, repository, revision=revision)) from error


def no_repository(what: str) -> str:
    """A sentence on a text that the Hub would take for no repository."""
    return (
        f"{what!r} is not a repository id; expected owner/name of letters, digits, -, _ and ., such as"
        " 'your-account/your-model'."
    )


def hub_sentence(error: BaseException, what: str, *, revision: str | None = None) -> str:
    """Say what one of `HUB_ERRORS` means and what to do about it.

    Args:
        error: as the client raised it.
        what: the repository, Space or collection it was about.
        revision: the revision that was requested.
    """
    # The cause of "not in the cache" and "could not be uploaded" is the Hub's answer.
    if isinstance(error, RuntimeError | LocalEntryNotFoundError) and isinstance(error.__cause__, HfHubHTTPError):
        return hub_sentence(error.__cause__, what, revision=revision)
    status = error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else 0
    if isinstance(error, GatedRepoError):
        return f"{what} is gated: accept its terms on the Hub, then sign in with `hf auth login`."
    if isinstance(error, RevisionNotFoundError):
        return f"{what} has no revision {revision!r}, or no longer has it."
    # Without a token the Hub answers 401 even for repositories that do not exist.
    anonymous = (
        status == 401 and isinstance(error, HfHubHTTPError) and "authorization" not in error.response.request.headers
    )
    if anonymous or (isinstance(error, RepositoryNotFoundError) and status != 401):
        return (
            f"The repository {what} does not exist on the Hub or is private. If private, sign in with `hf auth login`."
        )
    if isinstance(error, OfflineModeIsEnabled | LocalEntryNotFoundError):
        return (
            f"{what} is not in the local cache and the Hub cannot be reached. Connect once, or name a local checkpoint."
        )
    if isinstance(error, HFValidationError):
        return no_repository(what)
    if status in STATUS_SENTENCES:
        return STATUS_SENTENCES[status].format(what=what)
    if status >= 500:
        return f"The Hub had a server error for {what} ({status}). Wait a few minutes and try again."
    if isinstance(error, HfHubHTTPError):
        return redacted(f"The Hub refused {what} ({status}): {error.server_message or 'no reason given'}.")
    if isinstance(error, httpx.HTTPError):  # a connection cut short, a proxy, a slow server
        return redacted(
            f"The connection to the Hub broke off while accessing {what} ({error}). Try again; transferred data is kept."
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{what} could not be stored: the disk is full. Free some space, or set HF_HOME to another disk."
    return redacted(f"{what} could not be stored or sent: {getattr(error, 'strerror', None) or error}.")


def redacted(text: str) -> str:
    """Remove tokens and URL signatures from a text."""
    return re.sub(r"hf_\w+", "hf_…", re.sub(r"(https?://[^\s?]+)\?\S+", r"\1?…", text))


def _snapshot(repository: str, revision: str | None, **options: Any) -> Path:
    endpoint = os.environ.get("HF_ENDPOINT")
    return Path(
        snapshot_download(repository, revision=revision, allow_patterns=list(FILES), endpoint=endpoint, **options)
    )


def _reporter(progress: Progress) -> type[tqdm]:
    """A progress bar class that reports bytes instead of drawing; the client creates several bars from it."""

    class Reporter(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            self.is_bytes = options.get("unit") == "B" and str(options.get("desc", "")).startswith("Reconstructing")
            super().__init__(*args, **{**options, "file": open(os.devnull, "w"), "disable": False})  # noqa: SIM115

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            if self.is_bytes:
                progress(int(self.n), int(self.total or 0))
            return shown

        def close(self) -> None:
            super().close()
            if not self.fp.closed:
                self.fp.close()

    return Reporter


def _pickle_hint(repository: str, revision: str | None) -> str:
    """Name the pickle that a repository has instead of safetensors, if any."""
    try:
        names = hub_api().list_repo_files(repository, revision=revision)
    except HUB_ERRORS:
        return ""
    pickles = [name for name in names if name.endswith(PICKLES)]
    return (
        f" It contains {pickles[0]}, a pickle, which is never opened; ask its owner for safetensors." if pickles else ""
    )


def _forget(folder: Path) -> None:
    """Remove a snapshot's files and what they link to from the cache, so that the next call fetches them again."""
    for link in folder.iterdir():
        link.resolve().unlink(missing_ok=True)
        link.unlink(missing_ok=True)
