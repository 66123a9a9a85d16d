"""RunConfig: a complete experiment as frozen, typed values, read from TOML. An unknown key is an error that names the nearest.

Each recipe in `training/recipes/` belongs to one reported number. `sim2street train RECIPE --set key=value` changes a value
by its dotted key; a run stores the resolved config beside its weights.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from sim2street.models.errors import ConfigError, UnreadableError, did_you_mean
from sim2street.models.label_space import LabelSpace
from sim2street.models.labels import CITYSCAPES19
from sim2street.models.networks import NETWORKS
from sim2street.models.options import Options
from sim2street.models.storage.checkpoint import Window
from sim2street.models.storage.files import read_json, visible
from sim2street.training.datasets import DATASETS, SegmentationDataset
from sim2street.training.methods import METHODS
from sim2street.training.renamed import with_current_names

RECIPES: Final = Path(__file__).parent / "recipes"
PREVIOUS: Final = "previous"
"""Value of `initialisation` for a stage that starts from the previous stage's checkpoint."""
LONGEST_CHAIN: Final = 20
"""Largest number of recipes in a chain of bases."""
FOLDERS: Final = ("root", "extra_networks")
"""Keys whose values are folders."""
LABEL_SPACE_KEYS: Final = ("labels", "classes")
"""Keys whose values are the name or the file of a label space."""
MOST_STEPS: Final = 10**9
"""Largest number of steps; the longest published trainings take some millions."""
LARGEST_SEED: Final = 2**53 - 1
"""The largest integer that a number field in a browser can represent exactly."""


Side = Annotated[int, Field(ge=16, le=16384)]
"""Width or height of pictures in pixels."""
Pixels = Annotated[int, Field(ge=0, le=16384)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class DatasetConfig(Options):
    """A data set and the part of it to read; opened by `sim2street.training.selection.open_selection`."""

    dataset: str = Field(description="Name of the data set, as in its registry.")
    root: str | None = Field(default=None, description="Folder; by default from the data set's environment variable.")
    split: str | None = Field(default=None, description="Split; by default the data set's own, usually train.")
    classes: str | None = Field(
        default=None, description="Label space of a labelled folder, by name or file; by default from its data.toml."
    )
    style: str = Field(default="game", description="Look of rendered street scenes.")
    count: int = Field(default=1000, ge=1, le=1_000_000, description="Number of street scenes.")
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED, description="Random seed of the street scenes.")
    size: tuple[Side, Side] = Field(default=(512, 256), description="(width, height) of street scenes, in pixels.")
    store: tuple[Side, Side] | None = Field(
        default=None,
        description="(width, height) in pixels of an uncompressed copy on disk, which loads faster; none = no copy.",
    )
    weight: float = Field(
        default=1.0, ge=1e-6, le=1e6, description="Relative share of the samples among several sources."
    )

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
        """The space of its labels; for a labelled folder it is read from there.

        Raises:
            DatasetError, LabelError, ConfigError: the folder is missing, or its description is invalid.
        """
        return self.kind.space_of(self.root, self.classes)

    @property
    def options(self) -> dict[str, Any]:
        """The values that this data set accepts as arguments when it is opened."""
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
    """How pictures are resized, cropped and augmented; see `sim2street.training.datasets.transforms`."""

    resize: tuple[Side, Side] | None = Field(
        default=None, description="(width, height) to which every picture is resized first, in pixels."
    )
    resampling: Literal["bicubic", "bilinear"] = "bicubic"
    scale: tuple[float, float] | None = Field(
        default=None, description="Range of a random scale factor, applied after resizing."
    )
    crop: tuple[Side, Side] | None = Field(default=None, description="(width, height) of a random crop, in pixels.")
    cat_max_ratio: float = Field(
        default=1.0, gt=0, le=1, description="Redraw a crop in which one class covers at least this share; 1 = never."
    )
    flip: float = Field(default=0.0, ge=0, le=1, description="Probability of a mirror image.")
    margins: tuple[Pixels, Pixels, Pixels, Pixels] | None = Field(
        default=None,
        description="(top, bottom, left, right) margins in pixels of the resized target photo where pseudo labels are"
        " ignored.",
    )
    augment: Literal["none", "plain", "daformer", "strong"] = Field(
        default="none", description="Photometric augmentation."
    )
    nightfall: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Probability that a source photo by day is darkened to night, its sky by its labels; not from a paper.",
    )


class OptimiserConfig(Options):
    """Optimiser and learning-rate schedule of one network."""

    kind: Literal["sgd", "adam", "adamw"]
    # At most 1e33 with the factor of the heads, which fp32 can represent.
    rate: float = Field(gt=0, le=1e30, description="Learning rate before the schedule.")
    head_factor: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        description="Factor on the learning rate of the segmentation head; 10 in the papers.",
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of SGD.")
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.999), description="Betas of Adam and AdamW.")
    weight_decay: float = Field(default=0.0, ge=0, le=1000)
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Factor on the learning rate per layer of a vision transformer, from the last layer to the first; 1 ="
        " the same rate for all.",
    )
    spare_norms: bool = Field(
        default=False, description="No weight decay for layer norms, as is usual for transformers."
    )
    horizon: int | None = Field(
        default=None,
        ge=1,
        le=MOST_STEPS,
        description="Step at which the learning rate reaches 0; none = the last step.",
    )
    power: float = Field(default=0.9, gt=0, description="Exponent of the polynomial decay.")
    hold: int = Field(
        default=0, ge=0, le=MOST_STEPS, description="Steps at the full learning rate before the decay begins."
    )
    warm_up: int = Field(
        default=0, ge=0, le=MOST_STEPS, description="Steps over which the learning rate rises linearly."
    )
    warm_up_ratio: float = Field(default=1e-6, ge=0, le=1, description="Factor on the learning rate at the first step.")
    warm_up_alone: bool = Field(
        default=False,
        description="Whether the decay starts only after the warm-up (VFM-UDA) instead of together with it (DAFormer).",
    )


class RareClassOptions(Options):
    """Rare class sampling, DAFormer Sec. 3.3; the default pixel counts are for 512x512 crops of 1280x720 pictures."""

    formula: Literal["softmax", "log_inverse"] = "softmax"
    temperature: float = Field(
        default=0.01, gt=0, description="Temperature T; smaller values favour the rarest classes more strongly."
    )
    minimum_pixels: int = Field(
        default=3000, ge=0, description="Pixels of a class that a picture needs to be drawn for that class."
    )
    crop_pixels: int = Field(default=1500, ge=0, description="Pixels of the class that a crop should contain.")
    retries: int = Field(
        default=10, ge=0, le=1000, description="Crops that may be redrawn for too few pixels; the next one is accepted."
    )


class RunConfig(Options):
    """One training run."""

    title: str = Field(min_length=1, max_length=80, description="Title of the checkpoint in the app.")
    about: str = Field(default="", description="One or two sentences for the model card.")
    name: str = Field(
        default="",
        pattern=r"^[a-z0-9_]*$",
        examples=["my_recipe"],
        description="Name of the recipe; by default from its file name.",
    )

    method: str
    method_options: dict[str, Any] = Field(default_factory=dict)
    licence: str = Field(default="unknown", description="Licence of the trained weights, which depends on the data.")
    labels: str | None = Field(
        default=None,
        description="Classes that the network predicts: a label space's name or file, or a folder's data.toml. By default"
        " the classes of a source that defines its own, otherwise Cityscapes' 19.",
    )
    network: str = "deeplab_v2"
    network_options: dict[str, Any] = Field(default_factory=dict)
    initialisation: str = Field(
        default="random", description="random, imagenet (timm's weights for the network) or a checkpoint."
    )

    extra_networks: str | None = Field(
        default=None,
        description="Folder of a run whose networks beside the segmenter (CyCADA's generators) are loaded; by default a"
        " stage loads those of the stage before it.",
    )

    sources: tuple[DatasetConfig, ...] = Field(min_length=1, description="Labelled data sets, mixed by weight.")
    target: DatasetConfig | None = Field(default=None, description="Data set of the target domain, without labels.")
    source_transform: TransformOptions = TransformOptions()
    target_transform: TransformOptions = TransformOptions()
    sampling: Literal["uniform", "rare_class"] = "uniform"
    rare_class: RareClassOptions = RareClassOptions()

    optimisers: dict[str, OptimiserConfig] = Field(default_factory=dict)
    steps: int = Field(ge=1, le=MOST_STEPS)
    batch: int = Field(default=1, ge=1, le=65_536, description="Pictures per domain in each batch of each process.")
    accumulate: int = Field(
        default=1, ge=1, le=65_536, description="Batches per optimiser step (gradient accumulation)."
    )
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    clip: float | None = Field(default=None, gt=0, description="Largest gradient norm per network; none = no clipping.")
    recalibration: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Batches of target pictures on which batch-norm statistics are re-estimated after the last step, as"
        " AdaBN does; 0, as in the papers, keeps the statistics from training.",
    )
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    workers: int = Field(default=1, ge=0, le=64, description="Number of processes that load data.")

    window: Window = Field(
        default_factory=Window, description="Photo size and sliding window for prediction with the trained network."
    )
    evaluations: tuple[DatasetConfig, ...] = Field(
        default=(),
        description="Labelled sets scored during training, for the curves only; they are never used to choose a step.",
    )
    evaluate_every: int = Field(
        default=0, ge=0, le=MOST_STEPS, description="Steps between evaluations; 0 = no evaluation during training."
    )
    save_every: int = Field(default=500, ge=1, le=MOST_STEPS, description="Steps between saved states.")
    log_every: int = Field(default=20, ge=1, le=MOST_STEPS, description="Steps between logged losses.")

    stages: tuple[dict[str, Any], ...] = Field(
        default=(),
        description="Runs that follow each other. Each has a stage_name and the values in which it differs from the rest of"
        " the recipe; from the second on, each starts from the previous checkpoint unless it sets initialisation.",
    )

    @model_validator(mode="before")
    @classmethod
    def _has_todays_names(cls, values: Any) -> Any:
        return with_current_names(values)

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
            raise ConfigError(f"Method {self.method} does not use target images: remove the [target] table.")
        if self.recalibration and self.target is None:
            raise ConfigError(f"recalibration is {self.recalibration} and needs target images: add a [target] table.")
        if entry.networks and self.network not in entry.networks:
            raise ConfigError(
                f"Method {self.method} trains the network {' or '.join(entry.networks)}; network is {self.network!r}."
            )
        # Classes of a labelled folder are checked when the data is opened, since the folder may be on another machine.
        for source in self.sources if self.labels is None else ():
            if (own := getattr(source.kind, "labels", None)) is not None:
                self.check_source_classes(source, own, CITYSCAPES19)
        if entry.trains and options.trains_segmenter and "segmenter" not in self.optimisers:
            raise ConfigError(f"optimisers.segmenter is missing: method {self.method} trains the segmenter.")
        return self

    def check_source_classes(self, source: DatasetConfig, space: LabelSpace, predicted: LabelSpace) -> None:
        """Refuse a source whose classes are coarser than the predicted ones if the method mixes its labels with pseudo labels.

        Args:
            source: the source, for the message.
            space: its classes.
            predicted: the classes that the network predicts.

        Raises:
            ConfigError: the method needs the predicted classes, and the source has coarser ones.
            LabelError: the source's classes and the predicted ones cannot be converted into each other.
        """
        if predicted.takes(space):
            return
        space.require_members(predicted)
        entry = METHODS.find(self.method)
        if entry.mixes_labels:
            raise ConfigError(
                f"{entry.title} mixes source labels with pseudo labels, so every source needs the network's"
                f" {predicted.count} classes ({predicted.name}) or finer ones; {source.label} has the {space.count} of"
                f" {space.name}. Leave that source out, or set labels to {space.name}."
            )

    @property
    def total_steps(self) -> int:
        """Steps of the run, or of all its stages together."""
        return sum(stage.steps for stage in self.resolve_stages().values()) if self.stages else self.steps

    def rooted(self) -> Self:
        """Return a copy with absolute paths, which does not depend on the working directory."""
        return type(self).parse(_rooted(self.model_dump(mode="json")), where=self.name or self.title)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the config.json of a run or job.

        Raises:
            ConfigError: it is missing or damaged, or has keys of another version.
        """
        try:
            values = read_json(path)
        except UnreadableError as error:
            raise ConfigError(str(error)) from error
        return cls.parse(values, where=str(path))

    def resolve_stages(self) -> dict[str, RunConfig]:
        """Return the config of each stage by name, in order.

        A stage's tables are merged into the recipe's; its lists and values replace the recipe's.

        Raises:
            ConfigError: a stage has no name, two share a name, or a stage's values are invalid or conflict with others.
        """
        common = {key: value for key, value in self.model_dump(mode="json").items() if key != "stages"}
        resolved: dict[str, RunConfig] = {}
        for number, changes in enumerate(self.stages):
            name = changes.get("stage_name")
            if not isinstance(name, str) or not name.isidentifier() or name in resolved:
                raise ConfigError(
                    f"stages.{number}.stage_name is {name!r}; expected a unique name of letters, digits and _."
                )
            first = {} if number == 0 else {"initialisation": PREVIOUS}
            values = _merge(common, {**first, **{key: value for key, value in changes.items() if key != "stage_name"}})
            resolved[name] = RunConfig.parse(values, where=f"stage {name}")
        if len(precisions := {stage.precision for stage in resolved.values()}) > 1:
            raise ConfigError(
                f"The stages have the precisions {', '.join(sorted(precisions))}; use the same in all stages of a run."
            )
        return resolved


def _rooted(values: Any) -> Any:
    """Make all paths in plain values absolute, including those of stages."""
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
    """Merge `changes` into `values`, table by table; a table that names another data set replaces the old one."""
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


def unknown_recipe(source: str) -> ConfigError:
    """The error for a name that is neither a file nor a recipe; suggests similar names."""
    hint = did_you_mean(source, recipe_names())
    return ConfigError(
        f"There is no recipe {source[:60]!r} and no file of that name.{hint} `sim2street recipes` lists the recipes."
    )


def load_recipe(source: str, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a recipe by name or file and apply `key=value` overrides.

    A recipe with `base = "OTHER"` inherits the values of OTHER, which is one of the project's recipes or a path relative to
    the recipe's folder. Its tables are merged into the base's; its lists, its values and tables that name another data set
    replace the base's; `without = ["optimisers"]` removes inherited keys.

    Args:
        source: one of `recipe_names()`, the path of a TOML file, or the config.json of a run.
        overrides: such as `steps=200`, `optimisers.segmenter.rate=1e-4`, `sources.0.count=50`; values are TOML, and a
            bare word is text.

    Raises:
        ConfigError: there is no such recipe, the file is not valid TOML, or a key or value is invalid.
    """
    path, values = _read_recipe(source)
    values.setdefault("name", name_of(path))
    for override in overrides:
        _override(values, override)
    return RunConfig.parse(values, where=path.name)


def name_of(path: Path) -> str:
    """Default name of a recipe or sweep: its file's name, with characters that are not allowed replaced by _."""
    return re.sub(r"[^a-z0-9_]", "_", path.stem.lower())


def _read_recipe(source: str, within: tuple[Path, ...] = ()) -> tuple[Path, dict[str, Any]]:
    """File and values of a recipe, merged with those of its base; `within` are the recipes that inherit from it."""
    path = RECIPES / f"{source}.toml"
    if not path.is_file():
        path = within[-1].parent / source if within else Path(source)
    if not path.is_file():
        asked = f"{within[-1].name}: base: " if within else ""
        raise ConfigError(f"{asked}{unknown_recipe(source)}")
    path = path.resolve()
    if path in within:
        raise ConfigError(f"{within[0]} is its own base, by way of {within[-1].name}; remove one of the base keys.")
    if len(within) > LONGEST_CHAIN:
        raise ConfigError(f"{within[0]} has a chain of more than {LONGEST_CHAIN} bases; use a shorter chain.")
    kind = "JSON" if path.suffix == ".json" else "TOML"
    try:
        values = (json.loads if kind == "JSON" else tomllib.loads)(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as {kind}: {error}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} contains a {type(values).__name__}; expected a recipe's keys and values.")
    base = values.pop("base", None)
    if base is None:
        return path, values
    if not isinstance(base, str):
        raise ConfigError(f"{path.name}: base is {base!r}; expected the name of a recipe, or a TOML file.")
    _, inherited = _read_recipe(base, (*within, path))
    inherited.pop("name", None)
    without = values.pop("without", [])
    if not isinstance(without, list) or not all(isinstance(key, str) for key in without):
        raise ConfigError(f'{path.name}: without is {without!r}; expected a list of keys, such as ["optimisers"].')
    for key in without:
        if key not in inherited:
            raise ConfigError(
                f"{path.name}: without lists {key!r}, which {base} does not have; remove it from the list."
            )
        del inherited[key]
    return path, _merge(inherited, values)


def _override(values: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set takes key=value, such as steps=200; found {text!r}.")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # not TOML, or a number of thousands of digits
        parsed = value.strip()
    *parents, last = key.strip().split(".")
    place: Any = values
    for part in parents:
        place = place[_position(place, part, key)] if isinstance(place, list) else place.setdefault(part, {})
        if not isinstance(place, dict | list):
            raise ConfigError(f"--set {key}: {part} is a single value and has no keys.")
    if isinstance(place, list):
        place[_position(place, last, key)] = parsed
    else:
        place[last] = parsed


def _position(place: list[Any], part: str, key: str) -> int:
    if not (part.isdecimal() and len(part) < 9) or int(part) >= len(place):
        raise ConfigError(f"--set {key}: found {part!r}, expected a position from 0 to {len(place) - 1}.")
    return int(part)
