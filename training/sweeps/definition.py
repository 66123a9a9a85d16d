"""The contents of a sweep file.

title = "Game to fog"

[[rows]]
name = "fog_daformer_mit"                 # folder of its runs
recipe = "demo_game_to_fog__daformer_mit" # and `set = ["steps=200"]` for what differs from it
seeds = [0, 1, 2]
group = "mit"                             # rows that are compared: one network from one start
role = "method"                           # source_only, control, method or oracle

[[tests]]
name = "fog"
dataset = "street_scenes"                 # and the other values of a recipe's data set
"""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from sim2street.models.errors import ConfigError
from sim2street.models.options import Options
from sim2street.models.storage.files import visible
from sim2street.training.config import DatasetConfig, name_of

SWEEPS: Final = Path(__file__).parent


class SweepRow(Options):
    """A recipe, run with several seeds."""

    name: str = Field(
        pattern=r"^[a-z0-9_]+$",
        max_length=80,
        examples=["advent_cnn"],
        description="Name of the row and of its runs' folder.",
    )
    recipe: str = Field(description="Name of a shipped recipe, or a TOML file.")
    set: tuple[str, ...] = Field(default=(), description="Changes to it as key=value, such as steps=200.")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0,), min_length=1)
    group: str = Field(min_length=1, max_length=40, description="Rows that share network, start and budget.")
    role: Literal["source_only", "control", "method", "oracle"] = Field(
        description="A group's gap is between its source_only and its oracle row; each occurs at most once."
    )

    @field_validator("set")
    @classmethod
    def _seeds_apart(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for change in value:
            if change.partition("=")[0].strip() == "seed":
                raise ValueError(f"{change!r} would be overridden by the row's seeds; list it there, as in seeds = [5]")
        return value


class SweepTest(DatasetConfig):
    """A labelled set on which every checkpoint of the sweep is scored."""

    name: str = Field(pattern=r"^[a-z0-9_]+$", max_length=80, examples=["night"], description="Name of its column.")
    gap: bool = Field(
        default=True, description="Whether it belongs to the target domain, so that a share of the gap is meaningful."
    )


class SweepConfig(Options):
    """The rows and tests of a sweep."""

    title: str = Field(min_length=1, max_length=80)
    about: str = ""
    name: str = Field(
        default="",
        pattern=r"^[a-z0-9_]*$",
        examples=["my_sweep"],
        description="Name of the table; filled in from the file name.",
    )
    rows: tuple[SweepRow, ...] = Field(min_length=1)
    tests: tuple[SweepTest, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _unambiguous(self) -> Self:
        names = [f"row {row.name}" for row in self.rows] + [f"test {test.name}" for test in self.tests]
        names += [f"seed {seed} of row {row.name}" for row in self.rows for seed in row.seeds]
        names += [f"{row.role} of group {row.group}" for row in self.rows if row.role in ("source_only", "oracle")]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ConfigError(f"A sweep may have only one {twice[0]}; this one has {Counter(names)[twice[0]]}.")
        return self


def sweep_names() -> list[str]:
    """Names of the sweeps that come with the project."""
    return sorted(path.stem for path in visible(SWEEPS, "*.toml"))


def load_sweep(source: str) -> SweepConfig:
    """Read a sweep by name or file.

    Raises:
        ConfigError: there is no such file, it is not valid TOML, or a key or value is wrong.
    """
    path = SWEEPS / f"{source}.toml"
    if not path.is_file():
        path = Path(source)
    if not path.is_file():
        raise ConfigError(f"There is no sweep {source!r}: neither a file nor one of {', '.join(sweep_names())}.")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
    values["name"] = values.get("name") or name_of(path)
    return SweepConfig.parse(values, where=path.name)
