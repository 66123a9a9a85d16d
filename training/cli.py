"""sim2street: the command line. Each command is a thin call into the file of its name.

Exit codes: 0 done, 1 the program's fault, 2 bad use or bad input (one sentence on stderr), 130 stopped by the person.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from models.errors import ConfigError, Sim2StreetError

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint


class Parser(argparse.ArgumentParser):
    """Says in one sentence what is wrong, without a page of usage before it."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the console script's entry."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        return options.run(options) or 0
    except Sim2StreetError as error:
        stopped = type(error).__name__ == "Interrupted"
        print(f"{'' if stopped else 'error: '}{error}", file=sys.stderr)
        return 130 if stopped else 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Reader of our output has gone (`| head`); nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # A full disk, a folder that may not be written: the person's to mend, and no bug.
        print(f"error: {error.filename or 'A file'}: {error.strerror or error}.", file=sys.stderr)
        return 2


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = Parser(prog="sim2street", description="Domain adaptation for street-scene segmentation.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    app = commands.add_parser("app", help="open the app in a browser")
    app.add_argument("--port", type=int, default=8501, help="port to serve on (default 8501)")
    app.add_argument("--headless", action="store_true", help="do not open a browser window")
    app.set_defaults(run=run_app)

    checkpoints = commands.add_parser("checkpoints", help="list the checkpoints that can be used")
    checkpoints.add_argument("--json", action="store_true", help="print a list of objects")
    checkpoints.set_defaults(run=run_checkpoints)

    render = commands.add_parser("render", help="render labelled street scenes in the Cityscapes layout")
    render.add_argument("--style", default="game", help="look of the scenes (default game)")
    render.add_argument("--count", type=int, default=100, help="how many scenes (default 100)")
    render.add_argument("--size", type=parse_size, default=(512, 256), metavar="WxH", help="default 512x256")
    render.add_argument("--seed", type=int, default=0, help="which streets (default 0)")
    render.add_argument("--split", default="train", help="split folder to write (default train)")
    render.add_argument("--workers", type=parse_count, default=0, help="processes that render (default this one)")
    render.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to fill; resumable")
    render.set_defaults(run=run_render)

    train = commands.add_parser("train", help="train a recipe into a checkpoint")
    train.add_argument("recipe", nargs="?", help="name of a shipped recipe, or a TOML file")
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change a value, such as steps=200 or optimisers.segmenter.rate=1e-4; repeatable",
    )
    train.add_argument("--out", type=Path, metavar="DIR", help="folder of the run (default runs/RECIPE)")
    train.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    train.set_defaults(run=run_train)

    evaluate = commands.add_parser("evaluate", help="score checkpoints on a labelled data set")
    evaluate.add_argument("--dataset", required=True, help="camvid, cityscapes, gta5 or street_scenes")
    evaluate.add_argument("--root", metavar="DIR", help="folder of the data set")
    evaluate.add_argument("--split", help="part of the data set, such as val")
    evaluate.add_argument("--style", help="look of street scenes (default game)")
    evaluate.add_argument("--count", type=int, help="how many street scenes (default 100)")
    evaluate.add_argument("--seed", type=int, help="which street scenes (default 0)")
    evaluate.add_argument("--size", type=parse_size, metavar="WxH", help="of street scenes (default 512x256)")
    evaluate.add_argument(
        "--checkpoint", action="append", metavar="NAME|DIR|REPO_ID", help="repeatable; default the whole catalog"
    )
    evaluate.add_argument("--flip", action="store_true", help="average with the mirrored photo")
    evaluate.add_argument("--device", help="cuda, mps or cpu (default the best there is)")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    evaluate.set_defaults(run=run_evaluate)

    predict = commands.add_parser("predict", help="segment photos")
    predict.add_argument("photos", nargs="+", metavar="PHOTO")
    predict.add_argument(
        "--checkpoint", action="append", metavar="NAME|DIR|REPO_ID", help="repeatable; default the whole catalog"
    )
    predict.add_argument("--flip", action="store_true", help="average with the mirrored photo")
    predict.add_argument("--device", help="cuda, mps or cpu (default the best there is)")
    predict.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    predict.set_defaults(run=run_predict)
    return parser


def parse_count(text: str) -> int:
    """Read a whole number that is not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of 0 or more, found {text!r}")
    return int(text)


def parse_size(text: str) -> tuple[int, int]:
    """Read `512x256` as (512, 256)."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 512x256, found {text!r}")
    return int(width), int(height)


def run_app(options: argparse.Namespace) -> int:
    """Start Streamlit on the app's entry file."""
    if importlib.util.find_spec("streamlit") is None:
        raise ConfigError('The app needs Streamlit: pip install -e ".[app]"')
    root = Path(__file__).resolve().parent.parent
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(root / "app" / "main.py"),
        "--server.port",
        str(options.port),
    ]
    if options.headless:
        command += ["--server.headless", "true"]
    try:
        # From the root, where Streamlit finds its config (.streamlit/config.toml).
        return subprocess.run(command, cwd=root, env=_absolute_folders(), check=False).returncode
    except KeyboardInterrupt:
        return 0


def _absolute_folders() -> dict[str, str]:
    """The environment with our folders made absolute, since the app runs in another folder than the person's."""
    environment = dict(os.environ)
    for name, value in environment.items():
        if name.startswith("SIM2STREET_") and value:
            parts = [str(Path(part).expanduser().absolute()) for part in value.split(os.pathsep) if part]
            environment[name] = os.pathsep.join(parts)
    return environment


def run_checkpoints(options: argparse.Namespace) -> int:
    """List the catalog."""
    from models.catalog import catalog

    entries = catalog()
    if options.json:
        print(json.dumps([_describe(entry.checkpoint, entry.name, entry.error) for entry in entries], indent=2))
        return 0
    if not entries:
        print("There are no checkpoints yet. Train one: sim2street train RECIPE")
    for entry in entries:
        if entry.checkpoint is None:
            print(f"{entry.name}\n    broken: {entry.error}")
            continue
        config = entry.checkpoint.config
        figures = ", ".join(
            f"{name} {100 * report['miou']:.1f}"
            for name, report in entry.checkpoint.metrics.items()
            if report.get("miou")
        )
        arrow = config.source + (f" -> {config.target}" if config.target else "")
        print(f"{entry.name}\n    {config.title} · {config.network} · {arrow} · step {config.step} · {config.licence}")
        if figures:
            print(f"    mIoU: {figures}")
    return 0


def _describe(checkpoint: Checkpoint | None, name: str, error: str | None) -> dict[str, Any]:
    if checkpoint is None:
        return {"name": name, "error": error}
    config = checkpoint.config
    return {
        "name": name,
        "title": config.title,
        "method": config.method,
        "network": config.network,
        "source": config.source,
        "target": config.target,
        "step": config.step,
        "licence": config.licence,
        "metrics": checkpoint.metrics,
        "weights_sha256": config.weights_sha256,
    }


def run_render(options: argparse.Namespace) -> int:
    """Render street scenes to disk."""
    from training.datasets.writer import write_street_scenes
    from training.selection import progress_bar

    with progress_bar(f"rendering {options.style}") as report:
        rendered = write_street_scenes(
            options.style,
            options.count,
            options.size,
            options.seed,
            options.out,
            split=options.split,
            workers=options.workers,
            progress=report,
        )
    print(f"{options.out}: {rendered} scenes rendered, {options.count - rendered} were there.")
    return 0


def run_train(options: argparse.Namespace) -> int:
    """Train a recipe, or go on with a run."""
    from training.config import RunConfig, load_recipe

    if importlib.util.find_spec("accelerate") is None:
        raise ConfigError('Training needs accelerate: pip install -e ".[train]"')
    from training.loop import CONFIG, train

    if options.recipe is None:
        if options.resume is None:
            raise ConfigError("Name a recipe to train, or a run to go on with: sim2street train RECIPE | --resume DIR.")
        if options.overrides:
            raise ConfigError("--set cannot change a run that has begun; leave it out, or start anew with a recipe.")
        try:
            stored = json.loads((options.resume / CONFIG).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{options.resume} holds no run: {CONFIG} cannot be read ({error}).") from error
        config = RunConfig.parse(stored, where=str(options.resume / CONFIG))
    else:
        config = load_recipe(options.recipe, options.overrides)
    if options.resume is not None and options.out is not None:
        raise ConfigError("--out is for a new run and --resume for one that has begun; give one of them.")
    out = options.resume or options.out or Path("runs") / config.name
    checkpoint = train(config, out, resume=options.resume is not None)
    if checkpoint is not None:
        print(f"{checkpoint.path}: step {checkpoint.config.step}, sha256 {checkpoint.config.weights_sha256}")
    return 0


def run_evaluate(options: argparse.Namespace) -> int:
    """Score checkpoints and print, or write, their figures."""
    from models.checkpoint import write_json
    from models.predictor import Predictor
    from training.datasets import open_dataset
    from training.evaluate import evaluate
    from training.selection import progress_bar

    scenes = {key: getattr(options, key) for key in ("style", "count", "seed", "size")}
    given = {key: value for key, value in scenes.items() if value is not None}
    if options.dataset == "street_scenes":
        given.setdefault("count", 100)
    elif given:
        raise ConfigError(f"--{next(iter(given))} is for street_scenes only.")
    dataset = open_dataset(options.dataset, options.root, options.split, **given)
    if options.json is not None:  # an hour of scoring should not end at a folder that cannot be written
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.json, {})
    results: dict[str, Any] = {}
    for name, checkpoint in _chosen(options.checkpoint):
        predictor = Predictor.from_checkpoint(checkpoint, device=_device(options.device), flip=options.flip)
        with progress_bar(f"scoring {name}") as progress:
            sha = checkpoint.config.weights_sha256
            report = evaluate(predictor, dataset, weights_sha256=sha, progress=progress)
        results[name] = report.to_json()
        miou = "–" if report.miou is None else f"{100 * report.miou:.2f}"
        print(
            f"{name}: mIoU {miou} ({report.label_space}, {report.images} images, {report.seconds_per_image:.2f} s each)"
        )
        for label, iou in report.iou_per_class.items():
            print(f"    {label:14s} {'–' if iou is None else f'{100 * iou:.1f}'}")
        if options.json is not None:
            write_json(options.json, results)
    return 0


def run_predict(options: argparse.Namespace) -> int:
    """Segment photos into a folder."""
    from models.predictor import Predictor
    from training.predict import predict_photos
    from training.selection import progress_bar

    predictors = {
        name: Predictor.from_checkpoint(checkpoint, device=_device(options.device), flip=options.flip)
        for name, checkpoint in _chosen(options.checkpoint)
    }
    with progress_bar("segmenting") as progress:
        failures = predict_photos(options.photos, predictors, options.out, progress=progress)
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    print(f"{options.out}: {len(options.photos) - len(failures)} of {len(options.photos)} photos segmented.")
    return 2 if failures else 0


def _chosen(names: list[str] | None) -> list[tuple[str, Checkpoint]]:
    """Checkpoints by the names given, or the whole catalog; broken ones are said and left out."""
    from models.catalog import catalog, find_checkpoint

    if names:
        return [(name, find_checkpoint(name)) for name in names]
    found: list[tuple[str, Checkpoint]] = []
    for entry in catalog():
        if entry.checkpoint is None:
            print(f"left out {entry.name}: {entry.error}", file=sys.stderr)
        else:
            found.append((entry.name, entry.checkpoint))
    if not found:
        raise ConfigError("There are no checkpoints to use. Train one (sim2street train RECIPE) and name its folder.")
    return found


def _device(name: str | None) -> str | None:
    import torch

    if name is None:
        return None
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"The device {name!r} cannot be used here: {str(error).splitlines()[0]}.") from error
    return name


if __name__ == "__main__":
    sys.exit(main())
