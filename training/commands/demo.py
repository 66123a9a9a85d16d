"""sim2street demo: serve the hosted page on this machine."""

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
    parser = commands.add_parser("demo", help="serve the hosted page (Gradio) on this machine")
    parser.add_argument("--port", type=parse_port, default=7860, help="port to serve on (default 7860)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Start the page by running its file, as a Space does."""
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError('The demo needs Gradio: pip install -e ".[demo]"')
    return serve(
        [sys.executable, os.fspath(ROOT / "app" / "demo.py")],
        GRADIO_SERVER_PORT=str(options.port),
        GRADIO_ANALYTICS_ENABLED="False",
    )
