"""sim2street recipes: list the recipes that can be trained."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from sim2street.models.errors import ConfigError

if TYPE_CHECKING:
    from sim2street.training.config import RunConfig


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("recipes", help="list the recipes that can be trained")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="only recipes whose name or title has all these words, such as daformer fog",
    )
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List the recipes that come with the project."""
    from sim2street.training.config import load_recipe, recipe_names

    listed = [_describe(load_recipe(name)) for name in recipe_names()]
    wanted = [word.lower() for word in options.words]
    listed = [entry for entry in listed if all(word in f"{entry['name']} {entry['title']}".lower() for word in wanted)]
    if not listed:
        raise ConfigError(f"No recipe matches {' '.join(options.words)}; `sim2street recipes` lists all of them.")
    if options.json:
        print(json.dumps(listed, indent=2))
        return 0
    for entry in listed:
        arrow = entry["source"] + (f" -> {entry['target']}" if entry["target"] else "")
        needs = ", ".join(entry["needs"]) or "nothing else"
        print(f"{entry['name']}\n    {entry['title']} · {entry['network']} · {arrow} · {entry['steps']} steps")
        print(f"    needs {needs}")
    return 0


def _describe(config: RunConfig) -> dict[str, Any]:
    """Values of one recipe; `needs` lists data sets and weights that do not come with the project."""
    from sim2street.training.methods import METHODS

    stages = [*config.resolve_stages().values()] or [config]
    source, target = stages[-1].sources, stages[-1].target
    sets = [item for stage in stages for item in (*stage.sources, stage.target) if item is not None]
    needs = sorted({item.dataset for item in sets if not item.kind.generated})
    if any(stage.initialisation == "imagenet" for stage in stages):
        needs.append("ImageNet weights")
    return {
        "name": config.name,
        "title": config.title,
        "method": METHODS.find(config.method).title,
        "network": config.network,
        "source": " + ".join(item.label for item in source),
        "target": None if target is None else target.label,
        "steps": config.total_steps,
        "needs": needs,
    }
