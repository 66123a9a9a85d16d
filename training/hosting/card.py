"""The model card of a checkpoint: what it is, how it was trained, its metrics and its limits.

`write_card` makes the card that is stored with the weights; `publication_card` adds what users on the Hub need: metadata
with all metrics, usage, IoU of every class, calibration, terms of the data and the citation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from sim2street.models.labels import CITYSCAPES19
from sim2street.models.storage.checkpoint import Checkpoint, CheckpointConfig
from sim2street.training.config import PREVIOUS
from sim2street.training.datasets import DATASETS
from sim2street.training.datasets.photo_folder import PhotoFolder
from sim2street.training.methods import METHODS


def write_card(config: CheckpointConfig, about: str, metrics: dict[str, Any]) -> str:
    """Return README.md of a checkpoint folder as text.

    Args:
        config: content of its config.json.
        about: the recipe's description.
        metrics: content of its metrics.json.
    """
    entry = METHODS.get(config.method)
    lines = [f"# {config.title}", ""]
    if about:
        lines += [about.strip(), ""]
    lines += [
        f"- Method: {entry.title if entry else config.method}" + (f". {entry.idea}" if entry else ""),
        f"- Network: {config.network}, {', '.join(f'{key} {value}' for key, value in config.network_options.items())}",
        f"- Labelled source: {_in_words(config.source)}",
        f"- Unlabelled target: {_in_words(config.target) or 'none'}",
        f"- Recipe: `{config.recipe}`, seed {config.seed}, step {config.step} (the last step), commit {config.commit or 'unknown'}",
        f"- Licence: {config.licence}",
    ]
    for name in _names(config.target):
        target = DATASETS.get(name)
        if target is not None and not target.generated:
            whose = (
                "photos chosen by whoever adapted it" if target is PhotoFolder else f"training photos of {target.title}"
            )
            lines.append(f"- The {whose} were used without their labels and are not included.")
    if config.initialisation != "random":
        before = "the recipe's previous stage" if config.initialisation == PREVIOUS else config.initialisation
        lines.append(f"- Initialised from: {before}")
    if config.averaged:
        lines.append(f"- Weights: the mean of those of {', '.join(config.averaged)}")
    if entry and entry.paper:
        lines.append(f"- Paper: {entry.paper}")
    if metrics:
        lines += ["", "| evaluated on | mIoU (%) | images | ECE |", "|---|---|---|---|"]
        for name, report in metrics.items():
            lines.append(f"| {name} | {_percent(report['miou'])} | {report['images']} | {_number(report['ece'])} |")
    if all(_is_generated(part) for part in config.source.split(" + ")):
        # A timm encoder may have started from ImageNet weights; the recipe records this, the config does not.
        began = "" if config.network_options.get("encoder") else ", and no pretrained weights were used"
        lines += ["", f"All labelled images are rendered{began}."]
    lines += [
        "",
        f"{_classes_in_words(config)} This is a demonstration of domain adaptation, not a component of a vehicle.",
        "",
    ]
    return "\n".join(lines)


def _classes_in_words(config: CheckpointConfig) -> str:
    space = config.space
    if space == CITYSCAPES19:
        return "Predicts the 19 Cityscapes classes."
    return f"Predicts the {space.count} classes of {space.name}: {', '.join(space.names)}."


def publication_card(checkpoint: Checkpoint, repository: str, about: str) -> str:
    """Return README.md of a repository on the Hub: front matter with `model-index`, and the whole card.

    The same checkpoint always gives the same text, so that publishing it again changes nothing.

    Args:
        checkpoint: with its metrics.
        repository: `owner/name` on the Hub.
        about: the recipe's description.
    """
    config, metrics = checkpoint.config, checkpoint.metrics
    body = write_card(config, about, metrics).rstrip()
    sections = [
        f"---\n{card_data(checkpoint).to_yaml()}\n---",
        body,
        _usage(repository),
        *_classes(metrics),
        *_calibration(metrics),
        _data(config),
        _limits(config),
        *_citation(config),
    ]
    return "\n\n".join(sections) + "\n"


def card_data(checkpoint: Checkpoint) -> ModelCardData:
    """Metadata of the card: licence, tags, and one `model-index` entry for mIoU, ECE and every class's IoU per data set."""
    config = checkpoint.config
    results = []
    for name, report in checkpoint.metrics.items():
        data_set, _, split = name.partition("/")
        where: dict[str, Any] = {
            "task_type": "image-segmentation",
            "dataset_type": data_set,
            "dataset_name": f"{name} ({report['label_space']}, {report['images']} images)",
            "dataset_split": split or None,
        }
        figures = {"mIoU": ("mean_iou", report["miou"]), "ECE": ("expected_calibration_error", report["ece"])}
        figures |= {f"IoU {label}": ("iou", value) for label, value in report["iou_per_class"].items()}
        results += [
            EvalResult(**where, metric_type=kind, metric_value=round(value, 4), metric_name=title)
            for title, (kind, value) in figures.items()
            if value is not None
        ]
    paper = _arxiv(config)
    licence, licence_name = _licence(config.licence)
    tags = ["semantic-segmentation", "domain-adaptation", "street-scenes", config.method, config.network]
    return ModelCardData(
        license=licence,
        license_name=licence_name,
        library_name="sim2street",
        pipeline_tag="image-segmentation",
        tags=[*tags, *([f"arxiv:{paper}"] if paper else [])],
        model_name=config.title,
        eval_results=results or None,
    )


def _licence(licence: str) -> tuple[str, str | None]:
    """The Hub's `license` and `license_name`: several licences, which a mean of weights can have, are "other" with a name."""
    if " " not in licence:
        return licence, None
    return "other", "-".join(licence.lower().split())


def _usage(repository: str) -> str:
    return f"""## Use it

```sh
sim2street predict street.jpg --checkpoint {repository} --out predictions
```

```python
from sim2street.models.storage.catalog import find_checkpoint
from sim2street.models.photo import read_photo
from sim2street.models.predictor import Predictor

predictor = Predictor.from_checkpoint(find_checkpoint("{repository}"))
prediction = predictor(read_photo("street.jpg"))  # labels, probabilities and entropy at the photo's size
```

The weights are safetensors and are checked against the sha256 in `config.json`; nothing in this repository is executed."""


def _classes(metrics: Mapping[str, Any]) -> list[str]:
    """IoU of every class, one table per label space; classes differ between them."""
    spaces: dict[str, list[str]] = {}
    for name, report in metrics.items():
        spaces.setdefault(report["label_space"], []).append(name)
    sections = []
    for space, names in spaces.items():
        lines = [f"| {space} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        for label in metrics[names[0]]["iou_per_class"]:
            cells = [_percent(metrics[name]["iou_per_class"].get(label)) for name in names]
            lines.append(f"| {label} | {' | '.join(cells)} |")
        means = [f"**{_percent(metrics[name]['miou'])}**" for name in names]
        lines.append(f"| **mean** | {' | '.join(means)} |")
        sections.append("\n".join(lines))
    note = "IoU in percent over all images of a set; – marks a class that is neither in the set nor predicted."
    return [f"## IoU of every class\n\n{note}", *sections] if sections else []


def _calibration(metrics: Mapping[str, Any]) -> list[str]:
    measured = {name: report["ece"] for name, report in metrics.items() if report.get("ece") is not None}
    if not measured:
        return []
    best, worst = min(measured, key=measured.__getitem__), max(measured, key=measured.__getitem__)
    text = (
        "## Calibration\n\nThe expected calibration error (15 bins, most probable class, labelled pixels) is the gap between"
        f" confidence and accuracy: {measured[best]:.3f} on {best}"
    )
    if best != worst:
        text += (
            f", {measured[worst]:.3f} on {worst}. The more a photo differs from the training data, the less reliable the"
            " confidence"
        )
    return [text + "."]


def _data(config: CheckpointConfig) -> str:
    labels, target = _names(config.source), _names(config.target)
    lines = ["## Data and licences", ""]
    for name in dict.fromkeys([*labels, *target]):
        use = " and ".join(
            words for words, sets in (("with labels", labels), ("without labels", target)) if name in sets
        )
        lines.append(f"- {name}, {use}: {_terms(name)}")
    lines.append(f"- These weights: {config.licence}.")
    return "\n".join(lines)


def _names(sets: str | None) -> list[str]:
    """Names of the data sets in a config's source or target, such as "cityscapes/train + photos"."""
    return [part.partition("/")[0] for part in sets.split(" + ")] if sets else []


def _in_words(sets: str | None) -> str:
    """Titles of the data sets in a config's source or target, each once, such as "rendered streets (fog), CamVid (train)"."""
    words = []
    for name in dict.fromkeys(sets.split(" + ") if sets else ()):
        dataset, _, part = name.partition("/")
        title = DATASETS[dataset].title if dataset in DATASETS else dataset
        words.append(f"{title} ({part})" if part else title)
    return ", ".join(words)


def _terms(name: str) -> str:
    """Terms of the data that a checkpoint was trained on."""
    kind = DATASETS.get(name)
    if kind is None:
        return "terms unknown to this project; ask the checkpoint's author."
    return f"{kind.title} ({kind.paper}): {kind.terms}" if kind.paper else kind.terms


def _limits(config: CheckpointConfig) -> str:
    return f"""## Limits

- Not for driving, surveillance or any safety-critical use.
- A single seed ({config.seed}), evaluated at the last step; no step was selected by its score.
- Trained for images like those of {_in_words(config.target or config.source)}; expect lower accuracy in other countries, weather, lighting and with other cameras.
- Thin, rare and distant objects (poles, signs, riders, trains) are segmented worst; see the IoU of every class.
- Predicts classes only; it does not identify people or number plates."""


def _citation(config: CheckpointConfig) -> list[str]:
    entry = METHODS.get(config.method)
    if entry is None or not entry.paper:
        return []
    paper = _arxiv(config)
    link = f" https://arxiv.org/abs/{paper}" if paper else ""
    return [f"## Cite\n\nPlease cite the authors of the method:\n\n> {entry.paper}{link}"]


def _arxiv(config: CheckpointConfig) -> str | None:
    entry = METHODS.get(config.method)
    found = re.search(r"arXiv:(\d{4}\.\d{4,5})", entry.paper) if entry else None
    return found[1] if found else None


def _is_generated(label: str) -> bool:
    kind = DATASETS.get(label.partition("/")[0])
    return kind is not None and kind.generated


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
