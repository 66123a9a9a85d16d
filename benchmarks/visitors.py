"""Many visitors at once on the hosted demo and on the app: is every answer right, how long do they wait, how much memory?

    python -m benchmarks.visitors --page demo --visitors 50
    python -m benchmarks.visitors --page app --visitors 50
    python -m benchmarks.visitors --page app --visitors 50 --methods all

Every visitor asks for a street of its own, and the labels that come back have to be those of a prediction made here
beforehand, of that street and no other. All of them start together; the server is a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import websockets
from gradio_client import Client, handle_file
from PIL import Image
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks.machine import machine_line
from benchmarks.script import run
from sim2street.app.content.engine import Settings, predict_pane
from sim2street.app.content.figures import unique_titles
from sim2street.app.content.gallery import rendered_scene
from sim2street.models.storage.catalog import catalog, find_checkpoint
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.training.commands.arguments import parse_positive

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 300.0
FIRST_STREET = 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", choices=("demo", "app"), required=True)
    parser.add_argument("--visitors", type=parse_positive, default=50)
    parser.add_argument("--methods", nargs="+", default=["source_only_game"], metavar="NAME|all")
    options = parser.parse_args()
    names = [entry.name for entry in catalog()] if options.methods == ["all"] else options.methods
    checkpoints = [find_checkpoint(name) for name in names]
    visit = {"demo": visit_demo, "app": visit_app}[options.page]
    with tempfile.TemporaryDirectory() as folder, serving(options.page) as (url, server):
        visitors = [prepare(number, Path(folder), checkpoints) for number in range(options.visitors + 1)]
        visit(url, visitors[0])  # the first one pays for loading network and textures
        before = memory(server, "VmRSS")
        start = time.perf_counter()
        with ThreadPoolExecutor(options.visitors) as pool:
            answers = list(pool.map(lambda visitor: visit(url, visitor), visitors[1:]))
        wall = time.perf_counter() - start
        peak = memory(server, "VmHWM")
    seconds = sorted(seconds for seconds, _ in answers)
    wrong = [problem for _, problem in answers if problem]
    print(machine_line())
    print("| page | visitors | methods each | wrong or failed | median s | slowest s | all s | memory before | peak |")
    print("|---|---|---|---|---|---|---|---|---|")
    print(
        f"| {options.page} | {options.visitors} | {len(names)} | {len(wrong)} | {statistics.median(seconds):.1f} | {seconds[-1]:.1f} |"
        f" {wall:.1f} | {before} MB | {peak} MB |"
    )
    print("\n".join(wrong))
    return 1 if wrong else 0


@dataclass(frozen=True)
class Visitor:
    """One visitor: a street of its own, as a photo file, and what each method says of it, by its name."""

    number: int
    street: int
    titles: list[str]
    photo: Path
    digest: str
    labels: dict[str, np.ndarray[Any, Any]]


def prepare(number: int, folder: Path, checkpoints: list[Checkpoint]) -> Visitor:
    street = FIRST_STREET + number
    scene = rendered_scene("game", street)
    path = folder / f"street_{street}.png"
    Image.fromarray(scene.photo.pixels).save(path)
    panes = {each.name: predict_pane(each, scene.photo, scene.space, Settings()) for each in checkpoints}
    titles = unique_titles([entry.checkpoint for entry in catalog() if entry.checkpoint is not None])
    asked = [titles[each.name] for each in checkpoints]
    return Visitor(number, street, asked, path, scene.photo.digest, {name: pane.labels for name, pane in panes.items()})


@contextmanager
def serving(page: str) -> Iterator[tuple[str, int]]:
    """Start a page in a process of its own; yields address and process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    commands = {
        "demo": [sys.executable, "app/demo.py"],
        "app": [
            *(sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)),
            *("--server.headless", "true", "--server.fileWatcherType", "none", "--server.address", "127.0.0.1"),
        ],
    }
    # As behind the Hub's proxy, so that every visitor has an address, and a rate limit, of its own.
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "SPACE_ID": "maker/demo", "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(commands[page], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(480):
            try:
                urllib.request.urlopen(url, timeout=1).close()
                break
            except OSError:
                time.sleep(0.25)
        else:
            raise TimeoutError(f"Nothing answered at {url} within two minutes.")
        yield url, server.pid
    finally:
        server.terminate()
        server.wait(timeout=30)


def visit_demo(url: str, visitor: Visitor) -> tuple[float, str]:
    """Upload the photo to the demo; return seconds and what was wrong with the answer, if anything."""
    start = time.perf_counter()
    try:
        client = Client(
            url,
            headers={"x-forwarded-for": f"10.0.0.{visitor.number}"},
            httpx_kwargs={"timeout": PATIENCE},  # as patient as a browser
            verbose=False,
            analytics_enabled=False,
        )
        answer = client.predict(handle_file(str(visitor.photo)), list(visitor.labels), False, api_name="/segment")
        labels = {name: method["labels_png"] for name, method in answer["methods"].items()}
    except Exception as error:  # whatever it is, it is the visitor's bad experience
        return time.perf_counter() - start, f"street {visitor.street}: {type(error).__name__}: {str(error)[:160]}"
    return time.perf_counter() - start, _verdict(visitor, labels)


def visit_app(url: str, visitor: Visitor) -> tuple[float, str]:
    """Open the app on the street as a browser does, by its websocket, and wait for the method's pane."""
    start = time.perf_counter()
    try:
        bundle = asyncio.run(asyncio.wait_for(_session(url, visitor), PATIENCE))
        labels = {method["key"]: method["labels"] for method in bundle["methods"]}
    except Exception as error:
        return time.perf_counter() - start, f"street {visitor.street}: {type(error).__name__}: {str(error)[:160]}"
    shown = bundle["photo"]
    same = shown["digest"] == visitor.digest
    return time.perf_counter() - start, (
        _verdict(visitor, labels) if same else f"street {visitor.street}: {shown['name']} is shown"
    )


def _verdict(visitor: Visitor, labels: dict[str, str]) -> str:
    """Compare PNGs by method with what should be in them; empty where all is right."""
    if labels.keys() != visitor.labels.keys():
        return f"street {visitor.street}: readings of {', '.join(labels) or 'no method'}"
    wrong = [name for name, png in labels.items() if not np.array_equal(_decoded(png), visitor.labels[name])]
    return f"street {visitor.street}: labels of something else by {', '.join(wrong)}" if wrong else ""


def _decoded(png: str) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


async def _session(url: str, visitor: Visitor) -> dict[str, Any]:
    """Run the page's script in a session of its own until the viewer shows no empty pane."""
    ask = BackMsg()
    asked = {"style": "game", "street": visitor.street, "methods": visitor.titles}
    ask.rerun_script.query_string = urlencode(asked, doseq=True)
    images: dict[str, dict[str, str]] = {}
    async with websockets.connect(url.replace("http", "ws") + "/_stcore/stream", max_size=None) as line:
        await line.send(ask.SerializeToString())
        while True:
            message = ForwardMsg()
            message.ParseFromString(bytes(await line.recv()))
            element = message.delta.new_element
            if (
                element.WhichOneof("type") != "bidi_component"
                or element.bidi_component.component_name != "sim2street_carrier"
            ):
                continue
            [carried] = json.loads(element.bidi_component.json)
            if "images" in carried:
                images[carried["digest"]] = carried["images"]
            elif not carried["bundle"]["waiting"]:
                methods = [{**method, **images[method["images"]]} for method in carried["bundle"]["methods"]]
                return {**carried["bundle"], "methods": methods}


def memory(pid: int, field: str) -> int:
    """Megabytes of a process: VmRSS now, VmHWM at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) // 1024


if __name__ == "__main__":
    sys.exit(run(main))
