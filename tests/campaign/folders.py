"""Checkpoint folders, recipes and job stores with random damage, read as the pages read them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random

import pytest

from sim2street import ROOT
from sim2street.app.content import figures, html_tables
from sim2street.models.storage.catalog import catalog
from sim2street.training.config import load_recipe, recipe_names
from sim2street.training.jobs.progress import read_progress
from sim2street.training.jobs.store import JobStore
from tests.app.conftest import save_tiny
from tests.campaign.mutations import bytes_changed, json_changed
from tests.campaign.part import Outcome
from tests.training.jobs.conftest import tiny_config

RECIPES = ROOT / "training" / "recipes"
ROUND = 25
"""Damaged folders that are listed together, with a sound one among them."""


def checkpoints(count: int, rng: Random, folder: Path) -> Outcome:
    """Some damaged ones beside a sound one; the catalog and the cards of all."""
    outcome = Outcome()
    sound = Path(save_tiny(folder, "sound", "advent", "Sound"))
    for first in range(0, count, ROUND):
        shelf = folder / f"shelf{first}"
        shutil.copytree(sound, shelf / "sound")
        for number in range(first, min(count, first + ROUND)):
            _damaged_copy(sound, shelf / f"damaged{number}", rng)
        outcome.tried += min(ROUND, count - first) - 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SIM2STREET_CHECKPOINTS", str(shelf))
            entries = outcome.attack(f"shelf {first}", lambda: catalog(wait=False)) or []
            outcome.attack(f"cards {first}", lambda entries=entries: html_tables.checkpoint_cards(entries))
        outcome.tried -= 1
        named = {entry.name: entry for entry in entries}
        outcome.expect(
            "sound" in named and named["sound"].checkpoint is not None, f"shelf {first}: the sound one is lost"
        )
        outcome.refused += sum(entry.checkpoint is None for entry in entries)
        usable = [entry.checkpoint for entry in entries if entry.checkpoint is not None]
        outcome.attack(f"titles {first}", lambda usable=usable: [figures.facts(each) for each in usable])
        outcome.tried -= 1
        shutil.rmtree(shelf)
    return outcome


def _damaged_copy(sound: Path, copy: Path, rng: Random) -> None:
    shutil.copytree(sound, copy)
    file = copy / rng.choice(("config.json", "config.json", "metrics.json", "metrics.json", "model.safetensors"))
    match rng.randrange(8):
        case 0:
            file.unlink()
        case 1:
            file.unlink()
            os.mkfifo(file)
        case 2:
            file.unlink()
            file.mkdir()
        case _ if file.suffix == ".json":
            file.write_bytes(json_changed(file.read_text(), rng))
        case _:
            file.write_bytes(bytes_changed(file.read_bytes()[: rng.choice((60, 5000, 10**9))], rng))


def recipes(count: int, rng: Random, folder: Path) -> Outcome:
    """Shipped recipes with other lines, values and bytes."""
    outcome, shipped = Outcome(), RECIPES
    names = recipe_names()
    for number in range(count):
        text = (shipped / f"{rng.choice(names)}.toml").read_bytes()
        if rng.random() < 0.5:
            lines = text.splitlines()
            line = rng.randrange(len(lines))
            key = lines[line].partition(b"=")[0]
            lines[line] = key + b"= " + rng.choice((b"1e999", b"[]", b"{}", b'"x"', b"-1", b"nan", b"true", b"[[1]]"))
            text = b"\n".join(lines)
        else:
            text = bytes_changed(text, rng)
        path = folder / f"{number}.toml"
        path.write_bytes(text)
        outcome.attack(f"recipe {number}", lambda path=path: load_recipe(str(path)))
        path.unlink()
    return outcome


def stores(count: int, rng: Random, folder: Path) -> Outcome:
    """A store of a few jobs, of which one file is damaged; listed, shown, and the sound jobs still whole."""
    outcome = Outcome()
    template = JobStore(folder / "template")
    for _ in range(3):
        job = template.create(tiny_config())
        run = template.run(job.id)
        run.mkdir(parents=True, exist_ok=True)
        (run / "progress.jsonl").write_text(
            '{"step": 1, "losses": {"segmentation": 1.5}, "seconds": 0.5}\n{"step": 2, "figures": {"x": {"miou": 0.5}}}\n'
        )
    for number in range(count):
        place = folder / f"store{number}"
        shutil.copytree(template.folder, place)
        files = sorted(path for path in place.rglob("*") if path.is_file() and path.stat().st_size)
        file = rng.choice(files)
        hurt = file.relative_to(place).parts[0]
        is_json = file.suffix == ".json"
        file.write_bytes(json_changed(file.read_text(), rng) if is_json else bytes_changed(file.read_bytes(), rng))
        outcome.attack(
            f"store {number}, {file.name}", lambda place=place, hurt=hurt: _look_at(JobStore(place), outcome, hurt)
        )
        shutil.rmtree(place)
    return outcome


def _look_at(store: JobStore, outcome: Outcome, damaged: str) -> None:
    jobs = store.jobs()
    outcome.expect(len(jobs) == 3, f"{store.folder.name}: {len(jobs)} of 3 jobs are listed")
    for job in sorted(jobs, key=lambda job: job.id == damaged):  # the damaged one may be refused, which ends this
        progress = read_progress(store.config(job.id), store.run(job.id))
        assert 0 <= progress.share <= 1
