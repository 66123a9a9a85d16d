"""Launch: turn a recipe's name and a form's values into a checked config. Keys that the form does not list are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim2street.models.errors import ConfigError, Sim2StreetError
from sim2street.models.storage.catalog import catalog
from sim2street.training.config import DatasetConfig, RunConfig, load_recipe, recipe_names, unknown_recipe
from sim2street.training.jobs.fields import FormField, form_fields
from sim2street.training.methods import METHODS
from sim2street.training.selection import open_originals


def shipped_recipe(name: str) -> RunConfig:
    """A recipe that comes with the project; users' own files are only for the command line.

    Raises:
        ConfigError: there is no recipe of that name.
    """
    if name not in recipe_names():
        raise unknown_recipe(name)
    return load_recipe(name)


def method_title(config: RunConfig) -> str:
    """Display name of a recipe's method."""
    return METHODS.find(config.method).title


def fields_of(config: RunConfig) -> list[FormField]:
    """The form of a recipe; it can start from a checkpoint of the catalog with the same network."""
    starts = [
        entry.checkpoint.name
        for entry in catalog()
        if entry.checkpoint is not None
        and entry.checkpoint.config.network == config.network
        and entry.checkpoint.config.network_options == config.network_options
    ]
    return form_fields(config, ("random", "imagenet", *starts))


def prepare(recipe: str, entered: Mapping[str, Any]) -> RunConfig:
    """Return the recipe with the values entered.

    Args:
        recipe: name of a shipped one.
        entered: by dotted key, as a form or an API hands them over.

    Raises:
        ConfigError: a key is not in the form, a value is wrong, or they do not fit together.
    """
    config = shipped_recipe(recipe)
    fields = {field.key: field for field in fields_of(config)}
    unknown = sorted(str(key)[:60] for key in entered.keys() - fields.keys())
    if unknown:
        raise ConfigError(f"{unknown[0]!r} cannot be changed here.")
    values = config.model_dump(mode="json")
    for key, value in entered.items():
        read = fields[key].read(value)
        if read != fields[key].value:
            _place(values, key, read)
    return RunConfig.parse(values, where=recipe)


@dataclass(frozen=True)
class Difference:
    """A value that differs from the recipe's or the paper's."""

    key: str
    value: str
    recipe: str
    paper: str


def differences(recipe: str, entered: Mapping[str, Any]) -> list[Difference]:
    """The values that differ from the recipe, and the options of method and network that differ from their papers.

    Raises:
        ConfigError: as `prepare`.
    """
    found = []
    for field in fields_of(shipped_recipe(recipe)):
        value = field.read(entered[field.key]) if field.key in entered else field.value
        papers = field.paper is not None and _plain(value) != _plain(field.paper)
        if _plain(value) != _plain(field.value) or papers:
            shown = field.show(field.paper) if papers else ""
            found.append(Difference(field.key, field.show(value) or "none", field.show(field.value) or "none", shown))
    return found


@dataclass(frozen=True)
class DataFinding:
    """Whether a recipe's data set is available: its description, or what is missing and how to get it."""

    role: str
    label: str
    there: bool
    words: str


def check_data(config: RunConfig) -> list[DataFinding]:
    """Open every data set that a run would read, without reading its images."""
    roles: list[tuple[str, DatasetConfig, bool]] = [("Source", item, True) for item in config.sources]
    if config.target is not None:
        roles.append(("Target", config.target, False))
    roles += [("Evaluation", item, True) for item in config.evaluations]
    findings = []
    for role, item, labelled in roles:
        try:
            words = open_originals(item, labelled=labelled).describe()
            findings.append(DataFinding(role, item.label, True, words))
        except Sim2StreetError as error:
            findings.append(DataFinding(role, item.label, False, str(error)))
    return findings


def _place(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    place: Any = values
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    place[last] = value


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
