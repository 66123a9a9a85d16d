"""Runs inside a container on Hugging Face Jobs: train, report progress, and publish the checkpoint on the Hub.

`python -m sim2street.training.jobs.remote`, with everything in the environment: SIM2STREET_RECIPE (the resolved recipe as JSON),
SIM2STREET_RUN (folder), SIM2STREET_REPOSITORY, SIM2STREET_PRIVATE and the secret HF_TOKEN.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from sim2street.models.errors import ConfigError, Sim2StreetError
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import PROGRESS, RUN_FOLDER, write_json
from sim2street.training.config import RunConfig
from sim2street.training.jobs import processes
from sim2street.training.jobs.hub import PROGRESS_MARK
from sim2street.training.jobs.progress import has_begun, stages_of

WAITS: Final = (5.0, 15.0, 60.0, 120.0, 240.0, 480.0)
"""Seconds between attempts to publish: waiting a quarter of an hour is cheaper than training again."""


def main() -> int:
    """Train and publish; exit codes are those of the command line."""
    try:
        config = RunConfig.parse(json.loads(os.environ["SIM2STREET_RECIPE"]), where="SIM2STREET_RECIPE")
        repository = os.environ["SIM2STREET_REPOSITORY"]
    except (KeyError, ValueError) as error:
        raise ConfigError(f"The job's environment has no valid {error}.") from error
    run = Path(os.environ.get("SIM2STREET_RUN", "/tmp/run"))
    if not (run / RUN_FOLDER).is_dir():
        code = train(config, run)
        if code != 0:
            return code
    url = publish_patiently(Checkpoint.open(run / RUN_FOLDER), repository, os.environ.get("SIM2STREET_PRIVATE") != "0")
    print(f"published {url}", flush=True)
    return 0


def train(config: RunConfig, run: Path) -> int:
    """Run the trainer on all GPUs and copy its progress to our output, which the Hub keeps; returns its exit code."""
    run.parent.mkdir(parents=True, exist_ok=True)
    recipe = run.parent / f"{run.name}.json"
    write_json(recipe, config.model_dump(mode="json"))
    arguments = ["--resume", str(run)] if has_begun(run) else [str(recipe), "--out", str(run)]
    launch = ["-m", "sim2street.training.cli"]
    cards = processes.graphics_cards()
    if cards > 1:
        launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(cards)]
        launch = [*launcher, "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", *launch]
    environment = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    trainer = subprocess.Popen([sys.executable, *launch, "train", *arguments], env=environment)
    # Cancelling on the Hub sends SIGTERM here: the loop saves its state to the bucket.
    signal.signal(signal.SIGTERM, lambda number, _frame: trainer.send_signal(number))
    said: dict[Path, int] = {}
    while True:
        ended = trainer.poll() is not None
        for name, _ in stages_of(config):
            repeat_lines(run / name / PROGRESS, said)
        if ended:
            return trainer.returncode
        time.sleep(1)


def repeat_lines(path: Path, said: dict[Path, int]) -> None:
    """Print complete new lines with the marker."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        for line in lines[said.get(path, 0) :]:
            print(PROGRESS_MARK + line, flush=True)
        said[path] = len(lines)


def publish_patiently(checkpoint: Checkpoint, repository: str, private: bool) -> str:
    """Publish, and retry while the Hub is down; returns the URL.

    Raises:
        Sim2StreetError: from the last attempt.
    """
    from sim2street.training.hosting.publish import publish

    for wait in WAITS:
        try:
            return publish(checkpoint, repository, private=private).url
        except Sim2StreetError as error:
            print(f"not published yet: {error} Trying again in {wait:.0f} seconds.", flush=True)
            time.sleep(wait)
    return publish(checkpoint, repository, private=private).url


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Sim2StreetError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
