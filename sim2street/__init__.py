"""Unsupervised domain adaptation for street-scene segmentation: `sim2street.models`, `.training` and `.app`.

The three folders are beside this one in a checkout and inside it in an installed package; their import names are the same.
So a checkout works without being installed, as long as its root is on Python's path.
"""

import os
from pathlib import Path
from typing import Final

__version__ = "0.1.0"

_HERE: Final = Path(__file__).resolve().parent

IS_CHECKOUT: Final = not (_HERE / "models").is_dir()
ROOT: Final = _HERE.parent if IS_CHECKOUT else _HERE
"""The folder that contains `models`, `training`, `app` and the Spacefile."""

if IS_CHECKOUT:
    __path__.append(str(ROOT))


def child_environment() -> dict[str, str]:
    """Return the environment in which a child process can import this package, installed or not."""
    environment = dict(os.environ)
    if IS_CHECKOUT:
        paths = (str(ROOT), environment.get("PYTHONPATH", ""))
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment
