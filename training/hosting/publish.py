"""Publish: a checkpoint folder -> a repository on the Hugging Face Hub, in one commit, under a tag.

Safe to repeat: existing content is neither sent nor committed again. A failure leaves the old commit or the new one, never
a mixture, because the files of a commit appear together; an interrupted upload is not visible.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from huggingface_hub import CommitOperationAdd, HfApi, ModelInfo, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from sim2street.models.errors import CheckpointError, ConfigError, Sim2StreetError
from sim2street.models.storage.checkpoint import Checkpoint
from sim2street.models.storage.files import CARD, CONFIG, METRICS, RUN_FOLDER, WEIGHTS
from sim2street.models.storage.hub import HUB_ERRORS, git_blob, hub_api, hub_sentence, no_repository
from sim2street.training.config import RunConfig, load_recipe
from sim2street.training.evaluate import Report
from sim2street.training.hosting.card import publication_card

UNTOUCHED: Final = (".gitattributes", CARD, "LICENSE")
"""Files that say nothing about the contents of a repository."""


class PublishError(Sim2StreetError):
    """A checkpoint cannot be published; the message says whether the Hub was changed and what to do."""


@dataclass(frozen=True)
class Published:
    """A published checkpoint on the Hub.

    Attributes:
        repo_id: `owner/name`.
        revision: commit of 40 hex digits; empty after a dry run.
        url: page of the repository.
        tag: tag of the commit, if one was requested.
    """

    repo_id: str
    revision: str
    url: str
    tag: str | None


def publish(
    checkpoint: Checkpoint,
    repo_id: str,
    *,
    private: bool = False,
    tag: str | None = None,
    dry_run: bool = False,
    token: str | None = None,
) -> Published:
    """Check a checkpoint and publish it on the Hub with its card.

    Args:
        checkpoint: its `metrics.json`, if any, must belong to exactly these weights.
        repo_id: `owner/name`; created if missing.
        private: make the repository private.
        tag: for example `v1`; refused if it already points to other content.
        dry_run: only check what can be checked without the Hub.
        token: by default that of `hf auth login` or HF_TOKEN.

    Raises:
        PublishError: checkpoint, name, token, repository or tag is unsuitable, or the Hub cannot be reached.
    """
    files = publication(checkpoint, repo_id)
    check_names(repo_id, tag)
    api = hub_api(token)
    url = f"{api.endpoint}/{repo_id}"
    if dry_run:
        return Published(repo_id, "", url, tag)
    require_write_token(token)
    try:
        info = _repository(api, repo_id, private)
        _refuse_foreign(api, info, repo_id)
        _refuse_moved_tag(api, info, repo_id, tag, files)
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=item) for name, item in files.items()]
        title = (
            f"{checkpoint.config.title}, step {checkpoint.config.step}, sha256 {checkpoint.config.weights_sha256[:12]}"
        )
        commit = api.create_commit(repo_id, operations, commit_message=title, parent_commit=info.sha)
    except (*HUB_ERRORS, ValueError) as error:
        raise PublishError(f"{hub_sentence(error, repo_id)} Nothing was published.") from error
    if tag is not None:
        try:
            api.create_tag(repo_id, tag=tag, revision=commit.oid, exist_ok=True)
        except HUB_ERRORS as error:
            raise PublishError(
                f"{repo_id} is published at {commit.oid} but has no tag {tag} yet: {hub_sentence(error, repo_id)}"
                " Run the same command again; nothing is sent twice."
            ) from error
    return Published(repo_id, commit.oid, url, tag)


def publication(checkpoint: Checkpoint, repo_id: str) -> dict[str, Path | bytes]:
    """Check a checkpoint and return the future contents of the repository by file name.

    Raises:
        PublishError: it is damaged, has no licence, or its metrics belong to other weights.
    """
    try:
        checkpoint = Checkpoint.open(checkpoint.path)
        checkpoint.load()
    except CheckpointError as error:
        raise PublishError(f"{error} Nothing was published.") from error
    config = checkpoint.config
    if config.licence in ("", "unknown"):
        raise PublishError(
            f"{checkpoint.path} has no licence. State the one under which others may use the weights: `licence` in the recipe,"
            f" or in {CONFIG} of the checkpoint."
        )
    strangers = [
        name for name, report in checkpoint.metrics.items() if report.get("weights_sha256") != config.weights_sha256
    ]
    if strangers:
        raise PublishError(
            f"The metrics for {strangers[0]} in {METRICS} belong to other weights. Measure them again with"
            " `sim2street evaluate`, or remove them."
        )
    for name, report in checkpoint.metrics.items():
        if missing := [field.name for field in fields(Report) if field.name not in report]:
            raise PublishError(
                f"The metrics for {name} in {METRICS} lack {', '.join(missing)}. Measure them with `sim2street evaluate`."
            )
    card = publication_card(checkpoint, repo_id, _about(checkpoint))
    metrics = json.dumps(checkpoint.metrics, indent=2, ensure_ascii=False) + "\n"
    return {
        WEIGHTS: checkpoint.path / WEIGHTS,
        CONFIG: (checkpoint.path / CONFIG).read_bytes(),
        METRICS: metrics.encode(),
        CARD: card.encode(),
    }


def check_names(repo_id: str, tag: str | None = None) -> None:
    """Refuse a repository id or tag that the Hub would not accept.

    Raises:
        PublishError: the id or tag is invalid.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise PublishError(no_repository(repo_id)) from error
    if "/" not in repo_id:
        raise PublishError(f"{repo_id!r} has no owner; expected owner/name, such as your-account/{repo_id}.")
    if tag is not None and not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", tag):
        raise PublishError(f"{tag!r} is not a valid tag; expected letters, digits, dots, - and _, such as v1.")


def require_write_token(token: str | None = None) -> str:
    """Make sure that a token has write access before hours or gigabytes are spent; return its owner.

    Raises:
        PublishError: there is no token, it is invalid or read-only, or the Hub cannot be reached.
    """
    if not (token or get_token()):
        raise PublishError(
            "There is no Hugging Face token. Sign in with `hf auth login`, or set HF_TOKEN to a token with the role `write`."
        )
    try:
        account = hub_api(token).whoami()
    except HUB_ERRORS as error:
        raise PublishError(hub_sentence(error, "your account")) from error
    if account.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise PublishError(
            "The token is read-only. Create one with the role `write` at huggingface.co/settings/tokens and sign in with it."
        )
    return account["name"]


def _repository(api: HfApi, repo_id: str, private: bool) -> ModelInfo:
    """The repository, created if missing; never a public one if a private one was requested."""
    api.create_repo(repo_id, private=private or None, exist_ok=True)
    info = api.model_info(repo_id, files_metadata=True)
    if private and not info.private:
        raise PublishError(
            f"{repo_id} already exists and is public. Make it private in its settings first, or publish under another name."
        )
    return info


def _refuse_foreign(api: HfApi, info: ModelInfo, repo_id: str) -> None:
    """Refuse a repository with another project's files."""
    names = [item.rfilename for item in info.siblings or [] if item.rfilename not in UNTOUCHED]
    if not names:
        return
    stored: Any = None
    if CONFIG in names:
        try:
            stored = json.loads(Path(api.hf_hub_download(repo_id, CONFIG, revision=info.sha)).read_text("utf-8"))
        except ValueError:
            stored = None
    if not (isinstance(stored, dict) and {"format", "weights_sha256"} <= stored.keys()):
        raise PublishError(
            f"{repo_id} is taken: it contains {names[0]}, which is not part of a Sim2Street checkpoint. Publish under another name."
        )


def _refuse_moved_tag(
    api: HfApi, info: ModelInfo, repo_id: str, tag: str | None, files: dict[str, Path | bytes]
) -> None:
    """Refuse a tag that already points to other content, before anything is sent."""
    if tag is None:
        return
    places = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo_id).tags}
    if tag not in places or (places[tag] == info.sha and _same_files(info, files)):
        return
    raise PublishError(
        f"Tag {tag} of {repo_id} already points to commit {places[tag][:12]} with other content, which others may use."
        " Choose a new tag. Nothing was published."
    )


def _same_files(info: ModelInfo, files: dict[str, Path | bytes]) -> bool:
    stored = {item.rfilename: item.lfs.sha256 if item.lfs is not None else item.blob_id for item in info.siblings or []}
    for name, item in files.items():
        data = item if isinstance(item, bytes) else item.read_bytes()
        # The Hub identifies large files by their sha256 and small ones by their git hash.
        digests = (hashlib.sha256(data).hexdigest(), git_blob(data))
        if stored.get(name) not in digests:
            return False
    return True


def _about(checkpoint: Checkpoint) -> str:
    """The recipe's description: from the run that contains the checkpoint, otherwise from the recipe it names."""
    run = checkpoint.path.parent / CONFIG
    try:
        if checkpoint.path.name == RUN_FOLDER and run.exists():
            return RunConfig.read(run).about
        return load_recipe(checkpoint.config.recipe).about
    except ConfigError:  # this version does not have the recipe
        return ""
