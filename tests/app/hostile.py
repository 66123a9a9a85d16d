"""A machine whose every word from outside is hostile: checkpoints, sweep tables, jobs and what they have written."""

from __future__ import annotations

import json
import os
from pathlib import Path

from sim2street.app.content.benchmark_data import RESULTS
from sim2street.training.jobs.record import JobState
from sim2street.training.jobs.store import JobStore
from tests.app.conftest import save_tiny

EVIL = "evil.invalid"
IMAGE = f"![a](http://{EVIL}/1)"
ELEMENT = f"<img src=http://{EVIL}/2 onerror=alert(1)>"
LINK = "[x](javascript:alert(2))"
WORDS = (
    IMAGE,
    ELEMENT,
    LINK,
    ":material/bomb: :bomb:",
    "$x^2$ `a` ``",
    ":red[r] **b** &lt;",
    "\u202egnp.\n\n# H",
    f"www.{EVIL}",
)
"""One kind of markup each; short enough for the shortest field."""


def hostile_checkpoints(folder: Path) -> Path:
    """Checkpoints that open, with each kind of markup in each field, and some that do not open."""
    for number, words in enumerate(WORDS):
        name = words.replace("/", "|").replace("\n", " ")
        path = save_tiny(folder, f"{number} {name}", words[:40], words, source=words, target=words, seed=number)
        config = json.loads((path / "config.json").read_text())
        config["licence"] = words
        (path / "config.json").write_text(json.dumps(config))
        report = {"miou": 0.5, "images": 3, "iou_per_class": {words: 0.5}}
        (path / "metrics.json").write_text(json.dumps({words: report}))
    os.mkdir(os.fsencode(folder) + b"/\xff\xfe")
    for broken in (folder / f"z {ELEMENT.replace('/', '|')}", folder / os.fsdecode(b"\xff\xfe")):
        broken.mkdir(exist_ok=True)
        (broken / "config.json").write_text(json.dumps({"format": 1, "title": "x", IMAGE: ELEMENT}))
    return folder


def hostile_sweep(folder: Path) -> Path:
    """A sweep's table, and a file of hostile name that is none."""
    (folder / f"{IMAGE.replace('/', '|')}.json").write_text(json.dumps({IMAGE: ELEMENT}))
    table = json.loads(next(RESULTS.glob("*.json")).read_text())
    table |= {"title": IMAGE, "about": f"{IMAGE} {ELEMENT} {LINK}"}
    for row, words in zip(table["rows"], WORDS * 20, strict=False):
        row["title"] = row["network"] = words
    (folder / "table.json").write_text(json.dumps(table))
    return folder


def hostile_jobs() -> list[str]:
    """Jobs of one kind of markup each, finished, with losses and figures; returns their names."""
    from tests.training.jobs.conftest import tiny_config

    store, names = JobStore(), []
    for words in WORDS:
        job = store.create(tiny_config(title=words[:80]), by=words)
        save_tiny(store.run(job.id), "checkpoint", "source_only", words)
        report = {"miou": 0.25, "iou_per_class": {words: 0.5}}
        lines = [
            {"step": 4, "losses": {words: 1.5}, "seconds": 0.5},
            {"step": 4, "figures": {words: report}},
        ]
        (store.run(job.id) / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (store.place(job.id) / "log.txt").write_text(words)
        store.change(job.id, lambda found: found.to(JobState.RUNNING))
        store.change(job.id, lambda found, words=words: found.to(JobState.FAILED, reason=f"{words} {ELEMENT}"))
        names.append(job.id)
    return names
