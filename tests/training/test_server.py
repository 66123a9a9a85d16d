"""Commands that serve a page: what ends them ends the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from sim2street.training.commands.server import ROOT, absolute_folders

SERVER = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
COMMAND = "import sys; from sim2street.training.commands.server import serve; sys.exit(serve([sys.executable, '-c', {!r}], {{}}))"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to pass on")
def test_a_terminated_command_takes_its_server_along() -> None:
    with subprocess.Popen([sys.executable, "-c", COMMAND.format(SERVER)], stdout=subprocess.PIPE, cwd=ROOT) as command:
        assert command.stdout is not None
        server = int(command.stdout.readline())
        command.send_signal(signal.SIGTERM)
        assert command.wait(timeout=30) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


def test_the_servers_exit_code_is_the_commands() -> None:
    assert subprocess.run([sys.executable, "-c", COMMAND.format("raise SystemExit(3)")], cwd=ROOT).returncode == 3


def test_folders_of_the_environment_do_not_depend_on_where_a_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM2STREET_CHECKPOINTS", os.pathsep.join(["runs", "/weights"]))
    assert absolute_folders()["SIM2STREET_CHECKPOINTS"].split(os.pathsep) == [os.path.abspath("runs"), "/weights"]
