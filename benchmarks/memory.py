"""Memory and time that photos take: each kind in a process of its own, and eight at once through a server's workers.

    python -m benchmarks.memory

The peaks are of resident memory above that of the process before the photo came; the photos have the most pixels that
are decoded, and few bytes.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import psutil
from PIL import Image

from benchmarks.machine import machine_line
from sim2street import child_environment
from sim2street.app.content.decode_workers import Workers
from sim2street.models.photo import MAX_PIXELS, read_photo

SIDE = int(MAX_PIXELS**0.5)
LONG_SIDE = 1024
KINDS = {
    "JPEG": ("JPEG", "RGB"),
    "progressive JPEG": ("JPEG", "RGB"),
    "PNG": ("PNG", "RGB"),
    "PNG with transparency": ("PNG", "RGBA"),
    "PNG, grey, 16 bits": ("PNG", "I;16"),
    "WebP": ("WEBP", "RGB"),
    "TIFF, floats": ("TIFF", "F"),
}


def photo(kind: str) -> bytes:
    """A picture of one colour with as many pixels as are decoded."""
    form, mode = KINDS[kind]
    image = Image.new("I", (SIDE, SIDE), 1000).convert("I;16") if mode == "I;16" else Image.new(mode, (SIDE, SIDE))
    options = {"progressive": True} if kind.startswith("progressive") else {}
    options |= {"compression": "tiff_lzw"} if form == "TIFF" else {}
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def alone(needed: bool) -> None:
    """Read a photo from stdin and print MB and seconds."""
    data, process = sys.stdin.buffer.read(), psutil.Process()
    before, started = process.memory_info().rss, time.process_time()
    peak = watched(lambda: read_photo(data, long_side=LONG_SIDE if needed else None), [process])
    print(f"{(peak - before) / 1e6:.0f} {time.process_time() - started:.1f}")


def watched(work: Callable[[], object], processes: list[psutil.Process]) -> int:
    """Highest resident memory of some processes together while something is done."""
    done, peak = threading.Event(), 0

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, sum(each.memory_info().rss for each in processes))

    thread = threading.Thread(target=watch)
    thread.start()
    work()
    done.set()
    thread.join()
    return peak


def in_a_process(data: bytes, *, needed: bool) -> str:
    command = [sys.executable, "-m", "benchmarks.memory", "--alone", "needed" if needed else "whole"]
    found = subprocess.run(command, input=data, capture_output=True, check=True, env=child_environment())
    megabytes, seconds = found.stdout.decode().split()
    return f"{megabytes} MB, {seconds} s"


def at_once(data: bytes, count: int) -> str:
    """Server and workers together, above what they have when idle."""
    pool = Workers(seconds=120, line_seconds=600)
    threads = [
        threading.Thread(target=lambda: pool.run(read_photo, data, name="x", long_side=LONG_SIDE)) for _ in range(count)
    ]
    small = io.BytesIO()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(small, "PNG")
    pool.run(read_photo, small.getvalue(), name="x")
    me = psutil.Process()

    def work() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    before = me.memory_info().rss
    server = watched(work, [me]) - before
    workers = sum(each.memory_info().rss for each in me.children())
    pool.end()
    return f"server {server / 1e6:.0f} MB more; workers keep {workers / 1e6:.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alone", choices=("needed", "whole"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(options.alone == "needed")
        return
    print(machine_line())
    print(f"| {SIDE}×{SIDE} pixels | file, MB | for the page | whole |\n|---|---|---|---|")
    for kind in KINDS:
        data = photo(kind)
        cells = [f"{len(data) / 1e6:.1f}", in_a_process(data, needed=True), in_a_process(data, needed=False)]
        print(f"| {kind} | {' | '.join(cells)} |", flush=True)
    print(f"\nEight PNGs at once: {at_once(photo('PNG, grey, 16 bits'), 8)}")


if __name__ == "__main__":
    main()
