"""Rehearse the Dockerfile on a machine that cannot build it: run its steps one after another in an empty folder.

    python .ci/container.py            installs everything from scratch, like the image (gigabytes)
    python .ci/container.py --reuse   uses packages already installed in this environment

Tried: every ENV, ARG, WORKDIR, COPY (.dockerignore applied) and RUN in its order, then CMD on a free port until
HEALTHCHECK's own command succeeds, then a training job of one step by the installed `sim2street`. Not tried: the base
image (this Python stands in for it), useradd and the change of user, layers and their size, CUDA.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = ("FROM", "USER", "EXPOSE")
JOB = (
    "sim2street train demo_source_only_game --out runs/one --set steps=1 --set batch=1 --set workers=0"
    " --set sources.0.count=2 --set evaluations=[] --set sampling=uniform --set network_options.width=0.125"
    " --set network_options.detail_channels=8"
)


class Rehearsal:
    """A stand-in for the container: `root` is its /, into which only the steps write."""

    def __init__(self, root: Path, reuse: bool) -> None:
        self.root = root
        self.folder = root
        self.reuse = reuse
        self.environment = {
            name: value for name, value in os.environ.items() if name == "LANG" or name.startswith("PIP_")
        }
        self.environment["PATH"] = os.environ["PATH"] if reuse else os.defpath
        self.environment["SIM2STREET_CACHE"] = str(root / "cache")
        self.command: list[str] = []
        self.health: list[str] = []
        local = root / "home/user/.local"
        venv.create(local, with_pip=True)
        if reuse:
            site = next(local.glob("lib/python*/site-packages"))
            (site / "reused.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")

    def follow(self, dockerfile: str) -> None:
        """Run every instruction."""
        text = re.sub(r"\\\n", " ", "\n".join(line for line in dockerfile.splitlines() if not line.startswith("#")))
        for line in filter(str.strip, text.splitlines()):
            name, _, rest = line.strip().partition(" ")
            print(f"{'skip' if name in SKIPPED else 'step'}  {line}", flush=True)
            if name not in SKIPPED:
                getattr(self, f"do_{name.lower()}")(rest.strip())

    def do_env(self, rest: str) -> None:
        for name, value in (item.split("=", 1) for item in shlex.split(rest)):
            self.environment[name] = self.expand(re.sub(r"(?<![\w.])/home", f"{self.root}/home", value))

    def do_arg(self, rest: str) -> None:
        name, _, value = rest.partition("=")
        self.environment.setdefault(name, os.environ.get(name, value))

    def do_workdir(self, rest: str) -> None:
        self.folder = self.root / rest.lstrip("/")
        if not self.folder.is_dir():
            raise SystemExit(f"root would create WORKDIR {rest}, so the user could not write into it")

    def do_copy(self, rest: str) -> None:
        *sources, place = [part for part in rest.split() if not part.startswith("--")]
        for source in sources:
            if self.ignored(source):
                raise SystemExit(f".dockerignore excludes COPY {source}")
            target = self.folder / place / (source if place.endswith("/") else "")
            if (ROOT / source).is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, target, dirs_exist_ok=True, ignore=ignore)
            else:
                shutil.copy(ROOT / source, target)

    def do_run(self, rest: str) -> None:
        if rest.startswith("useradd"):
            print("      not tried: it needs root")
            return
        # In a virtual environment, which stands in for the user's own packages, --user has no meaning.
        command = rest.replace("/home/user", f"{self.root}/home/user").replace("--user ", "")
        if self.reuse:
            command = command.replace('--index-url "$TORCH_INDEX"', "")
        self.run(command)

    def do_healthcheck(self, rest: str) -> None:
        self.health = json.loads(rest.partition("CMD ")[2])

    def do_cmd(self, rest: str) -> None:
        self.command = json.loads(rest)

    def run(self, command: str) -> None:
        subprocess.run(["sh", "-c", command], cwd=self.folder, env=self.environment, check=True)

    def serve(self) -> None:
        """Start CMD on a free port and wait for HEALTHCHECK."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.environment["PORT"] = str(free.getsockname()[1])
        server = subprocess.Popen(self.command, cwd=self.folder, env=self.environment, start_new_session=True)
        try:
            for _ in range(120):
                check = subprocess.run(
                    self.health,
                    cwd=self.folder,
                    env=self.environment,
                    stderr=subprocess.DEVNULL,
                    check=False,
                )
                if check.returncode == 0:
                    print("      healthy")
                    return
                time.sleep(1)
            raise SystemExit("the health check never succeeded")
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)

    def expand(self, value: str) -> str:
        return re.sub(r"\$(\w+)", lambda match: self.environment.get(match[1], ""), value)

    @staticmethod
    def ignored(source: str) -> bool:
        patterns = (ROOT / ".dockerignore").read_text().split()
        return any(fnmatch.fnmatch(source, pattern) for pattern in patterns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reuse", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="container_") as folder:
        rehearsal = Rehearsal(Path(folder), options.reuse)
        rehearsal.follow((ROOT / "Dockerfile").read_text())
        print(f"CMD   {' '.join(rehearsal.command)}", flush=True)
        rehearsal.serve()
        print(f"JOB   {JOB}", flush=True)
        rehearsal.run(JOB)
    print("The Dockerfile's steps work, as far as they could be tried.")


if __name__ == "__main__":
    main()
