"""Attack everything that comes in and everything that is written, at random but repeatably.

    python -m tests.campaign [--seed N] [--scale S] [--only PART]

At scale 1: 2,000 damaged photos, 500 recipes, 500 checkpoint folders, 500 job stores, 60 kills of processes that
write, 200 uploads in a row to the hosted page, and 40 visitors at once with different photos, then with one and the same.
A fault is a traceback, a call of more than 20 seconds, or something whole that is lost. The exit code is 1 if there is one.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from benchmarks.machine import machine_line
from tests.campaign.part import Outcome

PARTS = {
    "photos": ("photos", 2000),
    "recipes": ("folders", 500),
    "checkpoints": ("folders", 500),
    "stores": ("folders", 500),
    "kills": ("kills", 60),
    "uploads": ("visitors", 200),
    "visitors": ("visitors", 40),
}
"""Name of a part -> its module, and its attacks at scale 1."""
MOST_MEMORY = 3 * 2**30
"""Bytes by which a part may raise the process's highest use of memory, which others may have raised before it."""


def peak_memory() -> int:
    """Bytes of memory that this process had at its highest so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def run_part(name: str, seed: int, scale: float) -> Outcome:
    """One part in a folder of its own."""
    module, count = PARTS[name]
    attack = getattr(importlib.import_module(f"tests.campaign.{module}"), name)
    before = peak_memory()
    with tempfile.TemporaryDirectory(prefix="sim2street_campaign_") as folder:
        outcome = attack(max(2, round(count * scale)), Random(f"{seed} {name}"), Path(folder))
    peak = peak_memory()
    outcome.note = "; ".join(filter(None, [f"{peak / 1e9:.1f} GB", outcome.note]))
    outcome.expect(peak - before < MOST_MEMORY, f"the process grew from {before / 1e9:.1f} to {peak / 1e9:.1f} GB")
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the attacks (default 1)")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    options = parser.parse_args()
    print(machine_line())
    print("| part | attacks | refused with a reason | faults | slowest call | memory at most, and notes | minutes |")
    print("|---|---|---|---|---|---|---|")
    faults: list[str] = []
    for name in [options.only] if options.only else PARTS:
        started = time.monotonic()
        found = run_part(name, options.seed, options.scale)
        minutes = (time.monotonic() - started) / 60
        cells = (name, found.tried, found.refused, len(found.faults), f"{found.slowest:.1f} s", found.note)
        print(f"| {' | '.join(map(str, cells))} | {minutes:.1f} |", flush=True)
        faults += [f"{name}: {fault}" for fault in found.faults]
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
