"""Optimisers of a method's networks: their groups of parameters, and their learning rates at every step."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import Optimizer

from sim2street.models.errors import ConfigError
from sim2street.models.segmenter import Segmenter
from sim2street.training.config import OptimiserConfig, RunConfig
from sim2street.training.methods.base import Method
from sim2street.training.run.schedules import poly


def build_optimisers(config: RunConfig, method: Method) -> dict[str, Optimizer]:
    """One optimiser per trained network, its classifiers and layer norms in groups of their own.

    Raises:
        ConfigError: the recipe lists other optimisers than the method has networks.
    """
    if set(config.optimisers) != set(method.networks):
        raise ConfigError(
            f"The recipe has optimisers for {', '.join(sorted(config.optimisers))}; method {config.method} trains"
            f" {', '.join(sorted(method.networks))}. There must be one for each."
        )
    return {name: _optimiser(config.optimisers[name], network) for name, network in method.networks.items()}


def _optimiser(config: OptimiserConfig, network: nn.Module) -> Optimizer:
    heads = network.core.heads() if isinstance(network, Segmenter) else ()
    in_heads = {id(parameter) for head in heads for parameter in head.parameters()}
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    layer_norms = [module for module in network.modules() if isinstance(module, nn.LayerNorm)]
    spared = {id(p) for norm in layer_norms for p in norm.parameters()} if config.spare_norms else set[int]()
    groups = [
        {
            "params": [p for p in trainable if (id(p) in in_heads) == head and (id(p) in spared) == spare],
            "factor": config.head_factor if head else 1.0,
            "weight_decay": 0.0 if spare else config.weight_decay,
        }
        for head in (False, True)
        for spare in (True, False)
    ]
    groups = [group for group in groups if group["params"]]
    if config.kind == "sgd":
        return torch.optim.SGD(groups, lr=config.rate, momentum=config.momentum)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[config.kind](groups, lr=config.rate, betas=config.betas)


def set_rates(optimiser: Optimizer, config: OptimiserConfig, step: int, steps: int) -> None:
    """Give every group its rate at `step`."""
    factor = poly(step, config.horizon or steps, config.power, config.warm_up, hold=config.hold)
    for group in optimiser.param_groups:
        group["lr"] = config.rate * factor * group["factor"]
