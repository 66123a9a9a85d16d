"""Options: the base class of every typed config, from a network's width to a whole recipe.

pydantic validates the values; this module turns its errors into sentences that name the key, what was found and what was
expected, or, for an unknown key, the nearest known one. A field that no user writes under its own name has a `title`, by
which the sentences name it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from sim2street.models.errors import ConfigError

LONGEST: Final = 80
"""Characters of a value that a sentence repeats."""
EXPECTED: Final = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    "finite_number": "a finite number",
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "a text",
    "string_too_short": "a text of {min_length} or more characters",
    "string_too_long": "a text of at most {max_length} characters",
    "string_pattern_mismatch": "a text of the form {pattern}",
    **dict.fromkeys(("list_type", "tuple_type"), "a list"),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type"), "a table"),
    "too_short": "a list of {min_length} or more entries",
    "too_long": "a list of at most {max_length} entries",
    **dict.fromkeys(("literal_error", "enum"), "{expected}"),
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "multiple_of": "a multiple of {multiple_of}",
}
"""What values should have been, by pydantic's kind of error; its own words are a programmer's, and name our classes."""


class Options(BaseModel):
    """Frozen, typed values; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any] | Self, *, where: str) -> Self:
        """Check plain values, as read from TOML or JSON.

        Args:
            values: keys and values; an instance of this class is checked again.
            where: what is being read, for the error: "recipe demo.toml", "network deeplab_v2".

        Raises:
            ConfigError: one sentence per unknown key and per value of the wrong type or out of range.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            every = error.errors()
            found = [item for item in every if not _follows(item, every)]
            raise ConfigError(" ".join(_sentence(cls, where, item) for item in found)) from error


def _follows(error: Any, others: list[Any]) -> bool:
    """Whether an error says nothing new beside another one.

    A list counts as too short if some elements are invalid, each with its own error; and a table that may also be a text
    counts as no text if it is invalid as a table.
    """
    place = error["loc"]
    # Of a value that may be of several kinds, pydantic adds the kind to the place.
    if place[1:] and place[-1] == "str" and isinstance(error["input"], Mapping):
        return any(other is not error and other["loc"][: len(place) - 1] == place[:-1] for other in others)
    deeper = (other["loc"] for other in others if len(other["loc"]) > len(place))
    return error["type"] == "too_short" and any(other[: len(place)] == place for other in deeper)


def _sentence(model: type[BaseModel], where: str, error: Any) -> str:
    path = [part for part in error["loc"] if not str(part).startswith("function-")]
    key = ".".join(_named(model, path)) or "it"
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}."
        return f"{where}: unknown key {key!r}; {hint}"
    if error["type"] == "missing":
        return f"{where}: {key} is missing."
    found = "a table" if isinstance(error["input"], Mapping) else _shown(error["input"])
    if error["type"] == "string_pattern_mismatch" and (examples := _examples(model, path)):
        return f"{where}: {key} is {found}; expected a text such as {' or '.join(map(repr, examples))}."
    if error["type"] in EXPECTED:
        limits = {name: _plain(limit) for name, limit in error.get("ctx", {}).items()}
        return f"{where}: {key} is {found}; expected {EXPECTED[error['type']].format(**limits)}."
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if isinstance(error["input"], Mapping):  # too long to be repeated
        return ": ".join([where, *([key] if path else []), f"{message.rstrip('.')}."])
    return f"{where}: {key} is {found}: {message.rstrip('.')}."


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"


def _plain(limit: Any) -> Any:
    """1.0 as 1, and 1e30 as it is."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() and abs(limit) < 2**53 else limit


def _named(model: type[BaseModel], path: list[Any]) -> list[str]:
    """The parts of a path, by the titles of fields that have one."""
    fields = [_model_at(model, path[:place]).model_fields.get(str(part)) for place, part in enumerate(path)]
    return [(field and field.title) or str(part) for field, part in zip(fields, path, strict=True)]


def _examples(model: type[BaseModel], path: list[Any]) -> list[Any]:
    """Examples that the field at `path` gives of its values; of a list, those of its entries."""
    path = path[:-1] if isinstance(path[-1], int) else path
    field = _model_at(model, path[:-1]).model_fields.get(str(path[-1]))
    return [] if field is None else field.examples or []


def _known_keys(model: type[BaseModel], path: list[Any]) -> list[str]:
    return list(_model_at(model, path).model_fields)


def _model_at(model: type[BaseModel], path: list[Any]) -> type[BaseModel]:
    """The nested model at `path`; list positions and dict keys are skipped."""
    for part in path:
        field = model.model_fields.get(str(part))
        inner = [] if field is None else [*_models_in(field.annotation)]
        if inner:
            model = inner[0]
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]
