"""The mean of networks' weights: one network that reads photos nearly as well as all together, at the cost of one.

The networks must have been trained from one another or from the same start (Wortsman et al., ICML 2022, arXiv:2203.05482);
the mean of networks that were trained apart knows nothing. Running statistics of batch norm are averaged as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sim2street.models.errors import ConfigError
from sim2street.models.segmenter import Segmenter
from sim2street.models.storage.checkpoint import Checkpoint, CheckpointConfig


@torch.no_grad()
def average(checkpoints: Sequence[Checkpoint]) -> tuple[Segmenter, CheckpointConfig]:
    """The mean of checkpoints' weights.

    Args:
        checkpoints: at least two, with the same network; one that is given twice counts twice.

    Returns:
        The network in evaluation mode, and the first checkpoint's config with the names, data and licences of all.

    Raises:
        ConfigError: there is only one, or the networks or their classes differ.
        CheckpointError: weights are damaged or do not fit.
    """
    first, *others = checkpoints
    if not others:
        raise ConfigError(f"Only {first.name} was given; an average needs at least two checkpoints.")
    for other in others:
        _refuse_other_network(first, other)
    segmenter = first.load()
    mean = segmenter.core.state_dict()
    networks = [checkpoint.load().core.state_dict() for checkpoint in others]
    for key, value in mean.items():
        if value.is_floating_point():
            value.copy_(torch.stack([value, *(weights[key] for weights in networks)]).double().mean(dim=0))
    configs = [checkpoint.config for checkpoint in checkpoints]
    licences = [config.licence for config in configs]
    described = {
        "averaged": tuple(checkpoint.name for checkpoint in checkpoints),
        "source": _all_of([config.source for config in configs], " + "),
        "target": _all_of([config.target or "" for config in configs], " + ") or None,
        # Whoever uses the mean uses the weights of each.
        "licence": "unknown" if {"", "unknown"} & {*licences} else _all_of(licences, " and "),
    }
    return segmenter, first.config.model_copy(update=described)


def _all_of(lists: Sequence[str], comma: str) -> str:
    """The union of lists written as text, in the order of their first mention."""
    return comma.join(dict.fromkeys(item for text in lists for item in text.split(comma) if item))


def _refuse_other_network(first: Checkpoint, other: Checkpoint) -> None:
    for what in ("network", "network_options"):
        ours, theirs = getattr(first.config, what), getattr(other.config, what)
        if ours != theirs:
            raise ConfigError(
                f"{other.name} has {what} {theirs}, but {first.name} has {ours}. Only networks that were trained from one"
                " another can be averaged."
            )
    if first.config.space != other.config.space:
        raise ConfigError(
            f"{other.name} predicts {other.config.space.name}, but {first.name} predicts {first.config.space.name}. Only"
            " networks with the same classes can be averaged."
        )
