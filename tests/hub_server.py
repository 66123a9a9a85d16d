"""A Hub in memory that the real huggingface_hub client talks to: repositories, commits, LFS, tags, Spaces, Jobs, faults.

It answers as the Hub does where our code looks: roles of tokens, one commit after another with its parent checked,
large files by their sha256, error codes in headers. Only what is sent here exists; nothing is read from a network.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

WRITE, READ = "hf_write_token", "hf_read_token"
USER = "maker"
LARGE = (".safetensors",)
"""Suffixes that the Hub keeps by LFS."""
START = "0" * 40


@dataclass
class Repository:
    """Commits from the first, empty one; every commit is the whole tree."""

    id: str
    kind: str = "model"
    private: bool = False
    gated: bool = False
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=lambda: [(START, {})])
    tags: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return self.commits[-1][0]

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1][1]

    def resolve(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        wanted = self.head if revision == "main" else self.tags.get(revision, revision)
        return next((commit for commit in self.commits if commit[0] == wanted), None)

    def commit(self, files: dict[str, bytes]) -> str:
        """Add a commit whose tree is `files`; return its name."""
        content = "".join(f"{name}{hashlib.sha1(data).hexdigest()}" for name, data in sorted(files.items()))
        oid = hashlib.sha1(f"{self.head}{len(self.commits)}{content}".encode()).hexdigest()
        self.commits.append((oid, dict(files)))
        return oid


@dataclass
class Fault:
    """What goes wrong with requests whose "METHOD /path" holds `match`, so many times.

    `status` answers with that code, `cut` closes the line after half of the body, `slow` waits `seconds` first,
    `spoil` flips the last bytes of the body.
    """

    match: str
    kind: Literal["status", "cut", "slow", "spoil"]
    status: int = 503
    times: int = 1
    seconds: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)


class HubServer(ThreadingHTTPServer):
    """State of the Hub; `requests` lists what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tokens = {WRITE: (USER, "write"), READ: (USER, "read")}
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large: dict[str, bytes] = {}
        self.collections: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.lock = threading.RLock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, repo_id: str, files: dict[str, bytes] | None = None, **options: Any) -> Repository:
        """Put a repository with one commit of `files` on the Hub."""
        repository = Repository(repo_id, **options)
        if files:
            repository.commit(files)
        self.repositories[repository.kind, repo_id] = repository
        return repository

    def model(self, repo_id: str) -> Repository:
        return self.repositories["model", repo_id]

    def space(self, repo_id: str) -> Repository:
        return self.repositories["space", repo_id]

    def asked(self, part: str) -> int:
        """How many requests held `part`."""
        return sum(part in request for request in self.requests)


@contextmanager
def running_hub() -> Iterator[HubServer]:
    """Serve until the block ends."""
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str = "", *, code: str = "", body: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.body = status, message, code, body


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def answer(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def handle_any(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        self.route, self.query = unquote(parts.path), parse_qs(parts.query)
        asked = f"{self.command} {self.route}"
        with self.server.lock:
            self.server.requests.append(asked)
            fault = next((f for f in self.server.faults if f.match in asked and f.times > 0), None)
            if fault is not None:
                fault.times -= 1
        if fault is not None and fault.kind == "slow":
            time.sleep(fault.seconds)
        if fault is not None and fault.kind == "status":
            return self.answer(fault.status, b'{"error": "fault"}', fault.headers)
        try:
            with self.server.lock:
                body, headers = self.dispatch()
        except Refusal as refusal:
            content = json.dumps(refusal.body or {"error": refusal.message}).encode()
            headers = {"X-Error-Message": refusal.message} if refusal.message else {}
            return self.answer(
                refusal.status, content, headers | ({"X-Error-Code": refusal.code} if refusal.code else {})
            )
        if fault is not None and fault.kind == "spoil":
            body = body[:-8] + bytes(byte ^ 0xFF for byte in body[-8:])
        status = 206 if "Content-Range" in headers else 200
        self.answer(status, body, headers, cut=fault is not None and fault.kind == "cut")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    # ---- who asks, and for what --------------------------------------------------------------------------------

    def account(self, *, write: bool = False) -> str:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in self.server.tokens:
            raise Refusal(401, "Invalid username or password.")
        name, role = self.server.tokens[token]
        if write and role != "write":
            raise Refusal(403, "You don't have the rights to write with this token.")
        return name

    def repository(self, kind: str, repo_id: str, *, write: bool = False) -> Repository:
        found = self.server.repositories.get((kind, repo_id))
        if write and self.account(write=True) != repo_id.partition("/")[0]:
            raise Refusal(403, f"You don't have the rights to write to {repo_id}.")
        if found is None:
            raise Refusal(404, "Repository not found", code="RepoNotFound")
        if found.gated:
            raise Refusal(403, "Access is restricted", code="GatedRepo")
        if found.private and not write:
            try:
                self.account()
            except Refusal:
                raise Refusal(404, "Repository not found", code="RepoNotFound") from None
        return found

    @property
    def content(self) -> dict[str, Any]:
        return json.loads(self.body or b"{}")

    def dispatch(self) -> tuple[bytes, dict[str, str]]:
        for method, pattern, name in ROUTES:
            match = re.fullmatch(pattern, self.route)
            if match and self.command in (method, "HEAD" if method == "GET" else method):
                found = getattr(self, name)(**match.groupdict())
                if isinstance(found, tuple):
                    return found
                return json.dumps(found).encode(), {"Content-Type": "application/json"}
        raise Refusal(404, f"no route for {self.command} {self.route}")

    # ---- repositories ------------------------------------------------------------------------------------------

    def whoami(self) -> dict[str, Any]:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        name = self.account()
        role = self.server.tokens[token][1]
        return {
            "type": "user", "name": name, "fullname": name, "orgs": [],
            "auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": role}},
        }  # fmt: skip

    def create(self) -> dict[str, Any]:
        account, wanted = self.account(write=True), self.content
        kind = wanted.get("type") or "model"
        owner = wanted.get("organization") or account
        if owner != account:
            raise Refusal(403, f"You don't have the rights to create a {kind} under the namespace {owner}.")
        repo_id = f"{owner}/{wanted['name']}"
        prefix = "" if kind == "model" else f"{kind}s/"
        url = {"url": f"{self.server.url}/{prefix}{repo_id}"}
        if (kind, repo_id) in self.server.repositories:
            raise Refusal(409, "You already created this repo", body=url)
        private = wanted.get("private") or wanted.get("visibility") == "private"
        self.server.add(repo_id, kind=kind, private=bool(private), settings={"sdk": wanted.get("sdk")})
        return url

    def info(self, kind: str, repo: str, revision: str = "main") -> dict[str, Any]:
        repository = self.repository(kind, repo)
        commit = repository.resolve(revision)
        if commit is None:
            raise Refusal(404, "Revision not found", code="RevisionNotFound")
        siblings = [{"rfilename": name, **_blob(name, data)} for name, data in commit[1].items()]
        tags = {"id": repo, "sha": commit[0], "private": repository.private, "siblings": siblings, "tags": []}
        return tags if kind == "model" else {**tags, "sdk": repository.settings.get("sdk")}

    def tree(self, kind: str, repo: str, revision: str) -> list[dict[str, Any]]:
        commit = self.repository(kind, repo).resolve(revision)
        if commit is None:
            raise Refusal(404, "Revision not found", code="RevisionNotFound")
        return [
            {"type": "file", "path": name, "size": len(data), "oid": _git_blob(data)}
            | ({"lfs": {"oid": _sha256(data), "size": len(data), "pointerSize": 130}} if name.endswith(LARGE) else {})
            for name, data in commit[1].items()
        ]

    def refs(self, kind: str, repo: str) -> dict[str, Any]:
        repository = self.repository(kind, repo)
        tags = [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid} for name, oid in repository.tags.items()
        ]
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repository.head}
        return {"branches": [main], "tags": tags, "converts": []}

    def resolve(self, repo: str, revision: str, file: str, kind: str | None = None) -> tuple[bytes, dict[str, str]]:
        commit = self.repository((kind or "models").removesuffix("s"), repo).resolve(revision)
        if commit is None:
            raise Refusal(404, "Revision not found", code="RevisionNotFound")
        if file not in commit[1]:
            raise Refusal(404, "Entry not found", code="EntryNotFound")
        data = commit[1][file]
        headers = {"X-Repo-Commit": commit[0], "Accept-Ranges": "bytes"}
        if file.endswith(LARGE):
            headers |= {
                "ETag": f'"{_sha256(data)}"',
                "X-Linked-Etag": f'"{_sha256(data)}"',
                "X-Linked-Size": str(len(data)),
            }
        else:
            headers["ETag"] = f'"{_git_blob(data)}"'
        begin = re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("Range") or "")
        if begin:
            headers["Content-Range"] = f"bytes {begin[1]}-{len(data) - 1}/{len(data)}"
            data = data[int(begin[1]) :]
        return data, headers

    def validate(self) -> dict[str, Any]:
        return {"errors": [], "warnings": []}

    def preupload(self, kind: str, repo: str, revision: str) -> dict[str, Any]:
        repository = self.repository(kind, repo, write=True)
        modes = []
        for item in self.content["files"]:
            name = item["path"]
            large = name.endswith(LARGE) and item["size"] > 0
            known = {"oid": _blob(name, repository.files[name])["oid"]} if name in repository.files else {}
            modes.append({"path": name, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, **known})
        return {"files": modes}

    def lfs_batch(self, repo: str, kind: str | None = None) -> dict[str, Any]:
        self.repository((kind or "models").removesuffix("s"), repo, write=True)
        objects = []
        for item in self.content["objects"]:
            entry = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.server.large:
                entry["actions"] = {
                    "upload": {"href": f"{self.server.url}/lfs/{item['oid']}?signature=secret", "header": {}}
                }
            objects.append(entry)
        return {"transfer": "basic", "objects": objects}

    def lfs_put(self, oid: str) -> dict[str, Any]:
        if _sha256(self.body) != oid:
            raise Refusal(400, "sha256 does not match")
        self.server.large[oid] = self.body
        return {}

    def commit(self, kind: str, repo: str, revision: str) -> dict[str, Any]:
        repository = self.repository(kind, repo, write=True)
        files, header = dict(repository.files), {}
        for line in self.body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                header = value
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                if value["oid"] not in self.server.large:
                    raise Refusal(400, f"LFS object {value['oid']} was never uploaded")
                files[value["path"]] = self.server.large[value["oid"]]
            elif entry["key"] == "deletedFile":
                files.pop(value["path"])
            elif entry["key"] == "deletedFolder":
                files = {name: data for name, data in files.items() if not name.startswith(value["path"])}
        if header.get("parentCommit") not in (None, repository.head):
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        oid = repository.commit(files)
        return {"success": True, "commitOid": oid, "commitUrl": f"{self.server.url}/{repo}/commit/{oid}"}

    def tag(self, kind: str, repo: str, revision: str) -> dict[str, Any]:
        repository, name = self.repository(kind, repo, write=True), self.content["tag"]
        commit = repository.resolve(revision)
        if commit is None:
            raise Refusal(404, "Revision not found", code="RevisionNotFound")
        if name in repository.tags:
            raise Refusal(409, "Tag reference exists already")
        repository.tags[name] = commit[0]
        return {}

    # ---- Spaces ------------------------------------------------------------------------------------------------

    def space_values(self, repo: str, what: str) -> dict[str, Any]:
        space = self.repository("space", repo, write=True)
        values = space.variables if what == "variables" else space.secrets
        if self.command == "POST":
            values[self.content["key"]] = self.content["value"]
        if self.command == "DELETE":
            values.pop(self.content["key"])
        hidden = what == "secrets"
        return {key: {"key": key} if hidden else {"key": key, "value": value} for key, value in values.items()}

    def space_hardware(self, repo: str) -> dict[str, Any]:
        space = self.repository("space", repo, write=True)
        space.settings["hardware"] = self.content["flavor"]
        space.settings["sleep"] = self.content.get("sleepTimeSeconds")
        return self.space_runtime(repo)

    def space_runtime(self, repo: str) -> dict[str, Any]:
        settings = self.repository("space", repo).settings
        flavor = settings.get("hardware", "cpu-basic")
        hardware = {"current": flavor, "requested": flavor}
        return {"stage": settings.get("stage", "RUNNING"), "hardware": hardware, "gcTimeout": settings.get("sleep")}

    # ---- collections -------------------------------------------------------------------------------------------

    def make_collection(self) -> dict[str, Any]:
        account, wanted = self.account(write=True), self.content
        slug = f"{wanted['namespace']}/{re.sub(r'[^a-z0-9]+', '-', wanted['title'].lower())}-1"
        if wanted["namespace"] != account:
            raise Refusal(403, "You don't have the rights to create a collection here.")
        if slug in self.server.collections:
            raise Refusal(409, "exists", body={"slug": slug})
        self.server.collections[slug] = {
            "slug": slug, "title": wanted["title"], "owner": {"name": account}, "items": [], "position": 0,
            "description": wanted.get("description"), "lastUpdated": "2026-01-01T00:00:00.000Z", "private": False,
            "theme": "green", "upvotes": 0,
        }  # fmt: skip
        return self.server.collections[slug]

    def collection(self, slug: str) -> dict[str, Any]:
        return self.server.collections[slug]

    def collection_item(self, slug: str) -> dict[str, Any]:
        self.account(write=True)
        item, items = self.content["item"], self.server.collections[slug]["items"]
        if any((known["id"], known["type"]) == (item["id"], item["type"]) for known in items):
            raise Refusal(409, "Item already exists")
        items.append({"_id": str(len(items)), "position": len(items), "note": None, **item})
        return self.server.collections[slug]

    # ---- Jobs --------------------------------------------------------------------------------------------------

    def run_job(self, namespace: str) -> dict[str, Any]:
        self.account(write=True)
        job_id = f"job{len(self.server.jobs)}"
        self.server.jobs[job_id] = {
            "id": job_id, "owner": {"id": "1", "name": namespace, "type": "user"},
            "status": {"stage": "RUNNING", "message": None}, "createdAt": "2026-01-01T00:00:00.000Z",
            "environment": self.content.get("environment") or {}, "secrets": {}, "logs": [],
            **{key: self.content.get(key) for key in ("command", "arguments", "flavor", "dockerImage", "labels")},
        }  # fmt: skip
        return self.server.jobs[job_id]

    def list_jobs(self, namespace: str) -> list[dict[str, Any]]:
        self.account()
        wanted = dict(label.split("=", 1) for label in self.query.get("label", []))
        mine = [job for job in self.server.jobs.values() if job["owner"]["name"] == namespace]
        return [job for job in mine if wanted.items() <= (job["labels"] or {}).items()]

    def job_hardware(self) -> list[dict[str, Any]]:
        gpu = {"type": "gpu", "model": "T4", "quantity": "1", "vram": "16 GB", "manufacturer": "Nvidia"}
        common = {"cpu": "4 vCPU", "ram": "15 GB", "unitLabel": "minute"}
        return [
            {"name": "t4-small", "prettyName": "T4 small", "accelerator": gpu, **common, "unitCostMicroUSD": 6667, "unitCostUSD": 0.4 / 60},
            {"name": "cpu-basic", "prettyName": "CPU basic", **common, "unitCostMicroUSD": 167, "unitCostUSD": 0.01 / 60},
        ]  # fmt: skip

    def job(self, namespace: str, job_id: str) -> dict[str, Any]:
        self.account()
        if job_id not in self.server.jobs:
            raise Refusal(404, "Job not found")
        return self.server.jobs[job_id]

    def cancel_job(self, namespace: str, job_id: str) -> dict[str, Any]:
        job = self.job(namespace, job_id)
        job["status"] = {"stage": "CANCELED", "message": None}
        return job

    def job_logs(self, namespace: str, job_id: str) -> tuple[bytes, dict[str, str]]:
        lines = [
            {"data": line, "timestamp": "2026-01-01T00:00:00.000Z"} for line in self.job(namespace, job_id)["logs"]
        ]
        body = "".join(f"data: {json.dumps(line)}\n\n" for line in lines).encode()
        return body, {"Content-Type": "text/event-stream", "Connection": "close"}


def _git_blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _blob(name: str, data: bytes) -> dict[str, Any]:
    if not name.endswith(LARGE):
        return {"oid": _git_blob(data), "blobId": _git_blob(data), "size": len(data)}
    lfs = {"sha256": _sha256(data), "size": len(data), "pointerSize": 130}
    return {"oid": _sha256(data), "blobId": _git_blob(data), "size": len(data), "lfs": lfs}


_REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
_API = rf"/api/(?P<kind>model|space)s/{_REPO}"
ROUTES = [
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/repos/create", "create"),
    ("POST", r"/api/validate-yaml", "validate"),
    ("GET", rf"{_API}/revision/(?P<revision>.+)", "info"),
    ("GET", rf"{_API}/tree/(?P<revision>[^/]+)", "tree"),
    ("GET", rf"{_API}/refs", "refs"),
    ("POST", rf"{_API}/preupload/(?P<revision>.+)", "preupload"),
    ("POST", rf"{_API}/commit/(?P<revision>.+)", "commit"),
    ("POST", rf"{_API}/tag/(?P<revision>.+)", "tag"),
    ("GET", rf"/api/spaces/{_REPO}/runtime", "space_runtime"),
    ("POST", rf"/api/spaces/{_REPO}/hardware", "space_hardware"),
    *((m, rf"/api/spaces/{_REPO}/(?P<what>variables|secrets)", "space_values") for m in ("GET", "POST", "DELETE")),
    ("GET", _API, "info"),
    ("POST", rf"(/(?P<kind>spaces))?/{_REPO}\.git/info/lfs/objects/batch", "lfs_batch"),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_put"),
    ("GET", rf"(/(?P<kind>spaces))?/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", "resolve"),
    ("POST", r"/api/collections", "make_collection"),
    ("GET", r"/api/collections/(?P<slug>[\w.-]+/[\w.-]+)", "collection"),
    ("POST", r"/api/collections/(?P<slug>[\w.-]+/[\w.-]+)/items", "collection_item"),
    ("GET", r"/api/jobs/hardware", "job_hardware"),
    ("POST", r"/api/jobs/(?P<namespace>[\w-]+)", "run_job"),
    ("GET", r"/api/jobs/(?P<namespace>[\w-]+)", "list_jobs"),
    ("GET", r"/api/jobs/(?P<namespace>[\w-]+)/(?P<job_id>\w+)", "job"),
    ("POST", r"/api/jobs/(?P<namespace>[\w-]+)/(?P<job_id>\w+)/cancel", "cancel_job"),
    ("GET", r"/api/jobs/(?P<namespace>[\w-]+)/(?P<job_id>\w+)/logs", "job_logs"),
]
