"""Requests to end: heeded once, without half-written files, and by this process alone."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from sim2street.models.storage.files import written_whole
from sim2street.training.cli import main
from sim2street.training.datasets import writer
from sim2street.training.run import signals

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows cannot send these signals")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["asked", "terminal closed"])
def test_a_command_that_is_ended_leaves_nothing_half_written(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end_while_writing(path: Path, data: bytes) -> None:
        with written_whole(path) as partial:
            partial.write_bytes(data[:10])
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)  # as `timeout` does, to the process and to its group
            time.sleep(5)

    monkeypatch.setattr(writer, "write_whole", end_while_writing)
    given = signal.signal(number, signal.SIG_DFL)  # nohup, under which tests may run, ignores a closed terminal
    try:
        assert main(["render", "--count", "2", "--size", "64x48", "--out", str(tmp_path)]) == 130
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, given)
    assert capsys.readouterr().err.endswith("Stopped.\n")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_training_hears_a_signal_sent_twice_as_one_request() -> None:
    with signals.stop_signals() as stopped:
        assert not stopped.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.wait(5)


def test_a_process_that_was_split_off_dies_of_the_signal() -> None:
    with signals.termination_interrupts():
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
        time.sleep(0.1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM
