"""Decode untrusted pictures in worker processes, with limits on time and memory.

Decoders are C code that cannot be interrupted and may hold the GIL, so a server decodes uploads in a few workers. A worker
that takes too long is killed and replaced; one that needs too much memory fails without affecting the server; requests
wait up to a limit while all workers are busy. An upload can thus exhaust neither the server's time nor its memory. The
command line decodes in its own process, where the user can press Ctrl-C. Imports no UI library.
"""

from __future__ import annotations

import atexit
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Final, ParamSpec, TypeVar

from sim2street import child_environment
from sim2street.app.content.limits import ByteBudget, LimitError
from sim2street.models.errors import PhotoError

P = ParamSpec("P")
T = TypeVar("T")

WORKERS: Final = 2
"""Number of worker processes, and so of pictures decoded at once."""
SECONDS: Final = 15.0
"""Time limit for one picture; 60 megapixels take two to five seconds."""
MEMORY: Final = 2**30
"""Bytes that a worker may use on top of what it starts with; benchmarks/memory.py measures what photos need."""
LINE_BYTES: Final = 256 * 2**20
"""Largest total size of the files being decoded or waiting."""
LINE_SECONDS: Final = 30.0
"""Longest wait for a free worker."""
STARTING: Final = 120.0
"""Time limit for the start of a worker; generous, for busy machines."""
UPRIGHT_TRANSPOSITION: Final = 100
"""Number of pictures after which a worker is replaced, so that a decoder's memory leak cannot accumulate."""
LENGTH: Final = struct.Struct(">Q")


class _Late(Exception):
    """No answer before the deadline."""


class Worker:
    """One worker process; only one thread may use it at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-m", __spec__.name if __spec__ else __name__]
        environment = child_environment() | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.turns = 0
        self._answer(time.monotonic() + STARTING)

    def call(self, work: tuple[Any, ...], seconds: float) -> tuple[bool, Any]:
        """Return (True, result) or (False, the error).

        Raises:
            _Late: there was no answer in time; the caller must end the worker.
            OSError, EOFError: the process has ended.
        """
        self.turns += 1
        assert self.process.stdin is not None
        _write(self.process.stdin, work)
        return self._answer(time.monotonic() + seconds)

    def end(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def _answer(self, deadline: float) -> tuple[bool, Any]:
        (length,) = LENGTH.unpack(self._read(LENGTH.size, deadline))
        return pickle.loads(self._read(length, deadline))

    def _read(self, count: int, deadline: float) -> bytes:
        assert self.process.stdout is not None
        pipe, data = self.process.stdout.fileno(), bytearray()
        while len(data) < count:
            if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise _Late
            part = os.read(pipe, min(count - len(data), 2**20))
            if not part:
                raise EOFError
            data += part
        return bytes(data)


class Workers:
    """The worker processes of a server, started when first needed.

    Args:
        count: number of workers.
        seconds: time limit for one picture.
        line_seconds: longest wait for a free worker, in seconds.
        line_bytes: largest total size of the files being decoded or waiting.
    """

    def __init__(
        self,
        count: int = WORKERS,
        *,
        seconds: float = SECONDS,
        line_seconds: float = LINE_SECONDS,
        line_bytes: int = LINE_BYTES,
    ) -> None:
        self.seconds = seconds
        self.line_seconds = line_seconds
        self.line = ByteBudget(line_bytes)
        self._free = threading.Semaphore(count)
        self._idle: list[Worker] = []
        atexit.register(self.end)

    def run(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Return `function(*arguments, **named)`, computed in a worker.

        `function` must be defined at the top level of a module. The named argument `name` is used for the picture in
        errors.

        Raises:
            PhotoError: the function took too long, or its worker died.
            LimitError: no worker became free in time, or too many bytes are waiting.
            Exception: whatever the function raises.
        """
        name = named.get("name", "The picture")
        size = sum(len(value) for value in arguments if isinstance(value, bytes))
        with self.line.holding(size):
            if not self._free.acquire(timeout=self.line_seconds):
                raise LimitError("Many photos are being read at this moment. Try again in a minute.")
            try:
                is_done, answer = self._on_a_worker((function, arguments, named), str(name))
            finally:
                self._free.release()
        if not is_done:
            raise answer
        return answer

    def end(self) -> None:
        """End the idle workers."""
        while self._idle:
            self._idle.pop().end()

    def _on_a_worker(self, work: tuple[Any, ...], name: str) -> tuple[bool, Any]:
        worker = self._take()
        try:
            answer = worker.call(work, self.seconds)
        except _Late:
            worker.end()
            return False, PhotoError(
                f"{name} takes more than {self.seconds:.0f} s to decode, far longer than any photo. Open it in an image"
                " editor and save it again, for example as JPEG."
            )
        except (OSError, EOFError):
            worker.end()
            return False, PhotoError(f"The decoder crashed on {name}. Save the photo again, for example as JPEG.")
        except (
            BaseException
        ):  # such as Streamlit stopping the page's run; the pending answer would go to the next caller
            worker.end()
            raise
        if worker.turns < UPRIGHT_TRANSPOSITION:
            self._idle.append(worker)
        else:
            worker.end()
        return answer

    def _take(self) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.process.poll() is None:
                return worker
            worker.end()
        return Worker()


def _write(pipe: IO[bytes], value: Any) -> None:
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    pipe.write(LENGTH.pack(len(data)) + data)
    pipe.flush()


def _limit_this_process() -> None:
    """Limit the memory of this process, and forbid it to write files."""
    try:
        import resource
    except ImportError:  # Windows has no such limits; only the time limit applies there
        return
    with open("/proc/self/statm", encoding="ascii") as status:
        size = int(status.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Run a worker until the server closes the pipe."""
    import sim2street.models.photo_labels  # noqa: F401  # imported before memory is limited and the first picture arrives

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that a library's output to stdout cannot corrupt the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the server
    if os.path.exists("/proc/self/statm"):
        _limit_this_process()
    _write(answers, (True, None))
    while length := sys.stdin.buffer.read(LENGTH.size):
        function, arguments, named = pickle.loads(sys.stdin.buffer.read(*LENGTH.unpack(length)))
        signal.alarm(int(2 * SECONDS))  # ends the worker if the server is gone
        try:
            answer = True, function(*arguments, **named)
        except Exception as error:
            error.__cause__ = error.__context__ = None
            answer = False, error.with_traceback(None)
        signal.alarm(0)
        _write(answers, answer)


WORKERS_OF_SERVER: Final = Workers()
"""Pool shared by all pages of the process."""


if __name__ == "__main__":
    main()
