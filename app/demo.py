"""The hosted page: a Gradio Space on ZeroGPU, or any machine. `python app/demo.py`, or `sim2street demo`.

It shows what the Streamlit app shows, with the same viewer, engine and figures, and installs without accelerate.
"""

from __future__ import annotations

import base64
import importlib.util
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import gradio as gr
from starlette.middleware import Middleware

if not __package__:  # run by its path, as in a Space, without the package installed
    import checkout  # noqa: F401

from sim2street.app.content import checkpoint_list, html_tables
from sim2street.app.content.comparison import listed_checkpoints
from sim2street.app.content.engine import ENGINE, Engine, Failure, Settings, answer_pane, predictor
from sim2street.app.content.headline import HEADING, INTRODUCTION
from sim2street.app.content.panes import Pane
from sim2street.app.content.request_guard import RequestGuard
from sim2street.app.demo_page import gradio_parts, uploads
from sim2street.app.demo_page.address import BENCHMARK
from sim2street.app.demo_page.benchmark_tab import build_benchmark_tab, keep_address
from sim2street.app.demo_page.compare_tab import LOOK_SECONDS, CompareTab
from sim2street.app.demo_page.demo_api import BlocksWithInputErrors, DemoApi
from sim2street.app.demo_page.failures_tab import FailuresTab
from sim2street.app.demo_page.gap_tab import GapTab
from sim2street.app.demo_page.gradio_theme import CSS, theme
from sim2street.app.demo_page.methods_tab import build_methods_tab
from sim2street.app.demo_page.open_compare import COMPARE, with_checkpoint
from sim2street.models.errors import CheckpointError
from sim2street.models.storage.catalog import CatalogEntry, catalog

HERE: Final = Path(__file__).resolve().parent
ON_ZERO_GPU: Final = bool(os.environ.get("SPACES_ZERO_GPU"))
QUEUE: Final = 64
"""Requests that may wait; further ones are refused."""
RECENT_SECONDS: Final = 20.0
"""Age in seconds after which the catalog is read again."""


def build_demo(engine: Engine = ENGINE, entries: Callable[[], list[CatalogEntry]] | None = None) -> gr.Blocks:
    """Build the page; add a tab with another `with gr.Tab(...)`.

    Args:
        engine: segments photos; shared by all visitors.
        entries: the catalog; by default every available checkpoint, without waiting for downloads.
    """
    listed = entries or recent_checkpoints
    uploads.FOLDER_OF_UPLOADS.claim()
    with BlocksWithInputErrors(title="Sim2Street", analytics_enabled=False) as demo:
        gr.HTML(_head(), elem_id="head")
        compare = CompareTab(engine, listed, reads=not ON_ZERO_GPU)
        failures = FailuresTab(engine, listed, reads=not ON_ZERO_GPU)
        with gr.Tabs() as tabs:
            with gr.Tab("Compare", id=COMPARE):
                compare.build(demo)
            with gr.Tab(BENCHMARK, id=BENCHMARK):
                rooms = build_benchmark_tab(demo, failures)
            with gr.Tab("Methods"):
                build_methods_tab(demo, engine, listed, demonstrates=not ON_ZERO_GPU)
            with gr.Tab("Gap"):
                GapTab(engine, listed, reads=not ON_ZERO_GPU).build(demo)
            with gr.Tab("Checkpoints"):
                gr.Markdown(checkpoint_list.INTRODUCTION)
                cards = gradio_parts.checkpoint_cards()
                demo.load(lambda: html_tables.checkpoint_cards(listed()), None, cards, api_visibility="private")
            if os.environ.get("OAUTH_CLIENT_ID"):  # a Space with sign-in; without one, visitors cannot be identified
                from sim2street.app.demo_page.admin_tab import build_admin_tab

                with gr.Tab("Admin"):
                    build_admin_tab(demo)
        keep_address(demo, tabs, rooms, failures)
        turned = [tabs, compare.chosen, compare.methods, compare.view]
        opened = failures.cards.choose(
            failures.opened,
            [failures.set, failures.reader, failures.against, failures.cell, compare.chosen, compare.offers],
            [compare.source, compare.style, compare.street, *turned],
            api_visibility="private",
        )
        beside = cards.choose(
            with_checkpoint, [compare.source, compare.chosen, compare.offers], turned, api_visibility="private"
        )
        for event in (opened, beside):
            event.then(None, js="() => scrollTo(0, 0)")
        DemoApi(engine, listed).build()
    return demo.queue(max_size=QUEUE, default_concurrency_limit=4)


class Recent:
    """Cache of the catalog, refreshed when it is old: opening the catalog reads all weights to verify their sha256."""

    def __init__(self, look: Callable[[], list[CatalogEntry]], clock: Callable[[], float] = time.monotonic) -> None:
        self._look = look
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: list[CatalogEntry] = []
        self._until = -math.inf

    def __call__(self) -> list[CatalogEntry]:
        """All entries; of many simultaneous callers, only one reads the catalog."""
        with self._lock:
            if self._clock() >= self._until:
                self._entries = self._look()
                moving = any(entry.download is not None for entry in self._entries)
                self._until = self._clock() + (LOOK_SECONDS / 2 if moving else RECENT_SECONDS)
            return self._entries


recent_checkpoints: Final = Recent(listed_checkpoints)


def launch_options() -> dict[str, Any]:
    """Arguments for `launch`: theme, limits, the server's middleware, and MCP tools if `gradio[mcp]` is installed."""
    return {
        "theme": theme(),
        "css": CSS,
        "favicon_path": str(HERE / "icon.svg"),
        "max_file_size": f"{uploads.MAX_MEGABYTES}mb",
        "footer_links": ["api"],
        "mcp_server": importlib.util.find_spec("mcp") is not None,
        "ssr_mode": False,
        "show_error": False,
        "app_kwargs": {
            "middleware": [Middleware(RequestGuard, uploads=uploads.upload_route())],
            "lifespan": uploads.FOLDER_OF_UPLOADS.swept,
        },
    }


def use_zero_gpu() -> None:
    """On ZeroGPU: put every network on the (emulated) GPU now, and segment photos in the process that is lent a real one.

    Networks loaded later would be loaded again on every call, so this waits for all downloads.
    """
    import spaces  # pyright: ignore[reportMissingImports]  # comes with ZeroGPU Spaces only

    for entry in catalog():
        if entry.checkpoint is not None:
            try:
                predictor(entry.checkpoint, Settings())
            except CheckpointError as error:
                print(f"{entry.name} cannot be used: {error}", file=sys.stderr)
    lent = spaces.GPU(duration=20)(answer_pane)

    def predict(*arguments: Any) -> Pane | Failure:
        try:
            return lent(*arguments)
        except gr.Error as error:  # no GPU was free, the visitor's quota is used up, or the process ended
            return Failure(f"ZeroGPU gave no graphics card: {error.message}", passing=True)

    ENGINE.predict = predict


def _head() -> str:
    icon = base64.b64encode((HERE / "icon.svg").read_bytes()).decode("ascii")
    return f"""<header><img src="data:image/svg+xml;base64,{icon}" alt="">
<div><h1>{HEADING}</h1>
<p>{INTRODUCTION}</p></div></header>"""


def main() -> None:
    """Serve the page until the process ends."""
    if ON_ZERO_GPU:
        use_zero_gpu()
    build_demo().launch(**launch_options())


if __name__ == "__main__":
    main()
