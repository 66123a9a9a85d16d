"""sim2street app: open the app in a browser."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from models.errors import ConfigError


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("app", help="open the app in a browser")
    parser.add_argument("--port", type=int, default=8501, help="port to serve on (default 8501)")
    parser.add_argument("--headless", action="store_true", help="do not open a browser window")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Start Streamlit on the app's entry file."""
    if importlib.util.find_spec("streamlit") is None:
        raise ConfigError('The app needs Streamlit: pip install -e ".[app]"')
    root = Path(__file__).resolve().parent.parent.parent
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(root / "app" / "main.py"),
        "--server.port",
        str(options.port),
    ]
    if options.headless:
        command += ["--server.headless", "true"]
    try:
        # From the root, where Streamlit finds its config (.streamlit/config.toml).
        return subprocess.run(command, cwd=root, env=absolute_folders(), check=False).returncode
    except KeyboardInterrupt:
        return 0


def absolute_folders() -> dict[str, str]:
    """The environment with our folders made absolute, since the app runs in another folder than the person's."""
    environment = dict(os.environ)
    for name, value in environment.items():
        if name.startswith("SIM2STREET_") and value:
            parts = [str(Path(part).expanduser().absolute()) for part in value.split(os.pathsep) if part]
            environment[name] = os.pathsep.join(parts)
    return environment
