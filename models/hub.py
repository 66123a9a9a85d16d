"""Checkpoints from the Hugging Face Hub, by repository id: safetensors and JSON only, never a pickle, never code."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from huggingface_hub import snapshot_download
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

from models.checkpoint import CARD, CONFIG, METRICS, WEIGHTS
from models.errors import CheckpointError

FILES: Final = (WEIGHTS, CONFIG, METRICS, CARD)
REPOSITORY: Final = re.compile(r"^(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?$")


def is_repository(source: str) -> bool:
    """Whether this reads as `owner/name` or `owner/name@revision` rather than as a path."""
    return REPOSITORY.match(source) is not None and not source.startswith((".", "/"))


def download_checkpoint(source: str) -> Path:
    """Fetch a checkpoint's four files into the Hub's cache; what is there already is not fetched again.

    Args:
        source: `owner/name`, or `owner/name@revision` with a branch, tag or commit.

    Returns:
        The folder; `Checkpoint.open` checks it.

    Raises:
        CheckpointError: it is not there, not allowed, not reachable, or the disk is full.
    """
    match = REPOSITORY.match(source)
    if match is None:
        raise CheckpointError(f"{source!r} is no repository id; expected owner/name or owner/name@revision.")
    repository, revision = match["repository"], match["revision"]
    with hub_errors(repository, revision):
        folder = snapshot_download(
            repository, revision=revision, allow_patterns=list(FILES), endpoint=os.environ.get("HF_ENDPOINT")
        )
    return Path(folder)


@contextmanager
def hub_errors(repository: str, revision: str | None) -> Iterator[None]:
    """Turn whatever the Hub's client raises within into a `CheckpointError` that says what to do."""
    try:
        yield
    except GatedRepoError as error:
        raise CheckpointError(
            f"{repository} is gated: accept its terms on the Hub, then sign in with `hf auth login`."
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"{repository} has no revision {revision!r}.") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"There is no repository {repository} on the Hub, or it is private: then sign in with `hf auth login`."
        ) from error
    except (OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        raise CheckpointError(
            f"{repository} is not in the local cache and the Hub cannot be reached. Connect once, or name a local checkpoint."
        ) from error
    except HFValidationError as error:
        raise CheckpointError(f"{repository!r} is no repository id: {error}") from error
    except HfHubHTTPError as error:
        raise CheckpointError(f"The Hub refused {repository}: {str(error).splitlines()[0]}") from error
    except httpx.HTTPError as error:  # a connection cut short, a proxy, a slow server
        raise CheckpointError(
            f"{repository} could not be fetched: {error}. Try again; what is there is kept."
        ) from error
    except OSError as error:
        raise CheckpointError(f"{repository} could not be stored: {error.strerror or error}.") from error
