"""A cold start of the app: how long until the page stands, until the first method's pane, and until the last one?

    python -m benchmarks.first_paint
    python -m benchmarks.first_paint --style night --street 7 --runs 3

Each run starts a server of its own and opens Compare in Chromium, as a first visitor does, with the methods that the page
begins with. Processor time is that of the server since its start, imports included (Linux only); wall-clock time counts
from the browser's request. The last line is what the same networks need for the bare forwards in this warm process.
SIM2STREET_CHROMIUM names the browser.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import sync_playwright

from benchmarks.machine import machine_line
from benchmarks.script import run
from benchmarks.visitors import serving
from sim2street.app.content.comparison import preselected
from sim2street.app.content.engine import Settings, predictor
from sim2street.app.content.streets import rendered_scene
from sim2street.models.storage.catalog import catalog
from sim2street.training.commands.arguments import parse_positive

CHROMIUM: Final = os.environ.get("SIM2STREET_CHROMIUM", "/usr/bin/chromium")
WAIT: Final = 300_000
"""Milliseconds for a busy machine."""
MILESTONES: Final = {
    "first paint": "h1",
    "photo and ground truth": '.viewer .pane[data-key="truth"] canvas',
    "first method's pane": ".viewer .pane:not(.waiting):nth-child(3) canvas",
    "last method's pane": ".answer:not(:empty)",
}
"""What is waited for, as CSS selectors, in this order."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", default="fog")
    parser.add_argument("--street", type=int, default=3)
    parser.add_argument("--runs", type=parse_positive, default=3)
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        runs = [cold_start(browser, f"/?style={options.style}&street={options.street}") for _ in range(options.runs)]
        browser.close()
    print(f"{machine_line()}; medians of {options.runs}\n")
    print("| until | processor seconds of the server | wall-clock seconds |\n|---|---|---|")
    for name in ("server answers", *MILESTONES):
        cpu, wall = (statistics.median(times[name][i] for times in runs) for i in (0, 1))
        print(f"| {name} | {cpu:.1f} | {wall:.1f} |")
    names, seconds = bare_forwards(options.style, options.street)
    print(f"\nBare forwards of {', '.join(names)}: {seconds:.1f} processor seconds.")
    return 0


def cold_start(browser: Any, address: str) -> dict[str, tuple[float, float]]:
    """Processor and wall-clock seconds until each milestone of a server that has just started."""
    with serving("app") as (url, pid):
        times = {"server answers": (processor_seconds(pid), 0.0)}
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        start = time.perf_counter()
        page.goto(url + address)
        for name, selector in MILESTONES.items():
            page.locator(selector).first.wait_for(timeout=WAIT)
            times[name] = (processor_seconds(pid), time.perf_counter() - start)
        page.close()
    return times


def processor_seconds(pid: int) -> float:
    """User and system time of a process with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bare_forwards(style: str, street: int) -> tuple[list[str], float]:
    """The checkpoints that Compare begins with, and the sum of the processor seconds in which each reads the photo."""
    photo = rendered_scene(style, street).photo
    opened = [entry.checkpoint for entry in catalog() if entry.checkpoint is not None]
    chosen, total = preselected(opened, rendered=True), 0.0
    for checkpoint in chosen:
        predict = predictor(checkpoint, Settings())
        predict(photo)  # the first one loads and lays out
        start = time.process_time()
        predict(photo)
        total += time.process_time() - start
    return [checkpoint.name for checkpoint in chosen], total


if __name__ == "__main__":
    raise SystemExit(run(main))
