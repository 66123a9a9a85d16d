"""How a benchmark is run: a wrong name ends in one sentence, as it does for `sim2street`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from sim2street.models.errors import Sim2StreetError


def run(main: Callable[[], int | None]) -> int:
    """Call `main` and give its exit status: 2 after an error that is said, 130 after Ctrl-C."""
    try:
        return main() or 0
    except Sim2StreetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
