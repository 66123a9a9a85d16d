"""Fields: a recipe as a list of single values with kind, range and help, derived from the typed config.

Forms are drawn from this list alone, and only its fields can be changed: no paths, no class names, and no keys that the
recipe does not have.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from sim2street.models.errors import ConfigError
from sim2street.models.labels import LABEL_SPACES
from sim2street.models.networks import NETWORKS
from sim2street.models.options import Options
from sim2street.training.config import RunConfig
from sim2street.training.datasets import DATASETS
from sim2street.training.datasets.street_scenes import STYLES
from sim2street.training.methods import METHODS

Kind = Literal["whole", "number", "switch", "choice", "text", "numbers"]

# The recipe determines its components; folders are set by environment variables on the server or, as with
# extra_networks, in the user's own recipes on the command line.
FIXED: Final = frozenset(
    {"name", "method", "network", "stages", "root", "dataset", "licence", "about", "extra_networks", "encoder"}
)
SPLIT: Final = re.compile(r"^[a-z0-9_]{1,40}$")
GROUPS: Final = {
    "run": "Run",
    "method_options": "Method",
    "optimisers": "Optimisers",
    "sources": "Source data",
    "target": "Target data",
    "source_transform": "Source images",
    "target_transform": "Target images",
    "rare_class": "Rare class sampling",
    "network_options": "Network",
    "window": "How photos are shown",
    "evaluations": "Evaluations during training",
}
"""Groups in the order of the form; a value of the recipe itself is in `run`."""
PAPERS: Final = {"recalibration": 0}
"""Top-level values of the recipe that are the same in every paper."""


@dataclass(frozen=True)
class FormField:
    """One value of a recipe.

    Attributes:
        key: dotted, as in `sim2street train --set`.
        label: display name, the last part of the key.
        group: key of `GROUPS`.
        kind: determines the widget and the valid values.
        value: the recipe's value.
        paper: the paper's value: the default of a method's or network's option, or one of `PAPERS`; otherwise None.
        help: the config's description.
        minimum, maximum: bounds of a number, None if there are none.
        choices: the options of a choice.
        whole: whether the numbers of a list are integers.
        length: required length of a list of numbers, None for any.
        optional: whether it may be empty.
    """

    key: str
    label: str
    group: str
    kind: Kind
    value: Any
    paper: Any = None
    help: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] = ()
    whole: bool = False
    length: int | None = None
    optional: bool = False

    def read(self, entered: Any) -> Any:
        """Convert input to a value of this field.

        Raises:
            ConfigError: the input is not a valid value.
        """
        if self.optional and (entered is None or (isinstance(entered, str) and not entered.strip())):
            return None
        readers = {
            "whole": self._number,
            "number": self._number,
            "switch": self._switch,
            "choice": self._choice,
            "text": self._text,
            "numbers": self._numbers,
        }
        return readers[self.kind](entered)

    def show(self, value: Any) -> str:
        """A value as it is entered and shown."""
        if value is None:
            return ""
        if isinstance(value, list | tuple):
            return ", ".join(self.show(item) for item in value)
        if isinstance(value, bool):
            return "yes" if value else "no"
        return f"{value:g}" if isinstance(value, float) else str(value)

    def _number(self, entered: Any) -> int | float:
        number = self._parse(entered, whole=self.kind == "whole")
        low, high = self.minimum, self.maximum
        if (low is not None and number < low) or (high is not None and number > high):
            span = f"{'' if low is None else f'{low:g}'} to {'' if high is None else f'{high:g}'}"
            raise ConfigError(f"{self.key} is {number:g}; expected {span.strip()}.")
        return number

    def _numbers(self, entered: Any) -> list[int | float]:
        parts = re.split(r"[,;×x\s]+", entered.strip()) if isinstance(entered, str) else list(entered)
        numbers = [self._parse(part, whole=self.whole) for part in parts if part != ""]
        if self.length is not None and len(numbers) != self.length:
            raise ConfigError(f"{self.key} has {len(numbers)} numbers; expected {self.length}.")
        if len(numbers) > 32:
            raise ConfigError(f"{self.key} has {len(numbers)} numbers; expected at most 32.")
        return numbers

    def _parse(self, entered: Any, *, whole: bool) -> int | float:
        try:
            number = float(entered)
        except (TypeError, ValueError):
            raise ConfigError(f"{self.key} is {str(entered)[:40]!r}; expected a number.") from None
        if isinstance(entered, bool) or not math.isfinite(number) or (whole and number != int(number)):
            raise ConfigError(f"{self.key} is {str(entered)[:40]!r}; expected a {'whole ' if whole else ''}number.")
        return int(number) if whole else number

    def _switch(self, entered: Any) -> bool:
        if not isinstance(entered, bool):
            raise ConfigError(f"{self.key} is {str(entered)[:40]!r}; expected yes or no.")
        return entered

    def _choice(self, entered: Any) -> Any:
        if entered not in self.choices:
            known = ", ".join(map(str, self.choices))
            raise ConfigError(f"{self.key} is {str(entered)[:40]!r}; expected one of {known}.")
        return entered

    def _text(self, entered: Any) -> str:
        if not isinstance(entered, str) or any(not letter.isprintable() for letter in entered):
            raise ConfigError(f"{self.key} must be one line of text.")
        if self.label == "split" and entered != self.value and not SPLIT.match(entered):
            raise ConfigError(f"{self.key} is {entered[:40]!r}; expected a name such as train or val.")
        return entered.strip()


def form_fields(config: RunConfig, starts: tuple[str, ...] = ("random", "imagenet")) -> list[FormField]:
    """All values of a recipe that may be changed, grouped as in `GROUPS`.

    Args:
        config: the recipe.
        starts: further choices for `initialisation` besides the recipe's own.
    """
    fields: list[FormField] = []
    values = config.model_dump(mode="json")
    for name, info in RunConfig.model_fields.items():
        if name in FIXED:
            continue
        if name == "initialisation":
            choices = tuple(dict.fromkeys((config.initialisation, *starts)))
            help_ = info.description or ""
            fields.append(FormField(name, name, "run", "choice", config.initialisation, help=help_, choices=choices))
        elif name == "labels":
            fields.append(_of_label_space(name, "run", config.labels, info.description or ""))
        elif name == "method_options":
            options = METHODS.find(config.method).options
            fields += _of_model(options, config.method_options, name, name, paper=True)
        elif name == "network_options":
            options = NETWORKS[config.network].options
            fields += _of_model(options, config.network_options, name, name, paper=True)
        elif name == "optimisers":
            for network, optimiser in config.optimisers.items():
                fields += _of_model(type(optimiser), values[name][network], f"{name}.{network}", name)
        elif name in ("sources", "evaluations"):
            for place, item in enumerate(getattr(config, name)):
                fields += _of_dataset(type(item), values[name][place], f"{name}.{place}", name)
        elif name == "target":
            if config.target is not None:
                fields += _of_dataset(type(config.target), values[name], name, name)
        elif name in GROUPS:
            if name != "target_transform" or config.target is not None:
                fields += _of_model(type(getattr(config, name)), values[name], name, name)
        else:
            fields.append(_of_info(info, name, values[name], "run", paper=PAPERS.get(name)))
    order = list(GROUPS)
    return sorted(fields, key=lambda field: order.index(field.group))


def _of_model(
    model: type[Options], values: Mapping[str, Any], prefix: str, group: str, *, paper: bool = False
) -> list[FormField]:
    fields = []
    for name, info in model.model_fields.items():
        if name in FIXED:
            continue
        default = info.get_default(call_default_factory=True)
        value = values.get(name, default)
        fields.append(_of_info(info, f"{prefix}.{name}", value, group, paper=default if paper else None))
    return fields


def _of_dataset(model: type[Options], values: Mapping[str, Any], prefix: str, group: str) -> list[FormField]:
    """The values that the data set uses when it is opened; rendered streets have no split."""
    kind = DATASETS.find(values["dataset"])
    left_out = {"style", "count", "seed", "size", "classes"} - set(kind.parameters())
    left_out |= {"split"} if kind.generated else set()
    fields = [field for field in _of_model(model, values, prefix, group) if field.label not in left_out]
    given = {field.key: field for field in fields}
    if (key := f"{prefix}.style") in given:
        field = FormField(key, "style", group, "choice", values["style"], help=given[key].help, choices=tuple(STYLES))
        fields[fields.index(given[key])] = field
    if (key := f"{prefix}.classes") in given:
        fields[fields.index(given[key])] = _of_label_space(key, group, values.get("classes"), given[key].help)
    return fields


def _of_label_space(key: str, group: str, value: str | None, help_: str) -> FormField:
    """The project's label spaces and the recipe's own; only a recipe can name a file."""
    choices = tuple(dict.fromkeys((None, *LABEL_SPACES, value)))
    label = key.rpartition(".")[2]
    return FormField(key, label, group, "choice", value, help=help_, choices=choices, optional=True)


def _of_info(info: FieldInfo, key: str, value: Any, group: str, *, paper: Any = None) -> FormField:
    kind, extra = _kind(info.annotation)
    low, high = _range(info.metadata)
    label = key.rpartition(".")[2]
    details: dict[str, Any] = {"minimum": low, "maximum": high, "help": info.description or "", "paper": paper, **extra}
    if isinstance(value, tuple):
        value = list(value)
    return FormField(key, label, group, kind, value, **details)


def _kind(annotation: Any) -> tuple[Kind, dict[str, Any]]:
    """Widget and details of a type; a type without a widget is an error in the config."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind, extra = _kind(arguments[0])
        low, high = _range(arguments[1:])
        return kind, {"minimum": low, "maximum": high, **extra}
    if origin in (Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        kind, extra = _kind(inner[0])
        return kind, {**extra, "optional": True}
    if origin is Literal:
        return "choice", {"choices": arguments}
    if origin is tuple:
        first = arguments[0]
        number = get_args(first)[0] if get_origin(first) is Annotated else first
        length = None if arguments[-1] is Ellipsis else len(arguments)
        return "numbers", {"whole": number is int, "length": length}
    simple: dict[Any, Kind] = {bool: "switch", int: "whole", float: "number", str: "text"}
    if annotation not in simple:
        raise TypeError(f"there is no form for a value of type {annotation}")
    return simple[annotation], {}


def _range(metadata: Any) -> tuple[float | None, float | None]:
    low: float | None = None
    high: float | None = None
    for item in metadata:
        if isinstance(item, FieldInfo):
            inner = _range(item.metadata)
            low, high = inner[0] if low is None else low, inner[1] if high is None else high
        # Strict bounds are checked again by the config itself; here they only guide.
        elif isinstance(item, Ge | Gt):
            low = float(item.ge if isinstance(item, Ge) else item.gt)  # pyright: ignore[reportArgumentType]
        elif isinstance(item, Le | Lt):
            high = float(item.le if isinstance(item, Le) else item.lt)  # pyright: ignore[reportArgumentType]
    return low, high
