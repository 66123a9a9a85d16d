"""Optimisers that recipes name."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from sim2street.models.networks import build
from sim2street.training.config import OptimiserConfig, RunConfig
from sim2street.training.methods import build_method
from sim2street.training.run.optimisers import build_optimisers


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_a_step_does_not_depend_on_the_gradients_order_in_memory(kind: Literal["sgd", "adam", "adamw"]) -> None:
    """Convolutions of channels-last maps give channels-last gradients, whatever the order of their weights."""
    values = {
        "title": "x",
        "method": "source_only",
        "network": "segformer",
        "sources": [{"dataset": "street_scenes"}],
        "steps": 1,
        "optimisers": {"segmenter": OptimiserConfig(kind=kind, rate=1e-2)},
    }
    config = RunConfig.parse(values, where="test")
    stepped = []
    for order in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        segmenter = build("segformer", options={"variant": "b0", "width": 0.25})
        optimiser = build_optimisers(config, build_method("source_only", segmenter))["segmenter"]
        for parameter in segmenter.parameters():
            gradient = torch.randn(parameter.shape)
            parameter.grad = gradient.to(memory_format=order) if gradient.ndim == 4 else gradient
        optimiser.step()
        stepped.append([parameter.detach().clone() for parameter in segmenter.parameters()])
    torch.testing.assert_close(*stepped)
