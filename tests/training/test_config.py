from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sim2street.models.errors import ConfigError
from sim2street.models.networks import build
from sim2street.training.config import RunConfig, load_recipe, recipe_names
from sim2street.training.methods import build_method
from sim2street.training.run.optimisers import build_optimisers

DEMO = "demo_source_only_game"


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid_and_says_what_it_is(name: str) -> None:
    config = load_recipe(name)
    assert config.name == name
    assert config.about
    again = RunConfig.parse(json.loads(json.dumps(config.model_dump(mode="json"))), where="again")
    assert again == config
    text = (Path("training/recipes") / f"{name}.toml").read_text()
    assert text.startswith("# "), "a recipe begins with a comment that says which number it is"


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_has_an_optimiser_for_each_network(name: str) -> None:
    config = load_recipe(name)
    smallest = {"deeplab_v2": {"backbone": "resnet18"}, "drn": {}, "fcn8s": {"width": 0.125}}
    with torch.device("meta"):  # without memory or random numbers
        for stage in config.resolve_stages().values() if config.stages else [config]:
            encoder = {} if "encoder" in stage.network_options else {"variant": "b0"}
            small = {**stage.network_options, **smallest.get(stage.network, encoder)}
            method = build_method(stage.method, build(stage.network, options=small), stage.method_options)
            assert set(build_optimisers(stage, method)) == set(method.networks)


def test_overrides_reach_nested_values() -> None:
    config = load_recipe(DEMO, ["steps=7", "optimisers.segmenter.rate=2e-4", "sources.0.count=5", "title=Mine"])
    assert (config.steps, config.sources[0].count, config.title) == (7, 5, "Mine")
    assert config.optimisers["segmenter"].rate == 2e-4


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stepps=3", "unknown key 'stepps'; did you mean 'steps'"),
        ("optimisers.segmenter.rat=1", "did you mean 'rate'"),
        ("sources.0.styl='fog'", "did you mean 'style'"),
        ("network_options.widht=1", "did you mean 'width'"),
        ("network_options.width=3", "width is 3"),
        ("steps=0", "steps is 0"),
        ("steps=9223372036854775808", "expected 1000000000 or less"),
        ("accumulate=10000000000000", "expected 65536 or less"),
        ("optimisers.segmenter.rate=1e300", r"rate is 1e\+300; expected 1e\+30 or less"),
        ("sources.0.weight=1e308", "expected 1000000 or less"),
        ("steps=many", "steps is 'many'; expected a whole number"),
        ("batch=2.5", "batch is 2.5; expected a whole number"),
        ("source_transform=3", "source_transform is 3; expected a table"),
        ("method=dacs", "known are source_only, adabn"),
        ("method=advent", r"needs unlabelled target images: add a \[target\]"),
        ("target.dataset=camvid", r"remove the \[target\]"),
        ("sources=[]", "expected a list of 1 or more entries"),
        ("sources.0.count=0", "sources.0.count is 0; expected 1 or more.$"),
        ("sources.0.count=200000000", "expected 1000000 or less"),
        ("optimisers.segmenter.rate=inf", "finite number"),
        ("seed=1000000000000000000000000", "expected 9007199254740991 or less"),
        ("sources.7.count=1", "position from 0 to 0"),
        (f"sources.{'9' * 5000}.count=1", "position from 0 to 0"),
        (f"steps={'9' * 5000}", "steps"),
        ("title={}", "title is a table; expected a text"),
        ("title={} stepps=3", "title is a table; expected a text.*unknown key 'stepps'"),
        ("steps.deep=1", "steps is a single value and has no keys"),
        ("steps", "key=value"),
        ("source_transform.augment=wild", "'none', 'plain', 'daformer' or 'strong'"),
    ],
)
def test_mistakes_get_a_sentence(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_recipe(DEMO, override.split())


def test_missing_and_damaged_recipes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="and no file of that name"):
        load_recipe("no_such_recipe")
    broken = tmp_path / "broken.toml"
    broken.write_text("steps = = 3")
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        load_recipe(str(broken))
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        load_recipe(str(broken))
    broken.write_text("a = " + 3000 * "[")
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        load_recipe(str(broken))


def test_a_recipe_of_another_alphabet_and_editor_is_read(tmp_path: Path) -> None:
    path = tmp_path / "Größe.toml"
    path.write_text(f'base = "{DEMO}"\nsteps = 7\n', encoding="utf-8-sig")  # with the mark that some editors begin with
    config = load_recipe(str(path))
    assert (config.name, config.steps) == ("gr__e", 7)


def test_a_recipe_is_laid_over_its_base(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(f'base = "{DEMO}"\nsteps = 7\n[source_transform]\nflip = 0.25\n[[sources]]\ndataset = "gta5"\n')
    config, base = load_recipe(str(own)), load_recipe(DEMO)
    assert (config.name, config.steps, [item.dataset for item in config.sources]) == ("own", 7, ["gta5"])
    assert config.source_transform == base.source_transform.model_copy(update={"flip": 0.25})
    assert (
        config.model_copy(update={key: getattr(base, key) for key in ("name", "steps", "sources", "source_transform")})
        == base
    )
    grandchild = tmp_path / "grandchild.toml"
    grandchild.write_text('base = "own.toml"\nbatch = 3\n')  # beside it, wherever the command is given
    assert load_recipe(str(grandchild), ["steps=8"]) == config.model_copy(
        update={"name": "grandchild", "batch": 3, "steps": 8}
    )


def test_a_base_by_another_way_and_a_long_chain_are_seen(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / "own.toml").write_text('base = "../w/own.toml"\n')
    with pytest.raises(ConfigError, match="is its own base"):
        load_recipe(str(folder / "own.toml"))
    for place in range(30):
        (tmp_path / f"r{place}.toml").write_text(f'base = "r{place + 1}.toml"\n')
    with pytest.raises(ConfigError, match=r"r0\.toml has a chain of more than 20 bases"):
        load_recipe(str(tmp_path / "r0.toml"))


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ('"own.toml"', "own.toml is its own base, by way of own.toml"),
        ('"no_such"', "own.toml: base: There is no recipe 'no_such'"),
        ("3", "own.toml: base is 3; expected the name of a recipe"),
        (f'"{DEMO}"\nwithout = "steps"', "without is 'steps'; expected a list of keys"),
        (f'"{DEMO}"\nwithout = [1]', r"without is \[1\]; expected a list of keys"),
    ],
)
def test_a_wrong_base_gets_a_sentence(base: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.toml").write_text(f"base = {base}\n")
    with pytest.raises(ConfigError, match=words):
        load_recipe("own.toml")


@pytest.mark.parametrize(
    ("recipe", "override", "words"),
    [
        ("demo_game_to_fog__daformer_mit", "method=hrda", "Method hrda trains the network hrda; network is 'daformer'"),
        ("demo_game_to_fog__mic_mit", "sources.0.dataset=camvid", "MIC mixes source labels with pseudo labels"),
        (
            "demo_game_to_fog__cycada_cnn",
            "stages.1.optimisers={}",
            "optimisers.segmenter is missing: method cycada",
        ),
        (
            "demo_game_to_fog__cycada_cnn",
            "stages.2.method_options.phase=feature",
            "'segmentation', 'features' or 'joint'",
        ),
        ("demo_game_to_fog__hrda_mit", "target_transform.margins=[1, 2, 3]", "target_transform.margins"),
        ("demo_game_to_fog__cycada_cnn", "stages.1.precision=bf16", "precisions bf16, fp32; use the same"),
    ],
)
def test_what_a_method_cannot_work_with_is_refused(recipe: str, override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_recipe(recipe, [override])
