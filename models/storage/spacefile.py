"""Spacefile: the manifest of what is hosted and of the checkpoints that come from the Hub. YAML, schema 1.

    schema: 1
    space: {id: owner/name, title: ..., sdk: gradio, sdk_version: ..., app_file: app/demo.py, python_version: "3.12"}
    hardware: {flavor: zero-a10g}
    models:
      - {path: models/shipped/source_only_game}
      - {repository: owner/name, revision: <40 hex digits>}
      - {family: eomt, repository: authors/name, revision: <40 hex digits>}

It is this project's own format; the Hub does not read it. The Space's README and requirements are generated from it, and the
catalog uses its pinned repositories. Secrets are listed by name only.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import Field, StringConstraints, field_validator, model_validator

from sim2street import ROOT
from sim2street.models.errors import ConfigError
from sim2street.models.options import Options
from sim2street.models.storage.files import write_whole

DEFAULT: Final = ROOT / "Spacefile"
MAX_BYTES: Final = 64 * 2**10

FLAVOURS: Final = (
    "cpu-basic", "cpu-upgrade", "zero-a10g", "t4-small", "t4-medium", "l4x1", "l4x4", "l40sx1", "l40sx4", "l40sx8",
    "a10g-small", "a10g-large", "a10g-largex2", "a10g-largex4", "a100-large", "a100x4", "a100x8",
    "rtx-pro-6000", "rtx-pro-6000x2", "rtx-pro-6000x4", "rtx-pro-6000x8",
)  # fmt: skip
"""Hardware for Spaces, as listed by huggingface_hub 2.4."""
ZERO: Final = "zero-a10g"
"""ZeroGPU: a GPU lent call by call, to Gradio Spaces only."""
ZERO_TORCH: Final = ("2.8.0", "2.9.1", "2.10.0", "2.11.0")
"""Versions of torch that ZeroGPU offers (Hub documentation of August 2026)."""
ZERO_PYTHON: Final = ("3.10", "3.12")

Colour = Literal["red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
Version = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)*$")]
Repository = Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")]


class SpaceOptions(Options):
    """The Space itself."""

    id: str = Field(
        pattern=r"^([\w.-]+/)?[\w.-]+$",
        examples=["your-account/your-space"],
        description="owner/name; a name alone goes under the token's own account.",
    )
    title: str = Field(min_length=1, max_length=80)
    short_description: str = Field(default="", max_length=60)
    emoji: str = "🛣️"
    colour_from: Colour = "blue"
    colour_to: Colour = "green"
    sdk: Literal["gradio", "docker"]
    sdk_version: Version | None = Field(default=None, examples=["6.31.0"], description="Version of gradio.")
    app_file: str | None = Field(default=None, description="The file that a Gradio Space runs.")
    app_port: int | None = Field(default=None, ge=1, le=65535, description="The port on which a Docker Space serves.")
    python_version: Version | None = Field(
        default=None, examples=["3.12"], description="Python version of a Gradio Space."
    )
    licence: str = "apache-2.0"
    private: bool = False

    @field_validator("sdk", mode="before")
    @classmethod
    def _no_streamlit(cls, value: Any) -> Any:
        if value == "streamlit":
            raise ValueError("the Hub removed its streamlit SDK in 2025; use docker with app_port, or gradio")
        return value

    @model_validator(mode="after")
    def _belongs_to_its_sdk(self) -> Self:
        needed = ("sdk_version", "app_file", "python_version") if self.sdk == "gradio" else ("app_port",)
        foreign = ("app_port",) if self.sdk == "gradio" else ("sdk_version", "app_file", "python_version")
        for name in needed:
            if getattr(self, name) is None:
                raise ConfigError(f"Spacefile: space.{name} is missing; sdk {self.sdk} needs it.")
        for name in foreign:
            if getattr(self, name) is not None:
                raise ConfigError(f"Spacefile: space.{name} does not apply to sdk {self.sdk}; remove it.")
        return self


class HardwareOptions(Options):
    """The hardware it runs on."""

    flavor: str = "cpu-basic"
    sleep_seconds: int | None = Field(default=None, ge=60, description="Idle time after which paid hardware sleeps.")

    @field_validator("flavor")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in FLAVOURS:
            raise ValueError(f"expected one of {', '.join(FLAVOURS)}")
        return value


class HostedModel(Options):
    """A checkpoint: a folder of this repository, a repository on the Hub at a commit, or both once it is published."""

    path: str | None = Field(
        default=None, pattern=r"^\w[\w./-]*$", examples=["models/shipped/NAME"], description="In this repository."
    )
    repository: Repository | None = Field(default=None, examples=["your-account/your-model"])
    revision: str | None = None
    family: Literal["segformer", "vfm_uda", "eomt", "mask2former"] | None = Field(
        default=None, description="For weights in their authors' own repository: how `sim2street import` reads them."
    )

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.path is not None and ".." in self.path:
            raise ValueError("path points outside this repository")
        if self.path is None and self.repository is None:
            raise ValueError("expected a path, or a repository with a revision")
        if (self.repository is None) != (self.revision is None):
            raise ValueError("repository and revision must be given together")
        if self.family is not None and (self.path is not None or self.repository is None):
            raise ValueError(
                "family is for weights in their authors' repository: give repository and revision, no path"
            )
        if self.revision is not None and not re.fullmatch(r"[0-9a-f]{40}", self.revision):
            raise ValueError(
                f"revision {self.revision!r} is not a commit of 40 hex digits; expected one, because branches and tags can move"
            )
        return self

    @property
    def source(self) -> str | None:
        """`owner/name@commit`, `family:owner/name@commit` for authors' weights, None for what is only in this repository."""
        if self.repository is None:
            return None
        return (
            f"{self.family}:{self.repository}@{self.revision}" if self.family else f"{self.repository}@{self.revision}"
        )


class OAuthOptions(Options):
    """Signing in with a Hugging Face account, for the admin's page."""

    scopes: tuple[Literal["email", "read-repos", "write-repos", "manage-repos", "contribute-repos", "jobs"], ...] = ()
    minutes: int = Field(default=480, ge=1, le=43200)


class CollectionOptions(Options):
    """A page on the Hub that groups the checkpoints and the Space."""

    title: str = Field(min_length=1, max_length=59)
    description: str = Field(default="", max_length=150)


class Spacefile(Options):
    """The whole manifest."""

    schema_version: Literal[1] = Field(alias="schema")
    space: SpaceOptions
    hardware: HardwareOptions = HardwareOptions()
    requirements: dict[str, Version] = Field(
        default_factory=dict, description="Packages that the host offers only in certain versions."
    )
    packages: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]*$")], ...] = Field(
        default=(), description="Debian packages."
    )
    variables: dict[Name, str] = Field(default_factory=dict)
    secrets: tuple[Name, ...] = Field(
        default=(), examples=["HF_TOKEN"], description="Names only; values come from the deployer's environment."
    )
    models: tuple[HostedModel, ...] = Field(min_length=1)
    oauth: OAuthOptions | None = None
    collection: CollectionOptions | None = None

    @field_validator("secrets", mode="before")
    @classmethod
    def _names_only(cls, value: Any) -> Any:
        if isinstance(value, dict):
            raise ConfigError(
                "Spacefile: secrets are names only, such as `secrets: [HF_TOKEN]`. A value must never be in this"
                " file: remove it, and replace that secret everywhere it is used."
            )
        return value

    @model_validator(mode="after")
    def _fits_its_host(self) -> Self:
        space = self.space
        if space.app_port is not None and self.variables.get("PORT", str(space.app_port)) != str(space.app_port):
            raise ConfigError(
                f"Spacefile: variables.PORT is {self.variables['PORT']} but space.app_port is {space.app_port}; leave out"
                " PORT, which is set from app_port."
            )
        if self.hardware.flavor == ZERO:
            if space.sdk != "gradio":
                raise ConfigError(f"Spacefile: {ZERO} (ZeroGPU) runs Gradio Spaces only; sdk is {space.sdk}.")
            if ".".join(str(space.python_version).split(".")[:2]) not in ZERO_PYTHON:
                raise ConfigError(
                    f"Spacefile: ZeroGPU offers Python {' and '.join(ZERO_PYTHON)}; python_version is {space.python_version}."
                )
            if self.requirements.get("torch") not in ZERO_TORCH:
                raise ConfigError(
                    f"Spacefile: ZeroGPU offers torch {', '.join(ZERO_TORCH)}; requirements.torch is"
                    f" {self.requirements.get('torch')}."
                )
        if self.hardware.flavor in ("cpu-basic", ZERO) and self.hardware.sleep_seconds is not None:
            raise ConfigError(f"Spacefile: hardware.sleep_seconds cannot be set on {self.hardware.flavor}.")
        clash = set(self.variables) & set(self.secrets)
        if clash:
            raise ConfigError(f"Spacefile: {min(clash)} is both a variable and a secret; make it one of them.")
        places = [model.path or model.repository for model in self.models]
        twice = {place for place in places if places.count(place) > 1}
        if twice:
            raise ConfigError(f"Spacefile: {min(map(str, twice))} is listed twice under models.")
        names = [str(place).rpartition("/")[2] for place in (model.repository or model.path for model in self.models)]
        if alike := {name for name in names if names.count(name) > 1}:
            raise ConfigError(
                f"Spacefile: two models are named {min(alike)}; pages and commands could not tell them apart."
            )
        return self


def read_spacefile(path: Path = DEFAULT) -> Spacefile:
    """Read and check a Spacefile.

    Raises:
        ConfigError: it is missing or not valid YAML, or something in it is unknown or wrong.
    """
    values = _read_yaml(path)
    if "v" in values or "micros" in values:
        raise ConfigError(
            f"{path} is a manifest of Deta Space, another product; a Sim2Street Spacefile begins with `schema: 1`."
        )
    if values.get("schema") != 1:
        raise ConfigError(f"{path}: schema is {values.get('schema')!r}; this version of Sim2Street reads `schema: 1`.")
    return Spacefile.parse(values, where=path.name)


def record_publication(path: Path, folder: Path, repository: str, revision: str) -> bool:
    """Write repository and revision of a published checkpoint into its entry under models.

    Nothing else in the file changes; comments and order stay.

    Args:
        path: the Spacefile.
        folder: the checkpoint's folder; entries' paths are relative to the Spacefile's folder.
        repository: where it was published.
        revision: its commit.

    Returns:
        Whether an entry with the folder or the repository was found and updated.
    """
    values = _read_yaml(path)
    Spacefile.parse(values, where=path.name)
    models = values["models"]
    own = [place for place, entry in enumerate(models) if _lies_in(path, entry, folder)]
    own += [place for place, entry in enumerate(models) if entry.get("repository") == repository]
    if not own:
        return False
    place = own[0]
    found = {"repository": repository, "revision": revision}
    text = _with_entry(path.read_text(encoding="utf-8"), place, found)
    models[place].update(found)
    if yaml.safe_load(text) != values:
        raise ConfigError(
            f"{path.name} cannot be edited automatically. Add `repository: {repository}` and"
            f" `revision: {revision}` to entry {place + 1} of models yourself."
        )
    Spacefile.parse(values, where=path.name)
    write_whole(path, text.encode())
    return True


def _lies_in(path: Path, entry: dict[str, str], folder: Path) -> bool:
    return "path" in entry and (path.parent / entry["path"]).resolve() == folder.resolve()


def _with_entry(text: str, place: int, found: dict[str, str]) -> str:
    """Set keys of the entry at an index under models, in the user's own text."""
    for key, value in found.items():
        root: Any = yaml.compose(text)
        (models,) = [node for name, node in root.value if name.value == "models"]
        entry = models.value[place]
        known = [node for name, node in entry.value if name.value == key]
        if known:
            begin, end = known[0].start_mark.index, known[0].end_mark.index
            text = text[:begin] + value + text[end:]
            continue
        last = entry.value[-1][1].end_mark.index
        between = ", " if entry.flow_style else "\n" + " " * entry.value[0][0].start_mark.column
        # A comment after the last value stays on its line.
        last = last if entry.flow_style or "\n" not in text[last:] else text.index("\n", last)
        text = f"{text[:last]}{between}{key}: {value}{text[last:]}"
    return text


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_BYTES // 1024} kB, the limit for a Spacefile.")
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path} contains a {type(values).__name__}; expected keys and values, the first `schema: 1`."
        )
    return values
