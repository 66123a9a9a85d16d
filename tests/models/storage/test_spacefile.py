"""The Spacefile: what it may say, what it may not, and sentences for both."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim2street.models.errors import CheckpointError, ConfigError
from sim2street.models.storage import catalog as catalogs
from sim2street.models.storage.catalog import catalog
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.downloads import Download, Downloads
from sim2street.models.storage.spacefile import read_spacefile, record_publication
from tests.hub_server import HubServer
from tests.models.storage.test_checkpoint import checkpoint  # noqa: F401

COMMIT = "c" * 40
GRADIO = {"id": "demo", "title": "Demo", "sdk": "gradio", "sdk_version": "6.31.0", "app_file": "app/demo.py"}
GOOD: dict[str, Any] = {
    "schema": 1,
    "space": {**GRADIO, "python_version": "3.12"},
    "models": [{"path": "models/shipped/one"}, {"repository": "maker/two", "revision": COMMIT}],
}
DOCKER = {"id": "demo", "title": "Demo", "sdk": "docker", "app_port": 8501}


def write(folder: Path, values: object) -> Path:
    path = folder / "Spacefile"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values, sort_keys=False))
    return path


def with_values(**changes: Any) -> dict[str, Any]:
    return {**GOOD, **changes}


def test_the_projects_own_is_sound() -> None:
    spacefile = read_spacefile()
    assert spacefile.space.sdk == "gradio"
    assert [model.path for model in spacefile.models]


def test_models_are_read(tmp_path: Path) -> None:
    spacefile = read_spacefile(write(tmp_path, GOOD))
    assert [model.source for model in spacefile.models] == [None, f"maker/two@{COMMIT}"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ("just words", "contains a str"),
        ("a: [", "not valid YAML"),
        ({"v": 0, "micros": []}, "Deta Space"),
        ({"space": {}}, "schema is None"),
        (with_values(schema=2), "reads `schema: 1`"),
        (with_values(modles=[]), "did you mean 'models'"),
        (with_values(models=[]), "models is"),
        (with_values(space={**GRADIO, "sdk": "streamlit", "python_version": "3.12"}), "removed its streamlit SDK"),
        (with_values(space=GRADIO), "space.python_version is missing"),
        (with_values(space={**DOCKER, "sdk_version": "6.0"}), "does not apply to sdk docker"),
        (
            with_values(space={**DOCKER, "id": "a b"}),
            "space.id is 'a b'; expected a text such as 'your-account/your-space'",
        ),
        (with_values(hardware={"flavor": "t5"}), "expected one of cpu-basic"),
        (with_values(space=DOCKER, hardware={"flavor": "zero-a10g"}), "runs Gradio Spaces only"),
        (with_values(hardware={"flavor": "zero-a10g"}), "ZeroGPU offers torch"),
        (
            with_values(
                space={**GRADIO, "python_version": "3.11"},
                hardware={"flavor": "zero-a10g"},
                requirements={"torch": "2.11.0"},
            ),
            "offers Python 3.10 and 3.12",
        ),
        (with_values(hardware={"flavor": "cpu-basic", "sleep_seconds": 600}), "cannot be set on cpu-basic"),
        (with_values(secrets={"TOKEN": "hf_abc"}), "must never be in this file"),
        (with_values(secrets=["TOKEN"], variables={"TOKEN": "x"}), "both a variable and a secret"),
        (with_values(models=[{"repository": "maker/two"}]), "must be given together"),
        (with_values(models=[{"repository": "maker/two", "revision": "main"}]), "because branches and tags can move"),
        (with_values(models=[{"path": "../secret"}]), "models.0.path"),
        (with_values(models=[{"path": "a/../../b"}]), "points outside this repository"),
        (with_values(models=[{"path": "a"}, {"path": "a"}]), "listed twice"),
        (with_values(models=[{"path": "a/one"}, {"path": "b/one"}]), "two models are named one"),
        (with_values(models=[{}]), "expected a path"),
        (with_values(space=DOCKER, variables={"PORT": "7860"}), "leave out PORT"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, values: object, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_spacefile(write(tmp_path, values))
    assert reason in str(caught.value)
    assert "hf_abc" not in str(caught.value)


def test_a_missing_one_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_spacefile(tmp_path / "Spacefile")


BY_HAND = """\
# Ours.
schema: 1
space: {id: demo, title: "Demo: streets", sdk: docker, app_port: 8501} # under one's own account
models: # in this order on the page
  - path: models/shipped/one # the first
  # A flow mapping is one, too.
  - {path: models/shipped/three}
  - repository: maker/two
    revision: cccccccccccccccccccccccccccccccccccccccc # pinned

variables:
  NAME: demo
"""


def test_a_publication_is_written_back_and_all_else_stays_as_it_was_written(tmp_path: Path) -> None:
    path = write(tmp_path, BY_HAND)
    assert record_publication(path, tmp_path / "models/shipped/one", "maker/one", "d" * 40)
    assert record_publication(path, tmp_path / "models/shipped/three", "maker/three", "e" * 40)
    assert record_publication(path, tmp_path / "elsewhere", "maker/two", "f" * 40)
    assert not record_publication(path, tmp_path / "elsewhere", "maker/four", "f" * 40)
    expected = BY_HAND.replace(
        "one # the first\n", f"one # the first\n    repository: maker/one\n    revision: {'d' * 40}\n"
    )
    expected = expected.replace("three}", f"three, repository: maker/three, revision: {'e' * 40}}}")
    assert path.read_text() == expected.replace(f"{'c' * 40} # pinned", f"{'f' * 40} # pinned")
    first = read_spacefile(path).models[0]
    assert (first.path, first.source) == ("models/shipped/one", f"maker/one@{'d' * 40}")
    assert record_publication(path, tmp_path / "models/shipped/one", "maker/one", "0" * 39 + "a")  # again: in place
    assert path.read_text().count("maker/one") == 1


def test_the_last_entry_of_a_file_without_a_last_line_end(tmp_path: Path) -> None:
    path = write(tmp_path, BY_HAND.partition("  # A flow")[0].rstrip().removesuffix(" # the first"))
    assert record_publication(path, tmp_path / "models/shipped/one", "maker/one", "d" * 40)
    assert read_spacefile(path).models[0].revision == "d" * 40


def test_what_cannot_be_edited_is_left_alone_and_said(tmp_path: Path) -> None:
    text = BY_HAND.replace("- path: models/shipped/one", "- &one\n    path: models/shipped/one").replace(
        "- {path: models/shipped/three}", "- {<<: *one, path: models/shipped/three}"
    )
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match="to entry 1 of models yourself"):
        record_publication(path, tmp_path / "models/shipped/one", "maker/one", "d" * 40)
    assert path.read_text() == text


def test_every_shipped_checkpoint_is_hosted() -> None:
    listed = {model.path for model in read_spacefile().models}
    shipped = {f"models/shipped/{path.name}" for path in catalogs.SHIPPED.iterdir() if path.is_dir()}
    assert shipped <= listed, "list it in the Spacefile, or the hosted page would lack it"


@pytest.fixture
def hosted(
    tmp_path: Path,
    hub: HubServer,
    checkpoint: Checkpoint,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """A Spacefile with one checkpoint on the Hub and one that is gone; nothing shipped."""
    repository = hub.add("maker/two", {path.name: path.read_bytes() for path in checkpoint.path.iterdir()})
    models = [
        {"repository": "maker/two", "revision": repository.head},
        {"repository": "maker/gone", "revision": COMMIT},
    ]
    monkeypatch.setattr(catalogs, "SPACEFILE", write(tmp_path, with_values(models=models)))
    monkeypatch.setattr(catalogs, "SHIPPED", tmp_path / "none")
    monkeypatch.setattr(catalogs, "DOWNLOADS", Downloads())
    monkeypatch.delenv("SIM2STREET_CHECKPOINTS", raising=False)
    return f"maker/two@{repository.head}"


def wait_for(source: str, downloads: Downloads) -> Download:
    for _ in range(400):
        state = downloads.ask(source)
        if state.checkpoint is not None or state.failure is not None:
            return state
        time.sleep(0.02)
    raise TimeoutError(source)


def test_the_catalog_takes_pinned_repositories_and_shows_the_broken_one(hosted: str) -> None:
    good, gone = catalog()
    assert good.name == "two"
    assert good.checkpoint is not None
    assert good.checkpoint.repository == hosted
    assert gone.checkpoint is None
    assert "maker/gone" in str(gone.error)


def test_pages_do_not_wait_for_downloads(hosted: str, hub: HubServer) -> None:
    first, _ = catalog(wait=False)
    assert first.checkpoint is None
    assert first.download is not None
    assert first.error == "Downloading from maker/two on the Hub."
    wait_for(hosted, catalogs.DOWNLOADS)
    wait_for(f"maker/gone@{COMMIT}", catalogs.DOWNLOADS)
    good, gone = catalog(wait=False)
    assert good.checkpoint is not None
    assert gone.download is None
    assert "repository maker/gone does not exist" in str(gone.error)


def test_a_failed_download_is_tried_again_after_a_while_only(hosted: str) -> None:
    now, tries = [0.0], list[str]()

    def fetch(source: str, progress: object) -> Checkpoint:
        tries.append(source)
        raise CheckpointError("The Hub sleeps.")

    downloads = Downloads(fetch, lambda: now[0])
    assert wait_for(hosted, downloads).failure == "The Hub sleeps."
    downloads.ask(hosted)
    assert len(tries) == 1
    now[0] = 61
    downloads.ask(hosted)
    wait_for(hosted, downloads)
    assert len(tries) == 2


def test_an_unexpected_error_does_not_end_the_thread(hosted: str) -> None:
    def fetch(source: str, progress: object) -> Checkpoint:
        raise KeyError(source)

    downloads = Downloads(fetch)
    assert "could not be fetched" in str(wait_for(hosted, downloads).failure)
    assert "could not be fetched" in str(wait_for(f"maker/gone@{COMMIT}", downloads).failure)


def test_a_broken_spacefile_is_an_entry_and_no_crash(tmp_path: Path, hosted: str) -> None:
    write(tmp_path, "schema: 7")
    (entry,) = catalog(wait=False)
    assert entry.checkpoint is None
    assert "schema is 7" in str(entry.error)
