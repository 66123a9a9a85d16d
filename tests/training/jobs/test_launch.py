"""From a form to a config: everything that a recipe has is a field, and nothing else gets through."""

from __future__ import annotations

from typing import Any, Final

import pytest

from sim2street.models.errors import ConfigError
from sim2street.training.config import load_recipe, recipe_names
from sim2street.training.durations import in_words
from sim2street.training.jobs.estimate import _frozen, cost_in_words, estimate, processor_rate, step_flops
from sim2street.training.jobs.fields import form_fields
from sim2street.training.jobs.hub import Flavour
from sim2street.training.jobs.launch import check_data, differences, fields_of, prepare, shipped_recipe
from sim2street.training.jobs.record import JobState
from sim2street.training.jobs.store import JobStore
from tests.training.jobs.conftest import tiny_config


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_a_form_that_gives_it_back(name: str) -> None:
    config = shipped_recipe(name)
    fields = fields_of(config)
    assert len({field.key for field in fields}) == len(fields) > 40
    shown = {
        field.key: field.value if field.kind in ("switch", "choice") else field.show(field.value) for field in fields
    }
    assert prepare(name, shown) == config
    assert [item for item in differences(name, shown) if item.value != item.recipe] == []


def test_entered_values_reach_the_config_and_are_told_apart_from_recipe_and_paper() -> None:
    entered: dict[str, Any] = {
        "steps": 200,
        "optimisers.segmenter.rate": "2e-4",
        "source_transform.crop": "128 × 96",
        "method_options.adversarial_weight": "0.01",
        "clip": "",
    }
    config = prepare("demo_advent_game_to_camvid", entered)
    assert config.steps == 200
    assert config.optimisers["segmenter"].rate == 2e-4
    assert config.source_transform.crop == (128, 96)
    found = {item.key: item for item in differences("demo_advent_game_to_camvid", entered)}
    assert (found["steps"].value, found["steps"].recipe, found["steps"].paper) == ("200", "1800", "")
    assert found["method_options.adversarial_weight"].paper == "0.001"
    assert found["method_options.discriminator_width"].paper == "64"  # the recipe's own deviation
    assert "recalibration" not in found
    (own,) = (
        item for item in differences("demo_game_to_fog__hrda_recalibrated_mit", {}) if item.key == "recalibration"
    )
    assert (own.value, own.recipe, own.paper) == ("100", "100", "0")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sources.0.root", "/etc"),
        ("name", "../../x"),
        ("method", "advent"),
        ("stages", []),
        ("__class__", "x"),
        ("optimisers.segmenter", {}),
        ("steps --help", 1),
        ("extra_networks", "/etc"),
        ("initialisation", "../../etc/passwd"),
        ("initialisation", "/tmp/evil"),
        ("sources.0.style", "../fog"),
        ("evaluations.1.split", "../../../etc"),
        ("evaluations.1.split", "val; rm -rf /"),
        ("title", "x" * 81),
        ("title", "two\nlines"),
        ("title", ""),
        ("steps", "1; ls"),
        ("steps", True),
        ("steps", 0),
        ("steps", 1.5),
        ("steps", float("nan")),
        ("batch", -1),
        ("workers", 65),
        ("optimisers.segmenter.rate", "inf"),
        ("optimisers.segmenter.rate", "$(id)"),
        ("optimisers.segmenter.kind", "lbfgs"),
        ("source_transform.crop", "1, 2, 3"),
        ("source_transform.crop", "8 x 8"),
        ("source_transform.crop", "99999 x 16"),
        ("network_options.dilations", " ".join(["1"] * 33)),
        ("network_options.auxiliary", "yes"),
        ("seed", None),
    ],
)
def test_tricks_in_fields_are_refused_with_a_sentence(key: str, value: object) -> None:
    with pytest.raises(ConfigError):
        prepare("demo_advent_game_to_camvid", {key: value})


TRICKS: Final = (
    *("../../etc/passwd", "/etc/passwd", "..", "~/.ssh", "C:\\\\x", "file:///etc/passwd", "a/b", "%2e%2e%2f"),
    *(
        "; rm -rf /",
        "$(id)",
        "`id`",
        "| sh",
        "--help",
        "--out=/tmp/x",
        "-o",
        "a\nb",
        "a\0b",
        "\u202eevil",
        "{0.__class__}",
    ),
)


@pytest.mark.parametrize("name", recipe_names())
def test_no_field_of_any_recipe_takes_a_path_or_an_argument(name: str) -> None:
    """All tricks in all fields: refused, but for a title, which is words that are shown and nothing else."""
    for field in form_fields(shipped_recipe(name)):
        assert field.kind != "text" or field.label in ("title", "split"), f"{field.key} is free text"
        for trick in TRICKS:
            if field.label == "title" and trick.isprintable():
                assert field.read(trick) == trick
                continue
            with pytest.raises(ConfigError):
                field.read(trick)


@pytest.mark.parametrize("trick", [trick for trick in TRICKS if trick.isprintable()])
def test_a_title_of_tricks_changes_nothing_else(trick: str) -> None:
    recipe = shipped_recipe("try_one_minute")
    assert prepare("try_one_minute", {"title": trick}) == recipe.model_copy(update={"title": trick})


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "", "no_such", "demo_source_only_game.toml", "--help"])
def test_only_shipped_recipes_are_launched(name: str) -> None:
    with pytest.raises(ConfigError, match="There is no recipe"):
        prepare(name, {})


def test_data_is_looked_for_and_missing_sets_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIM2STREET_CAMVID", raising=False)
    findings = check_data(load_recipe("demo_advent_game_to_camvid"))
    assert [(finding.role, finding.there) for finding in findings] == [
        ("Source", True),
        ("Target", False),
        ("Evaluation", True),
        ("Evaluation", False),
    ]
    assert "SIM2STREET_CAMVID" in findings[1].words


def test_on_a_processor_a_network_is_timed_and_not_an_ideal_convolution() -> None:
    """Depthwise convolutions take many times longer than wide ones with as many operations."""
    plain = load_recipe("demo_source_only_game")
    depthwise = load_recipe("streets__source_only_lite0")
    rates = [processor_rate(each.network, _frozen(each.network_options)) for each in (plain, depthwise)]
    assert rates[0] is not None
    assert rates[1] is not None
    assert rates[0] > 1.5 * rates[1]
    large = load_recipe("gta5_to_cityscapes__vfm_uda_large")
    assert processor_rate(large.network, _frozen(large.network_options)) is None, "it would take gigabytes"


def test_estimates_grow_with_the_work_and_cost_what_the_hardware_costs(store: JobStore) -> None:
    small, large = tiny_config(steps=100), tiny_config(steps=200, batch=2)
    assert step_flops(large) == pytest.approx(2 * step_flops(small))
    one, four = estimate(small, store), estimate(large, store)
    assert one is not None
    assert four is not None
    assert four.seconds[0] == pytest.approx(4 * one.seconds[0])
    assert [cost_in_words(dollars) for dollars in ((0.0001, 0.004), (0.004, 0.02))] == [
        "less than $0.01",
        "$0.00 to $0.02",
    ]
    assert one.dollars is None
    card = Flavour("a100-large", "A100", 3600.0, 1, "A100")
    hosted = estimate(small, store, flavour=card)
    assert hosted is not None
    assert hosted.dollars == pytest.approx(hosted.seconds)  # at a dollar a second
    # Recalibration looks at pictures forward alone, of one domain where a step sees two: a sixth of a step a batch.
    adapted = load_recipe("demo_game_to_fog__daformer_mit")
    recalibrated = load_recipe("demo_game_to_fog__daformer_mit", ["recalibration=300"])
    plain, longer = estimate(adapted, store), estimate(recalibrated, store)
    assert plain is not None
    assert longer is not None
    assert longer.seconds[0] == pytest.approx(plain.seconds[0] * (1 + 50 / adapted.steps))
    # A job whose recipe this version cannot read, as after an update, is no reason to know nothing.
    job = store.create(small)
    store.change(job.id, lambda found: found.to(JobState.RUNNING).to(JobState.SUCCEEDED))
    (store.place(job.id) / "recipe.json").write_text('{"key_of_old": 1}')
    assert estimate(small, store) == one
    assert estimate(small, store, flavour=Flavour("new", "New", 1.0, 1, "Unheard Of 9000")) is None
    assert [in_words(seconds) for seconds in (40, 600, 9000, 200_000)] == [
        "40 seconds",
        "10 minutes",
        "2.5 hours",
        "2.3 days",
    ]
