"""Authors' own repositories on the hosted page, from a commit that the Spacefile names."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import get_args

import pytest
import torch

from sim2street.models.errors import ConfigError
from sim2street.models.importers import FAMILIES
from sim2street.models.storage import catalog as catalogs
from sim2street.models.storage.cache import cache_entries
from sim2street.models.storage.catalog import catalog
from sim2street.models.storage.downloads import Downloads
from sim2street.models.storage.spacefile import HostedModel, read_spacefile
from sim2street.training.cli import main
from tests.conftest import weights_by_rule
from tests.hub_server import HubServer, Repository
from tests.models.storage.test_spacefile import COMMIT, wait_for, with_values, write

EOMT = "tue-mps/cityscapes_semantic_eomt_large_1024"


def in_bytes(weights: dict[str, torch.Tensor]) -> bytes:
    file = io.BytesIO()
    torch.save(weights, file)
    return file.getvalue()


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return weights_by_rule("eomt_vits16_128_keys.json")


@pytest.fixture
def authors(
    tmp_path: Path, hub: HubServer, weights: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> Repository:
    """The authors' repository, pinned in the Spacefile to its first commit; later the authors add another."""
    repository = hub.add(EOMT, {"pytorch_model.bin": in_bytes(weights)})
    pinned(tmp_path, monkeypatch, {"family": "eomt", "repository": EOMT, "revision": repository.head})
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "own_cache"))
    monkeypatch.setattr(catalogs, "SHIPPED", tmp_path / "none")
    monkeypatch.setattr(catalogs, "DOWNLOADS", Downloads())
    monkeypatch.delenv("SIM2STREET_CHECKPOINTS", raising=False)
    return repository


def pinned(folder: Path, monkeypatch: pytest.MonkeyPatch, *models: dict[str, str]) -> None:
    monkeypatch.setattr(catalogs, "SPACEFILE", write(folder, with_values(models=list(models))))


def test_a_pinned_commit_is_imported_and_kept(authors: Repository, hub: HubServer) -> None:
    commit = authors.head
    authors.commit({"pytorch_model.bin": b"something else"})
    (entry,) = catalog()
    assert entry.error is None
    assert entry.checkpoint is not None
    assert entry.checkpoint.repository == f"{EOMT}@{commit}"
    config = entry.checkpoint.config
    assert (config.title, config.source) == ("EoMT large trained on Cityscapes' labels", "cityscapes")
    assert config.imported is not None
    assert config.imported.reported_miou == 84.2
    assert [item.kind for item in cache_entries()] == ["weights"], "sim2street cache lists and removes it"

    asked = len(hub.requests)
    (again,) = catalog()
    assert again.checkpoint is not None
    assert again.checkpoint.config.weights_sha256 == config.weights_sha256
    assert len(hub.requests) == asked, "nothing is asked of the Hub again"


def test_pages_do_not_wait_for_the_import(authors: Repository) -> None:
    (entry,) = catalog(wait=False)
    assert entry.checkpoint is None
    assert entry.error == f"Downloading from {EOMT} on the Hub."
    state = wait_for(f"eomt:{EOMT}@{authors.head}", catalogs.DOWNLOADS)
    assert state.failure is None
    (entry,) = catalog(wait=False)
    assert entry.checkpoint is not None


def test_a_gated_repository_is_a_sentence_on_the_page_and_in_the_command(
    authors: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authors.gated = True
    (entry,) = catalog()
    assert entry.checkpoint is None
    said = f"{EOMT} is gated: accept its terms on the Hub, then sign in with `hf auth login`."
    assert entry.error == said
    assert main(["import", "eomt", EOMT, "--out", str(tmp_path / "out")]) != 0
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("pattern", "value", "said"),
    [
        (r"encoder\.backbone\.(patch_embed|pos_embed|reg)", None, "differences to DINOv3's own gated"),
        (r"class_head\.weight", torch.zeros(151, 384), "151 outputs; expected 20"),
    ],
)
def test_what_cannot_be_imported_is_listed_with_its_reason(
    authors: Repository,
    weights: dict[str, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pattern: str,
    value: torch.Tensor | None,
    said: str,
) -> None:
    """A file of differences without what they are added to, and a head of other classes."""
    changed = {key: tensor for key, tensor in weights.items() if not re.search(pattern, key)}
    if value is not None:
        changed |= {key: value for key in weights if re.search(pattern, key)}
    commit = authors.commit({"pytorch_model.bin": in_bytes(changed)})
    pinned(tmp_path, monkeypatch, {"family": "eomt", "repository": EOMT, "revision": commit})
    (entry,) = catalog()
    assert entry.checkpoint is None
    assert said in str(entry.error)


def test_the_families_are_those_with_repositories() -> None:
    field = HostedModel.model_fields["family"].annotation
    listed = {name for part in get_args(field) for name in get_args(part)}
    assert listed == {name for name, family in FAMILIES.items() if family.hub_files}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"family": "eomt", "path": "models/shipped/one"}, "family is for weights in their authors' repository"),
        ({"family": "daformer", "repository": "a/b", "revision": COMMIT}, "family"),
        ({"family": "eomt", "repository": "a/b", "revision": "main"}, "not a commit of 40 hex digits"),
    ],
)
def test_what_the_spacefile_may_not_say(tmp_path: Path, model: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_spacefile(write(tmp_path, with_values(models=[model])))
