"""A Space from the Spacefile, with the real client against a local Hub: compared, deployed, deployed again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.spacefile import ROOT, read_spacefile
from sim2street.training.cli import main
from sim2street.training.hosting.space import SpaceError, drifted_files, space_files, space_requirements
from tests.hub_server import READ, Fault, HubServer
from tests.models.storage.test_checkpoint import checkpoint  # noqa: F401
from tests.models.storage.test_spacefile import COMMIT, DOCKER, GOOD, GRADIO

SPACE = "maker/demo"


@pytest.fixture
def root(tmp_path: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """A small repository with one shipped checkpoint."""
    root = tmp_path / "repository"
    for name in (
        "app/demo.py",
        "models/photo.py",
        "training/datasets/base.py",
        "app/content/measured/fog.json",
        "app/notes.txt",
        "app/__pycache__/x.pyc",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}\n")
    (root / "app/.streamlit").mkdir()
    shutil.copytree(checkpoint.path, root / "models/shipped/one")
    for name in (
        "LICENSE",
        "pyproject.toml",
        "Dockerfile",
        ".dockerignore",
        "app/container.sh",
        "setup.py",
        "app/.streamlit/config.toml",
    ):
        shutil.copy(ROOT / name, root / name)
    write(root)
    return root


def write(root: Path, **changes: Any) -> None:
    values = {
        **GOOD,
        "space": {**GRADIO, "python_version": "3.12"},
        "hardware": {"flavor": "zero-a10g"},
        "requirements": {"torch": "2.11.0"},
        "variables": {"SIM2STREET_NAME": "demo"},
        **changes,
    }
    (root / "Spacefile").write_text(yaml.safe_dump(values, sort_keys=False))


def space(root: Path, *arguments: str) -> int:
    return main(["space", "--file", str(root / "Spacefile"), *arguments])


def test_what_is_committed_is_what_the_spacefile_says() -> None:
    assert drifted_files(read_spacefile()) == [], "run `sim2street space readme --write`"


def test_the_projects_own_space_is_complete() -> None:
    files = space_files(read_spacefile())
    assert {"README.md", "requirements.txt", "Spacefile", "app/demo.py", "app/viewer/compare/viewer.js"} <= files.keys()
    assert not [name for name in files if name.startswith(("tests", "docs", "."))]
    assert "accelerate" not in files["requirements.txt"].decode()
    assert "torch==2.11.0" in files["requirements.txt"].decode().splitlines()


def test_deploying_makes_the_space_what_is_declared(
    hub: HubServer, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert space(root, "deploy", "--wait") == 0
    made = hub.space(SPACE)
    assert made.settings == {"sdk": "gradio", "hardware": "zero-a10g", "sleep": None}
    assert made.variables == {"SIM2STREET_NAME": "demo"}
    assert len(made.commits) == 2
    assert set(made.files) == {
        "README.md", "requirements.txt", "Spacefile", "LICENSE", "app/.streamlit/config.toml", "app/demo.py", "app/content/measured/fog.json", "models/photo.py",
        "training/datasets/base.py", *(f"models/shipped/one/{name}" for name in ("README.md", "config.json",
        "metrics.json", "model.safetensors")), "sim2street/__init__.py", "sim2street/__main__.py",
    }  # fmt: skip
    front = yaml.safe_load(made.files["README.md"].decode().split("---")[1])
    assert front["sdk"] == "gradio"
    assert front["app_file"] == "app/demo.py"
    assert front["models"] == ["maker/two"]
    assert front["preload_from_hub"] == [f"maker/two model.safetensors,config.json,metrics.json,README.md {COMMIT}"]
    assert "/spaces/maker/demo" in capsys.readouterr().out


def test_deploying_again_sends_nothing(hub: HubServer, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space(root, "deploy")
    before = len(hub.requests)
    capsys.readouterr()
    assert space(root, "deploy") == 0
    assert "nothing was sent" in capsys.readouterr().out
    assert [request for request in hub.requests[before:] if not request.startswith("GET")] == []
    assert space(root, "diff") == 0
    assert "matches the Spacefile" in capsys.readouterr().out


def test_only_what_differs_is_changed(hub: HubServer, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space(root, "deploy")
    (root / "app/demo.py").write_text("# another\n")
    (root / "models/photo.py").unlink()
    write(root, variables={"OTHER": "1"}, hardware={"flavor": "t4-small", "sleep_seconds": 600})
    capsys.readouterr()
    assert space(root, "diff") == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert lines == [
        "replace  README.md",
        "replace  Spacefile",
        "replace  app/demo.py",
        "remove   models/photo.py",
        "set      variable OTHER",
        "remove   variable SIM2STREET_NAME",
        "ask for  hardware t4-small, asleep after 600 s",
    ]
    assert space(root, "deploy") == 0
    made = hub.space(SPACE)
    assert made.variables == {"OTHER": "1"}
    assert made.settings["hardware"] == "t4-small"
    assert made.settings["sleep"] == 600
    assert "models/photo.py" not in made.files
    assert len(made.commits) == 3
    assert hub.asked("PUT /lfs") == 1, "weights are not sent again"


def test_dry_run_asks_nobody(
    hub: HubServer, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert space(root, "deploy", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "add      app/demo.py" in printed
    assert "ask for  hardware zero-a10g" in printed
    assert "Nothing was sent" in printed
    assert hub.requests == []


def test_secrets_come_from_the_environment_once_and_are_never_printed(
    hub: HubServer, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, secrets=["ADMIN_PASSWORD"])
    assert space(root, "deploy") == 2
    assert "ADMIN_PASSWORD is set neither on the Space nor in your environment" in capsys.readouterr().err
    assert not hub.repositories, "nothing was changed"
    monkeypatch.setenv("ADMIN_PASSWORD", "s3cret")
    assert space(root, "deploy") == 0
    assert hub.space(SPACE).secrets == {"ADMIN_PASSWORD": "s3cret"}
    assert "s3cret" not in capsys.readouterr().out
    assert not [name for name, data in hub.space(SPACE).files.items() if b"s3cret" in data]
    monkeypatch.delenv("ADMIN_PASSWORD")
    assert space(root, "deploy") == 0


def test_somebody_elses_space_is_left_alone(hub: HubServer, root: Path) -> None:
    theirs = hub.add(SPACE, {"app.py": b"theirs"}, kind="space")
    assert space(root, "deploy") == 2
    assert theirs.files == {"app.py": b"theirs"}


def test_a_failure_leaves_the_old_files(hub: HubServer, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space(root, "deploy")
    before = hub.space(SPACE).head
    (root / "app/demo.py").write_text("# another\n")
    hub.faults.append(Fault("/commit/", "status", status=503, times=99))
    assert space(root, "deploy") == 2
    assert "server error" in capsys.readouterr().err
    assert hub.space(SPACE).head == before
    hub.faults.clear()
    assert space(root, "deploy") == 0


def test_a_space_that_does_not_come_up_is_said(hub: HubServer, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space(root, "deploy")
    hub.space(SPACE).settings["stage"] = "BUILD_ERROR"
    (root / "app/demo.py").write_text("# another\n")
    assert space(root, "deploy", "--wait") == 2
    assert "its stage is BUILD_ERROR" in capsys.readouterr().err


@pytest.mark.parametrize("token", ["", READ])
def test_a_token_that_will_not_do(
    hub: HubServer, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], token: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    assert space(root, "deploy") == 2
    assert "token" in capsys.readouterr().err
    assert not hub.repositories


def test_check_opens_the_checkpoints(hub: HubServer, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert space(root, "check") == 0
    assert "is valid" in capsys.readouterr().out
    (root / "models/shipped/one/model.safetensors").write_bytes(b"cut")
    assert space(root, "check") == 2
    assert "damaged or was replaced" in capsys.readouterr().err
    assert hub.requests == []


def test_a_missing_file_is_said(root: Path) -> None:
    (root / "app/demo.py").unlink()
    with pytest.raises(SpaceError, match=r"no app/demo.py for the Space to run"):
        space_files(read_spacefile(root / "Spacefile"), root)
    shutil.rmtree(root / "models/shipped/one")
    with pytest.raises(SpaceError, match=r"models/shipped/one/model.safetensors is missing"):
        space_files(read_spacefile(root / "Spacefile"), root)


def test_an_installed_package_has_no_readme_of_the_space_to_compare(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sim2street.training.commands.space.IS_CHECKOUT", False)
    for more in ([], ["--write"]):
        assert main(["space", "readme", *more]) == 2
        assert "Run this in a checkout" in capsys.readouterr().err


def test_drift_is_an_error_until_it_is_written(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert space(root, "readme") == 2
    assert space(root, "readme", "--write") == 0
    assert space(root, "readme") == 0
    write(root, space={**GRADIO, "python_version": "3.12", "title": "Another"})
    capsys.readouterr()
    assert space(root, "readme") == 2
    assert "space/README.md does not match the Spacefile" in capsys.readouterr().err


def test_a_docker_space_brings_its_dockerfile_and_no_requirements(root: Path) -> None:
    write(root, space=DOCKER, hardware={"flavor": "cpu-basic"}, requirements={})
    files = space_files(read_spacefile(root / "Spacefile"), root)
    assert {
        "Dockerfile",
        "pyproject.toml",
        "app/.streamlit/config.toml",
        "app/content/measured/fog.json",
    } <= files.keys()
    assert "requirements.txt" not in files
    assert yaml.safe_load(files["README.md"].decode().split("---")[1])["app_port"] == 8501
    copied = [line.split()[2:-1] for line in files["Dockerfile"].decode().splitlines() if line.startswith("COPY")]
    assert copied
    for source in (source for sources in copied for source in sources):
        assert any(name == source or name.startswith(f"{source}/") for name in files), f"COPY {source} would fail"


def test_a_docker_space_serves_where_the_hub_looks(hub: HubServer, root: Path) -> None:
    write(root, space={**DOCKER, "app_port": 7860}, hardware={"flavor": "cpu-basic"}, requirements={}, variables={})
    assert space(root, "deploy") == 0
    assert hub.space(SPACE).variables == {"PORT": "7860"}
    assert space(root, "diff") == 0


def test_oauth_and_packages_are_generated(root: Path) -> None:
    write(root, oauth={"scopes": ["jobs"], "minutes": 60}, packages=["libgl1"])
    files = space_files(read_spacefile(root / "Spacefile"), root)
    front = yaml.safe_load(files["README.md"].decode().split("---")[1])
    assert (front["hf_oauth"], front["hf_oauth_scopes"], front["hf_oauth_expiration_minutes"]) == (True, ["jobs"], 60)
    assert files["packages.txt"] == b"libgl1\n"
    assert "\nauthlib>=" in files["requirements.txt"].decode(), "signing in needs it"


def test_a_version_that_the_project_does_not_run_on_is_refused(root: Path) -> None:
    write(root, space={**GRADIO, "python_version": "3.10"})
    with pytest.raises(SpaceError, match=r"python_version is 3.10; Sim2Street needs 3.11"):
        space_requirements(read_spacefile(root / "Spacefile"), root)
    write(root, requirements={"torch": "2.11.0", "pillow": "9.0"})
    with pytest.raises(SpaceError, match=r"requirements.pillow is 9.0; Sim2Street needs"):
        space_requirements(read_spacefile(root / "Spacefile"), root)


def test_the_collection_groups_what_is_published(
    hub: HubServer, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["collection", "--file", str(root / "Spacefile")]
    assert main(command) == 2
    assert "collection is missing" in capsys.readouterr().err
    write(root, collection={"title": "Street scenes"})
    assert main([*command, "--dry-run"]) == 0
    assert not hub.collections
    for _ in range(2):  # again changes nothing
        assert main(command) == 0
    (made,) = hub.collections.values()
    assert [(item["id"], item["type"]) for item in made["items"]] == [("maker/two", "model"), (SPACE, "space")]
    write(root, collection={"title": "Street scenes"}, models=[{"path": "models/shipped/one"}])
    assert main(command) == 2
    assert "No checkpoint of the Spacefile is published yet" in capsys.readouterr().err
