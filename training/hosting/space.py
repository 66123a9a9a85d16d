"""Space: derive the contents of a Hugging Face Space from the Spacefile, compare and deploy them.

Deployment is declarative and safe to repeat: only files, variables and hardware that differ are changed, all files in one
commit. Only the names of secrets are visible, so a value is sent once.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, SpaceCardData
from huggingface_hub.errors import RepositoryNotFoundError

import sim2street
from sim2street import ROOT
from sim2street.models.errors import Sim2StreetError
from sim2street.models.storage.files import CARD, is_litter, write_whole
from sim2street.models.storage.hub import FILES, HUB_ERRORS, git_blob, hub_api, hub_sentence
from sim2street.models.storage.spacefile import Spacefile
from sim2street.training.hosting.publish import require_write_token

CODE: Final = (".py", ".js", ".css", ".svg", ".toml")
PACKAGES: Final = {"app": (*CODE, ".json"), "models": CODE, "training": CODE}
"""Folders, and the files a Space needs from each; checkpoints named in the Spacefile bring their own JSON."""
DOCKER_FILES: Final = ("Dockerfile", ".dockerignore", "app/container.sh", "pyproject.toml", "setup.py")
PACKAGE: Final = Path(sim2street.__file__).parent
"""Makes the three folders importable as one package."""
GENERATED: Final = ROOT / "space"
"""Where this repository keeps the generated files, so that their changes can be reviewed."""
WAIT_SECONDS: Final = 1800.0


class SpaceError(Sim2StreetError):
    """A Space that cannot be compared or deployed; the message says what was changed and what to do."""


@dataclass(frozen=True)
class SpaceState:
    """The state of a Space, as declared here or as found on the Hub.

    Attributes:
        files: the Hub's digest of each file, by path.
        variables: values by name.
        secrets: names.
        flavor: hardware.
        sleep_seconds: idle time after which it sleeps.
    """

    files: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    flavor: str | None = None
    sleep_seconds: int | None = None


def space_readme(spacefile: Spacefile) -> str:
    """README.md of the Space: the front matter for the Hub, and a short text for readers."""
    space = spacefile.space
    published = [model for model in spacefile.models if model.repository]
    values: dict[str, Any] = {
        "title": space.title,
        "emoji": space.emoji,
        "colorFrom": space.colour_from,
        "colorTo": space.colour_to,
        "sdk": space.sdk,
        "sdk_version": space.sdk_version,
        "python_version": space.python_version,
        "app_file": space.app_file,
        "app_port": space.app_port,
        "short_description": space.short_description or None,
        "license": space.licence,
        "suggested_hardware": spacefile.hardware.flavor,
        "models": [model.repository for model in published] or None,
        # Fetched while the Space is built, so that the first visitor does not have to wait.
        "preload_from_hub": [f"{model.repository} {','.join(FILES)} {model.revision}" for model in published] or None,
    }
    if spacefile.oauth is not None:
        values |= {"hf_oauth": True, "hf_oauth_expiration_minutes": spacefile.oauth.minutes}
        values["hf_oauth_scopes"] = list(spacefile.oauth.scopes) or None
    front = SpaceCardData(**{key: value for key, value in values.items() if value is not None}).to_yaml()
    return f"""---
{front}
---

# {space.title}

Compare networks trained on rendered streets side by side, on your photo or on a street rendered here.

This Space is generated from the project's Spacefile by `sim2street space deploy`; changes made here are overwritten.
Uploaded photos are not kept: see the foot of the page. The code is under the Apache License 2.0; each checkpoint has its
own licence, which the page shows.
"""


def space_requirements(spacefile: Spacefile, root: Path = ROOT) -> str:
    """requirements.txt of a Gradio Space: the project's dependencies, in the versions that the host offers.

    Gradio itself is set by `sdk_version` in the front matter.

    Raises:
        SpaceError: the Spacefile asks for a version that the project does not run on.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["demo"], *(extras["admin"] if spacefile.oauth is not None else [])]
    oldest = project["requires-python"].removeprefix(">=")
    if _number(str(spacefile.space.python_version)) < _number(oldest):
        raise SpaceError(
            f"Spacefile: python_version is {spacefile.space.python_version}; Sim2Street needs {oldest} or newer."
        )
    lowest = {name: version for name, _, version in (item.partition(">=") for item in wanted)}
    pins = dict(spacefile.requirements)
    for name, version in pins.items():
        if name in lowest and _number(version) < _number(lowest[name]):
            raise SpaceError(f"Spacefile: requirements.{name} is {version}; Sim2Street needs {lowest[name]} or newer.")
    lines = [f"{name}=={version}" for name, version in pins.items()]
    lines += [f"{name}>={version}" for name, version in sorted(lowest.items()) if name not in {*pins, "gradio"}]
    return "# Generated by `sim2street space readme --write`.\n" + "\n".join(lines) + "\n"


def generated_files(spacefile: Spacefile, root: Path = ROOT) -> dict[str, str]:
    """Text of the files generated from the Spacefile, by name."""
    files = {CARD: space_readme(spacefile)}
    if spacefile.space.sdk == "gradio":
        files["requirements.txt"] = space_requirements(spacefile, root)
        if spacefile.packages:
            files["packages.txt"] = "\n".join(spacefile.packages) + "\n"
    return files


def drifted_files(spacefile: Spacefile, root: Path = ROOT, folder: Path = GENERATED) -> list[str]:
    """Names of generated files that are missing in `folder`, differ from the Spacefile, or are obsolete."""
    wanted = generated_files(spacefile, root)
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} if folder.is_dir() else {}
    return sorted(name for name in {*wanted, *there} if wanted.get(name) != there.get(name))


def write_generated(spacefile: Spacefile, root: Path = ROOT, folder: Path = GENERATED) -> list[str]:
    """Update `folder`; return the names of changed files."""
    wanted, changed = generated_files(spacefile, root), drifted_files(spacefile, root, folder)
    folder.mkdir(exist_ok=True)
    for name in changed:
        if name not in wanted:
            (folder / name).unlink()
            continue
        write_whole(folder / name, wanted[name].encode())
    return changed


def space_files(spacefile: Spacefile, root: Path = ROOT) -> dict[str, bytes]:
    """All files of the Space's repository by path: generated files, code, and checkpoints that are only here.

    Raises:
        SpaceError: a checkpoint or file that the Spacefile names is missing.
    """
    paths = [
        path
        for package, suffixes in PACKAGES.items()
        for path in sorted((root / package).rglob("*"))
        if path.suffix in suffixes and not any(map(is_litter, path.parts))
    ]
    paths += [root / "LICENSE"]
    if spacefile.space.sdk == "docker":
        paths += [root / name for name in DOCKER_FILES]
    for model in spacefile.models:
        if model.repository is None and model.path is not None:
            paths += [root / model.path / name for name in FILES]
    missing = [path.relative_to(root).as_posix() for path in paths if not path.is_file()]
    if missing:
        raise SpaceError(f"{missing[0]} is missing; the Spacefile needs it for the Space.")
    if spacefile.space.app_file is not None and root / spacefile.space.app_file not in paths:
        raise SpaceError(f"Spacefile: there is no {spacefile.space.app_file} for the Space to run.")
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
    files["Spacefile"] = (root / "Spacefile").read_bytes()
    files |= {f"sim2street/{path.name}": path.read_bytes() for path in sorted(PACKAGE.glob("*.py"))}
    return files | {name: text.encode() for name, text in generated_files(spacefile, root).items()}


def declared_state(spacefile: Spacefile, files: dict[str, bytes]) -> SpaceState:
    """The declared state of the Space."""
    hardware, port = spacefile.hardware, spacefile.space.app_port
    return SpaceState(
        {path: _digest(path, data) for path, data in files.items()},
        # The container serves on PORT, and the Hub connects to app_port.
        ({} if port is None else {"PORT": str(port)}) | spacefile.variables,
        frozenset(spacefile.secrets),
        hardware.flavor,
        hardware.sleep_seconds,
    )


def found_state(api: HfApi, space_id: str) -> SpaceState | None:
    """The current state of the Space; None if it does not exist.

    Raises:
        SpaceError: the Hub refuses, or the Space was not made from a Spacefile.
    """
    try:
        info = api.space_info(space_id, files_metadata=True)
        runtime = api.get_space_runtime(space_id)
        variables = {name: item.value for name, item in api.get_space_variables(space_id).items()}
        secrets = frozenset(api.get_space_secrets(space_id))
    except RepositoryNotFoundError:
        return None
    except HUB_ERRORS as error:
        raise SpaceError(f"{hub_sentence(error, space_id)} Nothing was changed.") from error
    files = {
        item.rfilename: (item.lfs.sha256 if item.lfs is not None else item.blob_id) or ""
        for item in info.siblings or []
        if item.rfilename != ".gitattributes"
    }
    if files and "Spacefile" not in files and set(files) != {CARD}:
        raise SpaceError(f"{space_id} already exists and was not made from a Spacefile. Choose another space.id.")
    flavor = runtime.requested_hardware or runtime.hardware
    return SpaceState(files, variables, secrets, None if flavor is None else str(flavor), runtime.sleep_time)


def differences(wanted: SpaceState, found: SpaceState | None) -> Iterator[str]:
    """The changes that deploying would make, one line each; empty if the Space matches."""
    if found is None:
        yield "create the Space"
        found = SpaceState()
    for path in sorted(wanted.files.keys() | found.files.keys()):
        if path not in found.files:
            yield f"add      {path}"
        elif path not in wanted.files:
            yield f"remove   {path}"
        elif wanted.files[path] != found.files[path]:
            yield f"replace  {path}"
    for name in sorted(wanted.variables.keys() | found.variables.keys()):
        if wanted.variables.get(name) != found.variables.get(name):
            yield f"set      variable {name}" if name in wanted.variables else f"remove   variable {name}"
    for name in sorted(wanted.secrets - found.secrets):
        yield f"set      secret {name} from the environment"
    for name in sorted(found.secrets - wanted.secrets):
        yield f"leave    secret {name}, which the Spacefile does not name"
    if wanted.flavor != found.flavor or wanted.sleep_seconds not in (None, found.sleep_seconds):
        yield f"ask for  hardware {wanted.flavor}" + (
            f", asleep after {wanted.sleep_seconds} s" if wanted.sleep_seconds else ""
        )


def compare(spacefile: Spacefile, root: Path = ROOT, *, token: str | None = None) -> tuple[str, list[str]]:
    """Name of the Space, and its differences from the Spacefile."""
    space_id = full_id(spacefile, token)
    wanted = declared_state(spacefile, space_files(spacefile, root))
    return space_id, list(differences(wanted, found_state(hub_api(token), space_id)))


def deploy(
    spacefile: Spacefile, root: Path = ROOT, *, token: str | None = None, wait: bool = False
) -> tuple[str, list[str]]:
    """Make the Space match the Spacefile.

    Args:
        spacefile: a validated Spacefile.
        root: root of this repository.
        token: by default that of `hf auth login` or HF_TOKEN.
        wait: return only once the Space is running.

    Returns:
        The URL of the Space and what was done, one line each.

    Raises:
        SpaceError: something it needs is missing, the Hub refuses, or the Space does not start.
    """
    space_id = full_id(spacefile, token)
    api = hub_api(token)
    files = space_files(spacefile, root)
    wanted, found = declared_state(spacefile, files), found_state(api, space_id)
    done = list(differences(wanted, found))
    before = found or SpaceState()
    secrets = {name: os.environ.get(name, "") for name in sorted(wanted.secrets - before.secrets)}
    unset = [name for name, value in secrets.items() if not value]
    if unset:
        raise SpaceError(
            f"Secret {unset[0]} is set neither on the Space nor in your environment; set it and deploy again. Nothing was changed."
        )
    try:
        if found is None:
            space = spacefile.space
            api.create_repo(space_id, repo_type="space", space_sdk=space.sdk, private=space.private or None)
        for name, value in secrets.items():
            api.add_space_secret(space_id, name, value)
        for name in sorted(wanted.variables.items() - before.variables.items()):
            api.add_space_variable(space_id, *name)
        for name in sorted(before.variables.keys() - wanted.variables.keys()):
            api.delete_space_variable(space_id, name)
        operations = [
            CommitOperationAdd(path_in_repo=path, path_or_fileobj=data)
            for path, data in files.items()
            if before.files.get(path) != wanted.files[path]
        ]
        operations += [CommitOperationDelete(path) for path in sorted(before.files.keys() - wanted.files.keys())]
        if operations:
            message = "Deploy from the Spacefile"
            api.create_commit(space_id, operations, commit_message=message, repo_type="space")
        if wanted.flavor is not None and any(line.startswith("ask for") for line in done):
            api.request_space_hardware(space_id, wanted.flavor, sleep_time=wanted.sleep_seconds)  # pyright: ignore[reportArgumentType]  # ids are strings
        if wait:
            _wait(api, space_id)
    except HUB_ERRORS as error:
        raise SpaceError(
            f"{hub_sentence(error, space_id)} Run the same command again; it continues where it stopped."
        ) from error
    return f"{api.endpoint}/spaces/{space_id}", done


def full_id(spacefile: Spacefile, token: str | None = None) -> str:
    """`owner/name` of the Space; a name alone goes under the token's own account.

    Raises:
        PublishError: there is no token with write access.
    """
    account = require_write_token(token)
    return spacefile.space.id if "/" in spacefile.space.id else f"{account}/{spacefile.space.id}"


def _wait(api: HfApi, space_id: str) -> None:
    try:
        stage = str(api.wait_for_space(space_id, timeout=WAIT_SECONDS).stage)
    except TimeoutError as error:
        raise SpaceError(f"{space_id} is still being built; its page shows the progress.") from error
    if stage != "RUNNING":
        raise SpaceError(f"{space_id} was deployed but its stage is {stage}; see the log on its page for the reason.")


def _digest(path: str, data: bytes) -> str:
    """The Hub's digest of a file: sha256 for weights, git's hash for everything else."""
    if path.endswith(".safetensors"):
        return hashlib.sha256(data).hexdigest()
    return git_blob(data)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
