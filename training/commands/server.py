"""What the commands that serve a page share: how the server starts, and how it ends."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from types import FrameType

from sim2street import child_environment


def serve(command: Sequence[str], **variables: str) -> int:
    """Run a server until it ends and return its exit code; stopping this process stops the server too.

    Args:
        command: the server's command line.
        variables: environment variables to add to those of this process.
    """
    stopped = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        server.terminate()

    server = subprocess.Popen(command, env=child_environment() | variables)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        code = server.wait()
        return 0 if stopped else code
    except KeyboardInterrupt:  # the terminal sends it to both
        server.wait()
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)
