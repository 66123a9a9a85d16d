"""Where things lie that can be fetched or computed again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Folder for what can be had again: SIM2STREET_CACHE, else ~/.cache/sim2street."""
    return Path(os.environ.get("SIM2STREET_CACHE") or "~/.cache/sim2street").expanduser()
