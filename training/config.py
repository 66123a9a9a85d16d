"""RunConfig: a whole experiment as frozen, typed values. TOML in; an unknown key is an error that names the nearest.

A recipe in `training/recipes/` is one reported number. `sim2street train RECIPE --set key=value` changes a value by
its dotted key; a run keeps the resolved config beside its weights.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from sim2street.models.errors import ConfigError, UnreadableError
from sim2street.models.label_space import LabelSpace
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.networks import NETWORKS
from sim2street.models.options import Options
from sim2street.models.storage.checkpoint import Window
from sim2street.models.storage.files import read_json, visible
from sim2street.training.datasets import DATASETS, SegmentationDataset
from sim2street.training.methods import METHODS
from sim2street.training.renamed import with_todays_names

RECIPES: Final = Path(__file__).parent / "recipes"
PREVIOUS: Final = "previous"
"""Initialisation of a stage: the checkpoint of the one before."""
LONGEST_CHAIN: Final = 20
"""Recipes that may be laid over each other, each the base of the one before."""
FOLDERS: Final = ("root", "extra_networks")
"""Keys that name folders."""
LABEL_SPACE_KEYS: Final = ("labels", "classes")
"""Keys that name a label space, or the file of one."""
LARGEST_SEED: Final = 2**53 - 1
"""A form in a browser knows no larger whole number."""


Side = Annotated[int, Field(ge=16, le=16384)]
"""Width or height of pictures in pixels."""
Pixels = Annotated[int, Field(ge=0, le=16384)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class DatasetConfig(Options):
    """Which pictures to read; `sim2street.training.selection.open_selection` opens it."""

    dataset: str = Field(description="Key of the registry of data sets.")
    root: str | None = Field(default=None, description="Folder; none takes the data set's environment variable.")
    split: str | None = Field(default=None, description="Part of the set; none = the set's own default, mostly train.")
    classes: str | None = Field(
        default=None, description="Label space of a labelled folder, by name or file; none = as its data.toml says."
    )
    style: str = Field(default="game", description="Look of street scenes.")
    count: int = Field(default=1000, ge=1, le=1_000_000, description="How many street scenes.")
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED, description="Which streets.")
    size: tuple[Side, Side] = Field(default=(512, 256), description="(width, height) of street scenes.")
    store: tuple[Side, Side] | None = Field(
        default=None,
        description="(width, height) at which the set is kept uncompressed on disk, so that reading costs nothing.",
    )
    weight: float = Field(default=1.0, gt=0, description="Share of the batches among several sources.")

    @property
    def label(self) -> str:
        """Short name for tables and cards: `street_scenes/game`, `camvid/train`."""
        part = self.style if self.kind.generated else self.split
        return self.dataset if part is None else f"{self.dataset}/{part}"

    @property
    def kind(self) -> type[SegmentationDataset]:
        """The class of the data set."""
        return DATASETS.find(self.dataset)

    @property
    def label_space(self) -> LabelSpace:
        """The space of its labels; of a folder it is looked up there.

        Raises:
            DatasetError, LabelError, ConfigError: a folder is missing, or says nothing that can be used.
        """
        return self.kind.space_of(self.root, self.classes)

    @property
    def options(self) -> dict[str, Any]:
        """Those of the values above that the data set takes when it is opened."""
        return {
            key: getattr(self, key)
            for key in ("style", "count", "seed", "size", "classes")
            if key in self.kind.parameters()
        }

    @field_validator("dataset")
    @classmethod
    def _is_known(cls, value: str) -> str:
        return DATASETS.find(value).name


class TransformOptions(Options):
    """From a picture to what the network sees; see `sim2street.training.datasets.transforms`."""

    resize: tuple[Side, Side] | None = Field(
        default=None, description="(width, height) every picture is brought to first."
    )
    resampling: Literal["bicubic", "bilinear"] = "bicubic"
    scale: tuple[float, float] | None = Field(default=None, description="Range of a random factor after resizing.")
    crop: tuple[Side, Side] | None = Field(default=None, description="(width, height) of a random crop.")
    cat_max_ratio: float = Field(
        default=1.0, gt=0, le=1, description="Redraw crops that one class fills to this share."
    )
    flip: float = Field(default=0.0, ge=0, le=1, description="Probability of a mirror image.")
    margins: tuple[Pixels, Pixels, Pixels, Pixels] | None = Field(
        default=None,
        description="(top, bottom, left, right) of the resized target photo on which no pseudo label is trusted.",
    )
    augment: Literal["none", "plain", "daformer", "strong"] = Field(
        default="none", description="Photometric augmentation."
    )


class OptimiserConfig(Options):
    """Optimiser and schedule of one named network."""

    kind: Literal["sgd", "adam", "adamw"]
    rate: float = Field(gt=0, description="Learning rate before the schedule.")
    head_factor: float = Field(
        default=1.0, gt=0, description="Factor on the rate of the classifiers; 10 in the papers."
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Of SGD.")
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.999), description="Of Adam and AdamW.")
    weight_decay: float = Field(default=0.0, ge=0)
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Factor on the rate from each layer of a vision transformer to the one before it; 1 for all alike.",
    )
    spare_norms: bool = Field(
        default=False, description="No weight decay for layer norms, as in the transformers' recipes."
    )
    horizon: int | None = Field(
        default=None, ge=1, description="Step at which the rate reaches 0; none = the last step."
    )
    power: float = Field(default=0.9, gt=0, description="Of the polynomial decay.")
    hold: int = Field(default=0, ge=0, description="Steps at the full rate before the decay begins.")
    warm_up: int = Field(default=0, ge=0, description="Steps over which the rate rises linearly.")
    warm_up_ratio: float = Field(default=1e-6, ge=0, le=1, description="Factor on the rate at the first step.")
    warm_up_alone: bool = Field(
        default=False,
        description="Whether the warm-up is over before the decay counts (VFM-UDA), not both at once (DAFormer).",
    )


class RareClassOptions(Options):
    """Rare class sampling, DAFormer Sec. 3.3; lengths in pixels belong to 512x512 crops of 1280x720 pictures."""

    formula: Literal["softmax", "log_inverse"] = "softmax"
    temperature: float = Field(
        default=0.01, gt=0, description="T: the smaller, the more only the rarest classes count."
    )
    minimum_pixels: int = Field(default=3000, ge=0, description="Pixels that make a picture eligible for a class.")
    crop_pixels: int = Field(default=1500, ge=0, description="Pixels of the class that a crop must show.")
    retries: int = Field(
        default=10, ge=0, le=1000, description="Crops that are looked at; after as many the next is taken as it is."
    )


class RunConfig(Options):
    """One training run."""

    title: str = Field(min_length=1, max_length=80, description="As the app shows the checkpoint.")
    about: str = Field(default="", description="One or two sentences for the card.")
    name: str = Field(default="", pattern=r"^[a-z0-9_]*$", description="Of the recipe; filled in from its file name.")

    method: str
    method_options: dict[str, Any] = Field(default_factory=dict)
    licence: str = Field(default="unknown", description="Of the finished weights; it depends on the data behind them.")
    labels: str | None = Field(
        default=None,
        description="Classes that the network predicts: a label space's name or file, or a folder's data.toml; none ="
        " those of a source that has classes of its own, else Cityscapes' 19.",
    )
    network: str = "deeplab_v2"
    network_options: dict[str, Any] = Field(default_factory=dict)
    initialisation: str = Field(
        default="random", description="random, imagenet (timm's weights, by network) or a checkpoint."
    )

    extra_networks: str | None = Field(
        default=None,
        description="Folder of a run whose further networks (CyCADA's generators) this one takes over; a stage takes those"
        " of the stage before it.",
    )

    sources: tuple[DatasetConfig, ...] = Field(min_length=1, description="Labelled sets, mixed by weight.")
    target: DatasetConfig | None = Field(default=None, description="The unlabelled domain.")
    source_transform: TransformOptions = TransformOptions()
    target_transform: TransformOptions = TransformOptions()
    sampling: Literal["uniform", "rare_class"] = "uniform"
    rare_class: RareClassOptions = RareClassOptions()

    optimisers: dict[str, OptimiserConfig] = Field(default_factory=dict)
    steps: int = Field(ge=1)
    batch: int = Field(default=1, ge=1, le=65_536, description="Pictures per domain, process and step.")
    accumulate: int = Field(default=1, ge=1, description="Pairs per optimiser step.")
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    clip: float | None = Field(default=None, gt=0, description="Largest gradient norm per network; none = no clipping.")
    recalibration: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Batches of target pictures on which batch-norm statistics are re-estimated after the last step, as"
        " AdaBN does; 0, as in the papers, keeps those that training gathered.",
    )
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    workers: int = Field(default=1, ge=0, le=64, description="Processes that load pairs.")

    window: Window = Field(default_factory=Window, description="How the finished network is shown a photo.")
    evaluations: tuple[DatasetConfig, ...] = Field(
        default=(), description="Labelled sets scored during training, for curves only: no step is ever picked by them."
    )
    evaluate_every: int = Field(default=0, ge=0, description="Steps; 0 = never during training.")
    save_every: int = Field(default=500, ge=1, description="Steps between saved states.")
    log_every: int = Field(default=20, ge=1, description="Steps between logged losses.")

    stages: tuple[dict[str, Any], ...] = Field(
        default=(),
        description="Runs one after the other. Each has a stage_name and the values in which it differs from the rest of"
        " the recipe; the second and later ones start from the checkpoint before them unless they say otherwise.",
    )

    @model_validator(mode="before")
    @classmethod
    def _has_todays_names(cls, values: Any) -> Any:
        return with_todays_names(values)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.stages:
            self.resolve_stages()
            return self
        entry = METHODS.find(self.method)
        options = entry.options.parse(self.method_options, where="method_options")
        options.check_start(self.initialisation)
        NETWORKS.find(self.network).options.parse(self.network_options, where="network_options")
        if entry.adapts and self.target is None:
            raise ConfigError(f"Method {self.method} needs unlabelled target images: add a [target] table.")
        if not entry.adapts and self.target is not None and not self.recalibration:
            raise ConfigError(f"Method {self.method} never looks at target images: remove the [target] table.")
        if self.recalibration and self.target is None:
            raise ConfigError(f"recalibration is {self.recalibration} and needs target images: add a [target] table.")
        if entry.networks and self.network not in entry.networks:
            raise ConfigError(
                f"Method {self.method} trains the network {' or '.join(entry.networks)}; network is {self.network!r}."
            )
        # What a folder holds is only known where it lies, so that it is looked at when the pairs are opened.
        for source in self.sources if self.labels is None else ():
            if (own := getattr(source.kind, "labels", None)) is not None:
                self.refuse_coarser(source, own, CITYSCAPES19)
        if entry.trains and options.trains_segmenter and "segmenter" not in self.optimisers:
            raise ConfigError(f"optimisers.segmenter is missing: method {self.method} trains the segmenter.")
        return self

    def refuse_coarser(self, source: DatasetConfig, space: LabelSpace, predicted: LabelSpace) -> None:
        """Raise `ConfigError` where the method needs a source's labels in the predicted classes and has them in coarser ones.

        Raises:
            LabelError: a source's classes cannot be brought together with those that are predicted.
        """
        if predicted.takes(space):
            return
        space.members_or_refuse(predicted)
        entry = METHODS.find(self.method)
        if entry.mixes_labels:
            raise ConfigError(
                f"{entry.title} mixes source labels with pseudo labels, so that every source needs the network's"
                f" {predicted.count} classes ({predicted.name}) or finer ones; {source.label} has the {space.count} of"
                f" {space.name}. Leave that source out, or set labels to {space.name}."
            )

    @property
    def total_steps(self) -> int:
        """Steps of the run, of all its stages."""
        return sum(stage.steps for stage in self.resolve_stages().values()) if self.stages else self.steps

    def rooted(self) -> Self:
        """The same with absolute folders of data sets and extra_networks, so that it means the same from everywhere."""
        return type(self).parse(_rooted(self.model_dump(mode="json")), where=self.name or self.title)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the config that a run or a job keeps.

        Raises:
            ConfigError: it is missing or damaged, or has keys of another version.
        """
        try:
            values = read_json(path)
        except UnreadableError as error:
            raise ConfigError(str(error)) from error
        return cls.parse(values, where=str(path))

    def resolve_stages(self) -> dict[str, RunConfig]:
        """Return each stage as a run of its own, by name and in order.

        A stage's tables are merged into the recipe's, its lists and values replace them.

        Raises:
            ConfigError: a stage has no name, or two have the same, or its values are wrong or do not fit the others'.
        """
        common = {key: value for key, value in self.model_dump(mode="json").items() if key != "stages"}
        resolved: dict[str, RunConfig] = {}
        for number, changes in enumerate(self.stages):
            name = changes.get("stage_name")
            if not isinstance(name, str) or not name.isidentifier() or name in resolved:
                raise ConfigError(
                    f"stages.{number}.stage_name is {name!r}; expected a name of its own in letters, digits and _."
                )
            first = {} if number == 0 else {"initialisation": PREVIOUS}
            values = _merge(common, {**first, **{key: value for key, value in changes.items() if key != "stage_name"}})
            resolved[name] = RunConfig.parse(values, where=f"stage {name}")
        if len(precisions := {stage.precision for stage in resolved.values()}) > 1:
            raise ConfigError(f"The stages have the precisions {', '.join(sorted(precisions))}; one run has one.")
        return resolved


def _rooted(values: Any) -> Any:
    """Plain values with the folders in them made absolute, those of stages included."""
    if isinstance(values, list):
        return [_rooted(value) for value in values]
    if not isinstance(values, dict):
        return values
    return {
        key: os.path.abspath(os.path.expanduser(value)) if _is_path(key, value) else _rooted(value)
        for key, value in values.items()
    }


def _is_path(key: str, value: Any) -> bool:
    return isinstance(value, str) and (key in FOLDERS or (key in LABEL_SPACE_KEYS and bool(Path(value).suffix)))


def _merge(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `changes` over `values`, tables within tables; a table of another data set replaces what stood there."""
    merged = dict(values)
    for key, change in changes.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(change, Mapping):
            replaced = change.get("dataset", before.get("dataset")) != before.get("dataset")
            merged[key] = dict(change) if replaced else _merge(before, change)
        else:
            merged[key] = change
    return merged


def recipe_names() -> list[str]:
    """Names of the recipes that come with the project."""
    return sorted(path.stem for path in visible(RECIPES, "*.toml"))


def no_recipe(source: str) -> ConfigError:
    """What to say where neither a file nor a recipe has this name."""
    near = [name for name in recipe_names() if source and source.lower() in name]
    near = near or difflib.get_close_matches(source, recipe_names(), n=3)
    hint = f"; {'it may be' if len(near) == 1 else 'close to it are'} {', '.join(near[:5])}" if near else ""
    return ConfigError(
        f"There is no recipe {source[:60]!r}: neither a file nor one of the project's{hint}. sim2street recipes lists them."
    )


def load_recipe(source: str, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a recipe by name or file and apply `key=value` overrides.

    A recipe with `base = "OTHER"` has the values of that one, but for those it gives itself: tables are laid over
    tables, lists, values and a table that names another data set replace theirs; `without = ["optimisers"]` drops keys. OTHER is a shipped recipe, or a file as seen from the recipe's own folder.

    Args:
        source: a name out of `recipe_names()`, the path of a TOML file, or the config.json that a run keeps.
        overrides: such as `steps=200`, `optimisers.segmenter.rate=1e-4`, `sources.0.count=50`; values are TOML, a
            bare word is taken as text.

    Raises:
        ConfigError: there is no such recipe, it is no TOML, or a key or value is wrong.
    """
    path, values = _read_recipe(source)
    values.setdefault("name", name_of(path))
    for override in overrides:
        _override(values, override)
    return RunConfig.parse(values, where=path.name)


def name_of(path: Path) -> str:
    """What a recipe or sweep is called that has no name of its own: its file's, in the letters that a name may have."""
    return re.sub(r"[^a-z0-9_]", "_", path.stem.lower())


def _read_recipe(source: str, within: tuple[Path, ...] = ()) -> tuple[Path, dict[str, Any]]:
    """File and values of a recipe, laid over those of its base; `within` are the recipes that it is the base of."""
    path = RECIPES / f"{source}.toml"
    if not path.is_file():
        path = within[-1].parent / source if within else Path(source)
    if not path.is_file():
        asked = f"{within[-1].name}: base: " if within else ""
        raise ConfigError(f"{asked}{no_recipe(source)}")
    path = path.resolve()
    if path in within:
        raise ConfigError(f"{within[0]} is its own base, by way of {within[-1].name}.")
    if len(within) > LONGEST_CHAIN:
        raise ConfigError(f"{within[0]} has a base that has a base, {LONGEST_CHAIN} times over: name one further up.")
    kind = "JSON" if path.suffix == ".json" else "TOML"
    try:
        values = (json.loads if kind == "JSON" else tomllib.loads)(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no readable {kind}: {error}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}; expected a recipe's keys and values.")
    base = values.pop("base", None)
    if base is None:
        return path, values
    if not isinstance(base, str):
        raise ConfigError(f"{path.name}: base is {base!r}; expected the name of a recipe, or a TOML file.")
    _, inherited = _read_recipe(base, (*within, path))
    inherited.pop("name", None)
    for key in values.pop("without", []):
        if key not in inherited:
            raise ConfigError(f"{path.name}: without names {key!r}, which {base} does not have.")
        del inherited[key]
    return path, _merge(inherited, values)


def _override(values: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set takes key=value, such as steps=200; found {text!r}.")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # no TOML, or a number of thousands of digits
        parsed = value.strip()
    *parents, last = key.strip().split(".")
    place: Any = values
    for part in parents:
        place = place[_position(place, part, key)] if isinstance(place, list) else place.setdefault(part, {})
        if not isinstance(place, dict | list):
            raise ConfigError(f"--set {key}: {part} is a value, not a table.")
    if isinstance(place, list):
        place[_position(place, last, key)] = parsed
    else:
        place[last] = parsed


def _position(place: list[Any], part: str, key: str) -> int:
    if not (part.isdecimal() and len(part) < 9) or int(part) >= len(place):
        raise ConfigError(f"--set {key}: {part!r} should be a position from 0 to {len(place) - 1}.")
    return int(part)
