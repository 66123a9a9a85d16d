"""The card of a checkpoint: what it is, how it was trained, what it reaches, what it is not for."""

from __future__ import annotations

from typing import Any

from models.checkpoint import CheckpointConfig
from training.methods import METHODS


def write_card(config: CheckpointConfig, about: str, metrics: dict[str, Any]) -> str:
    """Return README.md of a checkpoint folder as text.

    Args:
        config: content of its config.json.
        about: the recipe's own words.
        metrics: content of its metrics.json.
    """
    entry = METHODS.get(config.method)
    lines = [f"# {config.title}", ""]
    if about:
        lines += [about.strip(), ""]
    lines += [
        f"- Method: {entry.title if entry else config.method}" + (f". {entry.idea}" if entry else ""),
        f"- Network: {config.network}, {', '.join(f'{key} {value}' for key, value in config.network_options.items())}",
        f"- Labels learnt from: {config.source}",
        f"- Unlabelled target: {config.target or 'none'}",
        f"- Recipe: `{config.recipe}`, seed {config.seed}, step {config.step} (the last iterate), commit {config.commit or 'unknown'}",
        f"- Licence: {config.licence}",
    ]
    if "camvid" in (config.target or ""):
        lines.append("- CamVid's training photos were used without their labels; the photos are not included.")
    if config.initialisation != "random":
        lines.append(f"- Started from: {config.initialisation}")
    if entry and entry.paper:
        lines.append(f"- Paper: {entry.paper}")
    if metrics:
        lines += ["", "| measured on | mIoU | images | ECE |", "|---|---|---|---|"]
        for name, report in metrics.items():
            miou, ece = report["miou"], report["ece"]
            lines.append(
                f"| {name} | {'–' if miou is None else f'{100 * miou:.1f}'} | {report['images']} |"
                f" {'–' if ece is None else f'{ece:.3f}'} |"
            )
    if all(part.startswith("street_scenes") for part in config.source.split(" + ")):
        lines += ["", "No camera took the labelled pictures, and no pretrained weights were used."]
    lines += [
        "",
        "Predicts the 19 Cityscapes classes: a demonstration of domain adaptation, no component of a vehicle.",
        "",
    ]
    return "\n".join(lines)
