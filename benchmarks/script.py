"""Runs a benchmark: an error ends in one sentence, as in `sim2street`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from sim2street.models.errors import Sim2StreetError


def run(main: Callable[[], int | None]) -> int:
    """Call `main` and return its exit status: 2 after a reported error, 130 after Ctrl-C."""
    try:
        return main() or 0
    except Sim2StreetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
