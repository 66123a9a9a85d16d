"""Checkpoints of authors' own repositories on the Hub, imported once and kept in the cache, for pages that name them by commit."""

from __future__ import annotations

import hashlib
from pathlib import Path

from huggingface_hub.utils import WeakFileLock

from sim2street.models.errors import CheckpointError
from sim2street.models.importers import FAMILIES, WeightsFile, import_checkpoint
from sim2street.models.importers.download import fetch_from_hub
from sim2street.models.importers.releases import RELEASES
from sim2street.models.storage.cache import FETCHED, cache_folder, mark_used
from sim2street.models.storage.checkpoint import Checkpoint


def import_hosted(family: str, source: str) -> Checkpoint:
    """Fetch and import the weights of a commit; what was imported before needs neither network nor time.

    If two processes want the same weights, one imports and the other waits.

    Args:
        family: key in `FAMILIES`, one with repositories on the Hub.
        source: `owner/name@commit`.

    Raises:
        CheckpointError: as `fetch_from_hub` and `import_checkpoint`; the disk is full.
    """
    if (known := imported_before(family, source)) is not None:
        return known
    place = _place(family, source)
    repository = source.partition("@")[0]
    release = next((entry for entry in RELEASES.values() if entry.repository == repository), None)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(place.with_name(f"{place.name}.lock")):
            if (known := imported_before(family, source)) is not None:
                return known
            weights = fetch_from_hub(source, FAMILIES[family].hub_files, with_config=True)
            file = WeightsFile(weights, f"https://huggingface.co/{source}")
            import_checkpoint(family, [file], place, published=release, title="" if release else repository)
    except OSError as error:
        raise CheckpointError(f"{source} could not be stored in {place}: {error.strerror or error}.") from error
    return Checkpoint.open(place, repository=source)


def imported_before(family: str, source: str) -> Checkpoint | None:
    """Open what was imported earlier; None if that is missing or incomplete."""
    place = _place(family, source)
    if not place.is_dir():
        return None
    try:
        found = Checkpoint.open(place, repository=source)
    except CheckpointError:
        return None
    mark_used(place)
    return found


def _place(family: str, source: str) -> Path:
    return cache_folder() / FETCHED / hashlib.sha256(f"{family}:{source}".encode()).hexdigest()[:12]
