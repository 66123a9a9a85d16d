"""Optimisers of a method's networks: their parameter groups, and their learning rates at every step."""

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
    """One optimiser per trained network, with separate groups for classifiers and layer norms.

    Raises:
        ConfigError: the recipe's optimisers do not match the method's networks.
    """
    if set(config.optimisers) != set(method.networks):
        raise ConfigError(
            f"The recipe has optimisers for {', '.join(sorted(config.optimisers))}; method {config.method} trains"
            f" {', '.join(sorted(method.networks))}. Give exactly one optimiser for each network."
        )
    return {name: _optimiser(config.optimisers[name], network) for name, network in method.networks.items()}


def _optimiser(config: OptimiserConfig, network: nn.Module) -> Optimizer:
    heads = network.core.heads() if isinstance(network, Segmenter) else ()
    in_heads = {id(parameter) for head in heads for parameter in head.parameters()}
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    layer_norms = [module for module in network.modules() if isinstance(module, nn.LayerNorm)]
    spared = {id(p) for norm in layer_norms for p in norm.parameters()} if config.spare_norms else set[int]()
    shares = layer_shares(network, config.layer_decay)

    def kind_of(parameter: nn.Parameter) -> tuple[bool, float, bool]:
        head = id(parameter) in in_heads
        return head, config.head_factor if head else shares.get(id(parameter), 1.0), id(parameter) not in spared

    # Sorted, because a resumed run matches its groups by order.
    groups = [
        {
            "params": [parameter for parameter in trainable if kind_of(parameter) == kind],
            "factor": kind[1],
            "weight_decay": config.weight_decay if kind[2] else 0.0,
        }
        for kind in sorted({kind_of(parameter) for parameter in trainable})
    ]
    if config.kind == "sgd":
        return torch.optim.SGD(groups, lr=config.rate, momentum=config.momentum)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    # Not fused: on a processor, PyTorch's fused kernels pair parameters and gradients in the order of memory, which differs
    # wherever a gradient is channels-last and its parameter is not.
    return kinds[config.kind](groups, lr=config.rate, betas=config.betas)


def layer_shares(network: nn.Module, decay: float) -> dict[int, float]:
    """Rate factor of each encoder parameter, by its id: `decay` to the power of the number of layers after it.

    Raises:
        ConfigError: the network's encoder is not a sequence of layers.
    """
    if decay == 1:
        return {}
    layers = network.core.layers() if isinstance(network, Segmenter) else ()
    if not layers:
        raise ConfigError(
            f"optimisers.segmenter.layer_decay is {decay:g}, but this network's encoder is not a sequence of layers. Leave it"
            " out, or choose a vision transformer as encoder."
        )
    return {
        id(parameter): decay ** (len(layers) - 1 - depth) for depth, layer in enumerate(layers) for parameter in layer
    }


def set_rates(optimiser: Optimizer, config: OptimiserConfig, step: int, steps: int) -> None:
    """Set the learning rate of every group for `step`."""
    factor = poly(
        step,
        config.horizon or steps,
        config.power,
        config.warm_up,
        config.warm_up_ratio,
        config.hold,
        warm_up_alone=config.warm_up_alone,
    )
    for group in optimiser.param_groups:
        group["lr"] = config.rate * factor * group["factor"]
