"""Whether there is compiled code, and whether it is loaded: it needs Numba, the extra `fast`, and half a second to load.

Importing this module loads neither it nor PyTorch.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from functools import cache
from types import ModuleType
from typing import Final

LOGGER: Final = logging.getLogger(__name__)
COMPILED: Final = "sim2street.models.compiled"


@cache
def compiled_code() -> ModuleType | None:
    """The module `compiled`, or None where Numba, the extra `fast`, is not installed or does not work."""
    if importlib.util.find_spec("numba") is None:
        return None
    try:
        from sim2street.models import compiled
    except ImportError as error:  # Numba refuses a NumPy that is newer than it knows
        LOGGER.warning("Numba is installed but does not work (%s), so photos take longer.", error)
        return None
    return compiled


def is_compiled() -> bool:
    """Whether compiled code is loaded already, so that the next photo is computed by it."""
    return COMPILED in sys.modules and compiled_code() is not None


def compiled_resizing() -> ModuleType | None:
    """The module `compiled_resizing` where compiled code is loaded already; None elsewhere."""
    if not is_compiled():
        return None
    from sim2street.models import compiled_resizing

    return compiled_resizing
