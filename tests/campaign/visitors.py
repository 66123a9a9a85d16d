"""The hosted page, asked over HTTP: many uploads in a row, and many visitors at once with the same or different photos."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
import psutil
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from sim2street.app.content import request_guard
from sim2street.app.content.engine import Engine
from sim2street.app.demo_page import demo_api
from sim2street.app.demo_page.uploads import FOLDER_VARIABLE, SWEEP_SECONDS
from sim2street.models.storage.catalog import CatalogEntry
from sim2street.models.storage.checkpoint import Checkpoint
from tests.app.conftest import save_tiny
from tests.browser.conftest import running_demo
from tests.campaign.part import HANG, Outcome

WARM = 20
"""Uploads after which the memory is first looked at; libraries load as they are first used."""
GROWTH = 150 * 2**20
"""Bytes by which the process may have grown by the end."""
PATIENCE = 20 * HANG
"""Seconds for all visitors of a round, who wait for each other."""


def uploads(count: int, rng: Random, folder: Path) -> Outcome:
    """One after the other; memory and disk before and after."""
    outcome, process, before = Outcome(), psutil.Process(), 0
    with _page(folder) as url:
        client = Client(url, verbose=False)
        for number in range(count):
            if number == min(WARM, count // 2):
                before = process.memory_info().rss
            photo = _photo(folder, number, rng)
            outcome.attack(f"upload {number}", lambda photo=photo: _labels(client, photo))
        growth = process.memory_info().rss - before
        outcome.expect(growth < GROWTH, f"memory grew by {growth / 1e6:.0f} MB")
        time.sleep(2 * SWEEP_SECONDS)
        left = [path for path in Path(os.environ[FOLDER_VARIABLE]).rglob("*") if path.is_file()]
        outcome.expect(not left, f"{len(left)} files are left")
    outcome.note = f"{before / 1e6:.0f} MB before, {growth / 1e6:+.0f} MB after"
    return outcome


def visitors(count: int, rng: Random, folder: Path) -> Outcome:
    """All at once, each with a page of their own: first with different photos, then all with the same one."""
    outcome = Outcome()
    with _page(folder) as url, ThreadPoolExecutor(count) as pool:
        clients = list(pool.map(lambda _: Client(url, verbose=False), range(count)))
        own = [_photo(folder, number, rng) for number in range(count)]
        due = [_labels(clients[0], photo) for photo in own]
        for photos, expected in ((own, due), (own[:1] * count, due[:1] * count)):
            started = time.monotonic()
            asked = [pool.submit(_labels, client, photo) for client, photo in zip(clients, photos, strict=True)]
            for number, (answer, labels) in enumerate(zip(asked, expected, strict=True)):
                outcome.tried += 1
                try:
                    outcome.expect(answer.result(PATIENCE) == labels, f"visitor {number} got another's answer")
                except Exception as error:
                    outcome.faults.append(f"visitor {number}: {type(error).__name__}: {str(error)[:160]}")
            outcome.slowest = max(outcome.slowest, time.monotonic() - started)
    outcome.note = "slowest: until the last of a round was answered"
    return outcome


def _labels(client: Client, photo: Path) -> str:
    answer = client.predict(handle_file(photo), ["tiny"], False, api_name="/segment")
    return answer["methods"]["tiny"]["labels_png"]


def _photo(folder: Path, number: int, rng: Random) -> Path:
    """Coarse random colours, so that no two photos are read alike."""
    colours = np.frombuffer(rng.randbytes(4 * 8 * 3), np.uint8).reshape(4, 8, 3)
    path = folder / f"{number}.png"
    Image.fromarray(colours).resize((128, 64), Image.Resampling.NEAREST).save(path)
    return path


@contextmanager
def _page(folder: Path) -> Iterator[str]:
    """The page on this machine, for one client as many requests as it wants."""
    entry = CatalogEntry("tiny", Checkpoint.open(save_tiny(folder, "tiny", "advent", "Tiny", seed=1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(folder / "uploads"))
        patch.setattr(demo_api, "RATE", (10**6, 60.0))
        patch.setattr(request_guard, "UPLOADS", (10**6, 60.0))
        with running_demo(Engine(), lambda: [entry]) as url:
            yield url
