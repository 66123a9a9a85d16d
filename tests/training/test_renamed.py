"""Recipes, runs and states of earlier versions open under today's names."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from sim2street.training.config import RunConfig, load_recipe
from sim2street.training.renamed import with_current_names
from sim2street.training.run.extra_networks import extra_networks_of, load_extra_networks, save_extra_networks

EARLIER = {
    "discriminator_target": "judge_target",
    "discriminator_source": "judge_source",
    "discriminator_width": "judge_width",
    "discriminator_input": "judged",
    "discriminator_cell": "judged_cell",
    "extra_networks": "companions",
}


def as_it_was(values: object) -> object:
    if isinstance(values, dict):
        return {EARLIER.get(key, key): as_it_was(item) for key, item in values.items()}
    return [as_it_was(item) for item in values] if isinstance(values, list | tuple) else values


def test_a_config_of_an_earlier_version_is_todays() -> None:
    today = load_recipe("gta5_to_cityscapes__cycada__fcn8s")
    earlier = as_it_was(today.model_dump(mode="json"))
    assert "judged" in str(earlier)
    assert "judge_target" in str(earlier)
    assert isinstance(earlier, dict)
    read = RunConfig.parse(earlier, where="config.json")
    assert read.resolve_stages() == today.resolve_stages()


def test_keys_of_a_saved_state_are_renamed_part_by_part() -> None:
    state = {"judge_target.model.0.weight": torch.zeros(1), "judgements": torch.zeros(()), "misjudged.x": 1}
    assert list(with_current_names(state)) == [
        "discriminator_target.model.0.weight",
        "discriminator_steps",
        "misjudged.x",
    ]


def test_extra_networks_are_found_in_the_folder_of_an_earlier_version(tmp_path: Path) -> None:
    network = nn.Linear(2, 2)
    save_extra_networks({"to_target": network}, tmp_path)
    extra_networks_of(tmp_path).rename(tmp_path / "companions")
    assert extra_networks_of(tmp_path) == tmp_path / "companions"
    other = nn.Linear(2, 2)
    load_extra_networks({"to_target": other}, tmp_path)
    assert torch.equal(other.weight, network.weight)
