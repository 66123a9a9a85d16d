"""Commands that serve a page: what ends them ends the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from sim2street import ROOT

SERVER = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
COMMAND = (
    "import sys; from sim2street.training.commands.server import serve; sys.exit(serve([sys.executable, '-c', {!r}]))"
)


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
