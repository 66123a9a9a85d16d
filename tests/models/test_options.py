"""What is said of wrong values: in our words, without pydantic's, our classes' names and values of any length."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import pytest
from pydantic import Field

from sim2street.models.errors import ConfigError
from sim2street.models.options import Options
from sim2street.models.storage.checkpoint import CheckpointConfig
from sim2street.models.storage.spacefile import Spacefile
from sim2street.training.config import RunConfig
from sim2street.training.jobs.record import Job, Publication
from sim2street.training.sweeps.definition import SweepConfig

WRONG = (
    "abc",
    "",
    2.5,
    -7,
    10**12,
    [],
    ["x"],
    {},
    {"a": 1},
    None,
    True,
    [1] * 9,
    float("nan"),
    float("inf"),
    "x" * 5000,
)


class Look(StrEnum):
    DAY = "day"
    NIGHT = "night"


class Part(Options):
    size: int = 1


class Whole(Options):
    count: int = Field(default=1, ge=1, le=64)
    share: float = Field(default=0.5, gt=0, lt=1)
    wide: int = Field(default=32, multiple_of=32)
    flip: bool = False
    kind: Literal["a", "b"] = "a"
    look: Look = Look.DAY
    name: str = Field(default="x", max_length=3)
    code: str = Field(default="a", pattern="^[a-z]$")
    names: tuple[str, ...] = Field(default=("x",), min_length=1, max_length=2)
    part: Part = Part()
    parts: dict[str, Part] = Field(default_factory=dict)
    other: str = Field(default="x/y", title="repository", pattern="^[a-z]+/[a-z]+$", examples=["your/model"])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"count": "abc"}, "count is 'abc'; expected a whole number."),
        ({"count": 2.5}, "count is 2.5; expected a whole number."),
        ({"count": 65}, "count is 65; expected 64 or less."),
        ({"share": "much"}, "share is 'much'; expected a number."),
        ({"share": float("nan")}, "share is nan; expected a finite number."),
        ({"share": 0}, "share is 0; expected more than 0."),
        ({"wide": 33}, "wide is 33; expected a multiple of 32."),
        ({"flip": "perhaps"}, "flip is 'perhaps'; expected true or false."),
        ({"kind": "c"}, "kind is 'c'; expected 'a' or 'b'."),
        ({"look": "dusk"}, "look is 'dusk'; expected 'day' or 'night'."),
        ({"name": 3}, "name is 3; expected a text."),
        ({"name": {}}, "name is a table; expected a text."),
        ({"name": "abcd"}, "name is 'abcd'; expected a text of at most 3 characters."),
        ({"code": "A"}, "code is 'A'; expected a text of the form ^[a-z]$."),
        ({"names": "x"}, "names is 'x'; expected a list."),
        ({"names": []}, "names is []; expected a list of 1 or more entries."),
        ({"part": 3}, "part is 3; expected a table."),
        ({"part": {"size": "x"}}, "part.size is 'x'; expected a whole number."),
        ({"parts": {"first": 3}}, "parts.first is 3; expected a table."),
        ({"other": ""}, "repository is ''; expected a text such as 'your/model'."),
    ],
)
def test_wrong_values_are_said_in_our_words(value: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Whole.parse(value, where="here")
    assert str(caught.value) == f"here: {said}"


@pytest.mark.parametrize("model", [RunConfig, CheckpointConfig, Spacefile, Job, SweepConfig])
def test_nothing_of_pydantics_words_is_left(model: type[Options]) -> None:
    said: list[str] = []
    for name in model.model_fields:
        for wrong in WRONG:
            try:
                model.parse({name: wrong}, where="here")
            except ConfigError as error:
                said.append(str(error))
    assert len(said) > 10
    assert not [each for each in said if "nput should" in each or "instance of" in each or "x" * 120 in each]


def test_what_is_published_is_called_a_repository() -> None:
    with pytest.raises(ConfigError, match=r"^publishing: repository is ''; expected a text such as 'your-account/"):
        Publication.parse({"repo_id": ""}, where="publishing")
