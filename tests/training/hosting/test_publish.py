"""Publishing with the real huggingface_hub client to a local Hub: once, again, and when something goes wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import metadata_load

from sim2street.models.networks import build
from sim2street.models.storage.catalog import SHIPPED, find_checkpoint
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import METRICS, write_json
from sim2street.training.cli import main
from sim2street.training.hosting.card import card_data, write_card
from sim2street.training.hosting.publish import PublishError, publish
from tests.hub_server import READ, WRITE, Fault, HubServer
from tests.models.storage.test_checkpoint import CONFIG
from tests.models.test_deeplab_v2 import SLIM

REPOSITORY = "maker/advent"


def save(folder: Path, seed: int = 0, **changes: Any) -> Checkpoint:
    """A small checkpoint with figures of its own weights."""
    torch.manual_seed(seed)
    fields = {
        "title": "ADVENT",
        "method": "advent",
        "source": "street_scenes/game",
        "target": "camvid/train",
        **changes,
    }
    saved = Checkpoint.save(folder, build("deeplab_v2", options=SLIM), CONFIG.model_copy(update=fields))
    report = {
        "miou": 0.4, "iou_per_class": {"road": 0.8, "train": None}, "label_space": "cityscapes19", "images": 3,
        "ece": 0.05, "seconds_per_image": 0.1, "weights_sha256": saved.config.weights_sha256,
    }  # fmt: skip
    write_json(saved.path / METRICS, {"camvid/val": report})
    return Checkpoint.open(saved.path)


@pytest.fixture
def checkpoint(tmp_path: Path, hub: HubServer) -> Checkpoint:
    return save(tmp_path / "mine")


def test_a_card_names_each_data_set_once_in_words(checkpoint: Checkpoint) -> None:
    sources = "street_scenes/game + street_scenes/game + street_scenes/fog + folder + folder"
    card = write_card(checkpoint.config.model_copy(update={"source": sources}), "", {})
    assert (
        "Labelled source: rendered streets (game), rendered streets (fog), own labelled or pseudo-labelled photos\n"
        in card
    )
    assert "Unlabelled target: CamVid (train)\n" in card


def test_four_files_in_one_commit_under_a_tag(hub: HubServer, checkpoint: Checkpoint) -> None:
    published = publish(checkpoint, REPOSITORY, tag="v1")
    repository = hub.model(REPOSITORY)
    assert len(repository.commits) == 2
    assert published.revision == repository.head
    assert repository.tags == {"v1": repository.head}
    assert set(repository.files) == {"model.safetensors", "config.json", "metrics.json", "README.md"}
    assert not repository.private
    fetched = find_checkpoint(f"{REPOSITORY}@v1")
    assert fetched.config == checkpoint.config
    assert fetched.metrics == checkpoint.metrics
    assert fetched.load().state_dict().keys() == checkpoint.load().state_dict().keys()


def test_publishing_again_changes_and_sends_nothing(hub: HubServer, checkpoint: Checkpoint) -> None:
    first = publish(checkpoint, REPOSITORY, tag="v1")
    sent = hub.asked("PUT /lfs")
    assert publish(checkpoint, REPOSITORY, tag="v1") == first
    assert len(hub.model(REPOSITORY).commits) == 2
    assert hub.asked("PUT /lfs") == sent == 1


def test_new_weights_are_a_new_commit_and_the_old_tag_stays(
    hub: HubServer, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    first = publish(checkpoint, REPOSITORY, tag="v1")
    better = save(tmp_path / "better", seed=1)
    with pytest.raises(PublishError, match=r"Tag v1 .* points to commit .* Choose a new tag"):
        publish(better, REPOSITORY, tag="v1")
    assert hub.model(REPOSITORY).head == first.revision
    second = publish(better, REPOSITORY, tag="v2")
    assert hub.model(REPOSITORY).tags == {"v1": first.revision, "v2": second.revision}


def test_private_is_private_and_never_put_into_a_public_one(hub: HubServer, checkpoint: Checkpoint) -> None:
    publish(checkpoint, "maker/hidden", private=True)
    assert hub.model("maker/hidden").private
    publish(checkpoint, REPOSITORY)
    with pytest.raises(PublishError, match="already exists and is public"):
        publish(checkpoint, REPOSITORY, private=True)


def test_dry_run_asks_nobody(hub: HubServer, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    published = publish(checkpoint, REPOSITORY, tag="v1", dry_run=True)
    assert (published.repo_id, published.revision, published.tag) == (REPOSITORY, "", "v1")
    assert hub.requests == []


@pytest.mark.parametrize(
    ("licence", "license", "name"),
    [
        ("cc-by-nc-4.0", "cc-by-nc-4.0", None),
        ("apache-2.0 and cc-by-nc-4.0", "other", "apache-2.0-and-cc-by-nc-4.0"),
        ("My Terms", "other", "my-terms"),
    ],
)
def test_the_hub_is_told_a_licence_that_it_knows(tmp_path: Path, licence: str, license: str, name: str | None) -> None:
    data = card_data(save(tmp_path / "mine", licence=licence)).to_dict()
    assert (data["license"], data.get("license_name")) == (license, name)


def test_the_card_holds_figures_terms_and_the_paper(hub: HubServer, checkpoint: Checkpoint, tmp_path: Path) -> None:
    publish(checkpoint, REPOSITORY)
    card = tmp_path / "card.md"
    card.write_bytes(hub.model(REPOSITORY).files["README.md"])
    data = metadata_load(card)
    assert data is not None
    assert data["license"] == "apache-2.0"
    assert "arxiv:1811.12833" in data["tags"]
    result = data["model-index"][0]["results"][0]
    assert result["dataset"]["type"] == "camvid"
    values = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert values == {"mIoU": 0.4, "ECE": 0.05, "IoU road": 0.8}
    text = card.read_text()
    for words in (
        "| road | 80.0 |",
        "| train | – |",
        "CVPR 2019",
        "for research and teaching",
        "## Limits",
        REPOSITORY,
    ):
        assert words in text
    assert WRITE not in text


@pytest.mark.parametrize(
    ("repo_id", "tag", "words"),
    [
        ("advent", None, "has no owner"),
        ("maker/a b", None, "not a repository id; expected owner/name of letters"),
        ("maker/advent", "v 1", "not a valid tag"),
        ("other/advent", None, "does not permit this for other/advent"),
    ],
)
def test_a_name_that_will_not_do(
    hub: HubServer, checkpoint: Checkpoint, repo_id: str, tag: str | None, words: str
) -> None:
    with pytest.raises(PublishError, match=words):
        publish(checkpoint, repo_id, tag=tag)
    assert not hub.repositories


@pytest.mark.parametrize(
    ("token", "words"), [("", "no Hugging Face token"), ("hf_wrong", "not accept the token"), (READ, "is read-only")]
)
def test_a_token_that_will_not_do(
    hub: HubServer, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, token: str, words: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(PublishError, match=words) as caught:
        publish(checkpoint, REPOSITORY)
    assert not hub.repositories
    assert "hf_wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/preupload/", 503, "server error"),
        ("PUT /lfs", 500, "server error"),
        ("/commit/", 412, "Someone else changed"),
        ("/commit/", 429, "rate limit"),
        ("/commit/", 402, "paid plan"),
        ("/commit/", 403, "does not permit this"),
    ],
)
def test_a_failure_leaves_the_old_revision(
    hub: HubServer, checkpoint: Checkpoint, tmp_path: Path, path: str, status: int, words: str
) -> None:
    first = publish(checkpoint, REPOSITORY)
    better = save(tmp_path / "better", seed=1)
    hub.faults.append(Fault(path, "status", status=status, times=99))
    with pytest.raises(PublishError, match=words) as caught:
        publish(better, REPOSITORY, tag="v2")
    assert "Nothing was published" in str(caught.value)
    assert "signature" not in str(caught.value)
    assert hub.model(REPOSITORY).head == first.revision
    hub.faults.clear()
    assert publish(better, REPOSITORY, tag="v2").revision == hub.model(REPOSITORY).head


def test_a_cut_connection_leaves_the_old_revision(hub: HubServer, checkpoint: Checkpoint) -> None:
    hub.faults.append(Fault("/commit/", "cut", times=99))
    with pytest.raises(PublishError, match="broke off"):
        publish(checkpoint, REPOSITORY)
    hub.faults.clear()
    publish(checkpoint, REPOSITORY)  # whether or not the Hub had heard it: one commit with these files, no second
    assert len(hub.model(REPOSITORY).commits) == 2


def test_a_tag_that_failed_is_set_by_the_next_try(hub: HubServer, checkpoint: Checkpoint) -> None:
    hub.faults.append(Fault("/tag/", "status", status=500, times=99))
    with pytest.raises(PublishError, match=r"published at .* but has no tag v1 yet"):
        publish(checkpoint, REPOSITORY, tag="v1")
    hub.faults.clear()
    published = publish(checkpoint, REPOSITORY, tag="v1")
    assert hub.model(REPOSITORY).tags == {"v1": published.revision}
    assert len(hub.model(REPOSITORY).commits) == 2


def test_another_projects_repository_is_left_alone(hub: HubServer, checkpoint: Checkpoint) -> None:
    for files in ({"pytorch_model.bin": b"x"}, {"config.json": b'{"architectures": ["Bert"]}'}):
        theirs = hub.add(REPOSITORY, files)
        with pytest.raises(PublishError, match="is taken: it contains"):
            publish(checkpoint, REPOSITORY)
        assert theirs.files == files


def test_a_damaged_checkpoint_is_not_published(hub: HubServer, checkpoint: Checkpoint) -> None:
    (checkpoint.path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(PublishError, match="damaged or was replaced"):
        publish(checkpoint, REPOSITORY)
    assert hub.requests == []


def test_figures_of_other_weights_are_not_published(hub: HubServer, checkpoint: Checkpoint, tmp_path: Path) -> None:
    other = save(tmp_path / "other", seed=1)
    shutil.copy(other.path / METRICS, checkpoint.path / METRICS)
    with pytest.raises(PublishError, match="belong to other weights"):
        publish(Checkpoint.open(checkpoint.path), REPOSITORY)


def test_figures_that_are_no_reports_are_not_published(hub: HubServer, checkpoint: Checkpoint) -> None:
    write_json(
        checkpoint.path / METRICS,
        {"x": {"miou": 0.1, "images": 1, "weights_sha256": checkpoint.config.weights_sha256}},
    )
    with pytest.raises(PublishError, match="lack iou_per_class"):
        publish(Checkpoint.open(checkpoint.path), REPOSITORY)


def test_without_a_licence_nothing_is_published(hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="has no licence"):
        publish(save(tmp_path / "mine", licence="unknown"), REPOSITORY)


@pytest.mark.parametrize("name", [path.name for path in sorted(SHIPPED.iterdir()) if path.is_dir()])
def test_every_shipped_checkpoint_can_be_published(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", name, f"maker/{name}", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    front = yaml.safe_load(printed.split("---")[1])
    stored = json.loads((SHIPPED / name / METRICS).read_text())
    measured = {result["dataset"]["name"] for result in front["model-index"][0]["results"]}
    assert len(measured) == len(stored)
    assert "Nothing was sent" in printed


def test_the_command_publishes_and_writes_the_spacefile(
    hub: HubServer,
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spacefile = tmp_path / "Spacefile"
    spacefile.write_text(
        "# What is hosted.\nschema: 1\nspace: {id: demo, title: Demo, sdk: docker, app_port: 8501}\nmodels:\n- path: mine\n"
    )
    monkeypatch.setattr("sim2street.models.storage.spacefile.DEFAULT", spacefile)
    assert main(["publish", str(checkpoint.path), REPOSITORY, "--tag", "v1"]) == 0
    head = hub.model(REPOSITORY).head
    assert head in capsys.readouterr().out
    text = spacefile.read_text()
    assert text.startswith("# What is hosted.\nschema: 1\n")
    assert yaml.safe_load(text)["models"] == [{"path": "mine", "repository": REPOSITORY, "revision": head}]


SHORT = [
    *("steps=1", "batch=1", "workers=0", "sources.0.count=2", "evaluations=[]", "sampling=uniform"),
    *("network_options.width=0.125", "network_options.detail_channels=8"),
]
TRAIN = ["train", "demo_source_only_game", *(part for value in SHORT for part in ("--set", value))]


def test_training_publishes_when_it_is_done(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIM2STREET_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "run"
    hub.faults.append(Fault("/commit/", "status", status=503, times=99))
    assert main([*TRAIN, "--out", str(out), "--publish", REPOSITORY]) == 2
    complaint = capsys.readouterr().err
    assert f"sim2street publish {out / 'checkpoint'} {REPOSITORY}" in complaint
    hub.faults.clear()
    assert main(["train", "--resume", str(out), "--publish", REPOSITORY]) == 0
    assert hub.model(REPOSITORY).head in capsys.readouterr().out
    assert b"Trained from scratch" in hub.model(REPOSITORY).files["README.md"], "the recipe's own words"


def test_training_does_not_begin_without_a_token_that_may_write(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", READ)
    assert main([*TRAIN, "--out", str(tmp_path / "run"), "--publish", REPOSITORY]) == 2
    assert "is read-only" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
