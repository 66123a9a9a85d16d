"""sim2street app: open the app in a browser."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys

from sim2street import ROOT
from sim2street.models.errors import ConfigError
from sim2street.training.commands.arguments import parse_port
from sim2street.training.commands.server import serve


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("app", help="open the app in a browser")
    parser.add_argument("--port", type=parse_port, default=8501, help="port to serve on (default 8501)")
    parser.add_argument(
        "--address", default="localhost", help="address to serve on: localhost (default), or 0.0.0.0 for the network"
    )
    parser.add_argument("--headless", action="store_true", help="do not open a browser window")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Start Streamlit on the app's entry file."""
    if importlib.util.find_spec("streamlit") is None:
        raise ConfigError('The app needs Streamlit: pip install -e ".[app]"')
    command = [sys.executable, "-P", "-m", "streamlit", "run", os.fspath(ROOT / "app" / "main.py")]
    command += ["--server.port", str(options.port), "--server.address", options.address]
    if options.headless:
        command += ["--server.headless", "true"]
    return serve(command)
