"""Recipes that stand on one another: nothing is written twice, and a table of another data set replaces the base's."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from sim2street.models.errors import ConfigError
from sim2street.training.config import RECIPES, load_recipe, recipe_names


def given_again(values: dict[str, Any], base: dict[str, Any], place: str = "") -> list[str]:
    """Keys of `values` that say what the base says already."""
    again = []
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            replaced = "dataset" in value and value["dataset"] != base[key].get("dataset")
            again += [] if replaced else given_again(value, base[key], f"{place}{key}.")
        elif key in base and base[key] == value and not (key == "dataset" and place):
            again.append(place + key)
    return again


def written(name: str) -> dict[str, Any]:
    return tomllib.loads((RECIPES / f"{name}.toml").read_text(encoding="utf-8"))


def laid(name: str) -> dict[str, Any]:
    """A recipe's values as they are written, its base's below them."""
    values = written(name)
    if "base" not in values:
        return values
    return over(kept(values), values)


def kept(values: dict[str, Any]) -> dict[str, Any]:
    """What a recipe takes over from its base; `values` lose the two keys that say so."""
    dropped = values.pop("without", [])
    return {key: value for key, value in laid(values.pop("base")).items() if key not in dropped}


def over(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in values.items():
        before = base.get(key)
        tables = isinstance(value, dict) and isinstance(before, dict)
        same = tables and value.get("dataset", before.get("dataset")) == before.get("dataset")
        merged[key] = over(before, value) if same else value
    return merged


@pytest.mark.parametrize("name", [name for name in recipe_names() if "base" in written(name)])
def test_a_recipe_says_only_what_its_base_does_not(name: str) -> None:
    values = written(name)
    assert given_again(values, kept(values)) == []


def test_a_table_of_another_data_set_replaces_the_base_s(tmp_path: Path) -> None:
    recipe = tmp_path / "other.toml"
    recipe.write_text(
        'base = "demo_game_to_fog__daformer_mit"\ntarget = { dataset = "camvid" }\nwindow = { short_side = 200 }\n'
    )
    config = load_recipe(str(recipe))
    assert config.target is not None
    assert config.target.dataset == "camvid"
    assert config.target.count == 1000, "the default: the base's 2,000 belonged to another data set"
    assert config.window.short_side == 200
    assert config.target_transform.crop == load_recipe("demo_game_to_fog__daformer_mit").target_transform.crop


def test_a_recipe_drops_keys_of_its_base(tmp_path: Path) -> None:
    recipe = tmp_path / "bare.toml"
    recipe.write_text(
        'base = "streets_to_cityscapes__advent_lambda0_lite0"\nwithout = ["optimisers", "method_options"]\nmethod = "adabn"\n'
    )
    config = load_recipe(str(recipe))
    assert config.optimisers == {}
    assert config.method_options == {}
    recipe.write_text('base = "try_one_minute"\nwithout = ["optimizers"]\n')
    with pytest.raises(ConfigError, match="without lists 'optimizers', which try_one_minute does not have"):
        load_recipe(str(recipe))
