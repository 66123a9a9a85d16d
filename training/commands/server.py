"""What the commands that serve a page share: the environment it runs in, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
"""Where pages run: Streamlit finds its config there (app/.streamlit/config.toml)."""


def serve(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a server from the root until it ends; who stops this process stops it too. Returns its exit code."""
    stopped = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        server.terminate()

    server = subprocess.Popen(command, cwd=ROOT, env=dict(environment))
    before = signal.signal(signal.SIGTERM, stop)
    try:
        code = server.wait()
        return 0 if stopped else code
    except KeyboardInterrupt:  # the terminal sends it to both
        server.wait()
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)


def absolute_folders() -> dict[str, str]:
    """The environment with our folders made absolute, since a page runs in another folder than the person's."""
    environment = dict(os.environ)
    for name, value in environment.items():
        if name.startswith("SIM2STREET_") and value:
            parts = [str(Path(part).expanduser().absolute()) for part in value.split(os.pathsep) if part]
            environment[name] = os.pathsep.join(parts)
    return environment
