"""Pictures of strangers are decoded in processes that can be given up: after a deadline, or beyond a share of memory.

Decoders are C code that nothing can interrupt, and that may hold Python's lock meanwhile. A server hands what came from
outside to one of a few workers. A worker that takes too long is killed and replaced, one that wants too much memory
fails alone, and whoever finds all of them busy waits, up to a limit. So neither time nor memory of the server depends
on what a visitor sends. The command line decodes in its own process, where the person who waits can press Ctrl-C.
No UI library in here.
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
"""Pictures that are decoded at once."""
SECONDS: Final = 15.0
"""For one picture; 60 megapixels take two to five."""
MEMORY: Final = 2**30
"""Bytes that a worker may have beyond those it starts with; benchmarks/memory.py measures what photos take."""
LINE_BYTES: Final = 256 * 2**20
"""Files that are being decoded or wait for it, together."""
LINE_SECONDS: Final = 30.0
"""Longest wait for a worker."""
STARTING: Final = 120.0
"""Seconds in which a worker has to start, on a busy machine too."""
TURNS: Final = 100
"""Pictures after which a worker is replaced, so that no decoder's leak adds up."""
LENGTH: Final = struct.Struct(">Q")


class _Late(Exception):
    """No answer before the deadline."""


class Worker:
    """One process; used by one thread at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-m", __spec__.name if __spec__ else __name__]
        environment = child_environment() | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.turns = 0
        self._answer(time.monotonic() + STARTING)

    def call(self, work: tuple[Any, ...], seconds: float) -> tuple[bool, Any]:
        """Return (True, result) or (False, the error).

        Raises:
            _Late: there was no answer in time; the worker has to be ended.
            OSError, EOFError: it came to an end.
        """
        self.turns += 1
        assert self.process.stdin is not None
        _write(self.process.stdin, work)
        return self._answer(time.monotonic() + seconds)

    def end(self) -> None:
        """Kill it, whatever it is at."""
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
    """The workers of a server process, started when first needed.

    Args:
        count: how many.
        seconds: for one picture.
        line_seconds: longest wait for a free one.
        line_bytes: of all files that are at work or wait.
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
        """Return `function(*arguments, **named)`, worked out elsewhere; it is a function of a module.

        The named argument `name` is what people call the picture.

        Raises:
            PhotoError: it took too long or too much memory.
            LimitError: too many others wait.
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
        """End those that are idle."""
        while self._idle:
            self._idle.pop().end()

    def _on_a_worker(self, work: tuple[Any, ...], name: str) -> tuple[bool, Any]:
        worker = self._take()
        try:
            answer = worker.call(work, self.seconds)
        except _Late:
            worker.end()
            return False, PhotoError(
                f"{name} takes more than {self.seconds:.0f} s to decode, which no photo does. Open it in an image editor"
                " and save it anew, for example as JPEG."
            )
        except (OSError, EOFError):
            worker.end()
            return False, PhotoError(f"The decoder broke down over {name}. Save the photo anew, for example as JPEG.")
        except BaseException:  # such as a page's run that is stopped: the answer that is still to come is nobody's
            worker.end()
            raise
        if worker.turns < TURNS:
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
    """No more memory than a picture needs, and no file is written."""
    try:
        import resource
    except ImportError:  # Windows has no such limits; the deadline holds
        return
    with open("/proc/self/statm", encoding="ascii") as status:
        size = int(status.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Work until the server closes the pipe."""
    import sim2street.models.photo_labels  # noqa: F401  # before memory is limited, and before the first picture waits

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the server's
    if os.path.exists("/proc/self/statm"):
        _limit_this_process()
    _write(answers, (True, None))
    while length := sys.stdin.buffer.read(LENGTH.size):
        function, arguments, named = pickle.loads(sys.stdin.buffer.read(*LENGTH.unpack(length)))
        signal.alarm(int(2 * SECONDS))  # should the server be gone, nobody else ends this
        try:
            answer = True, function(*arguments, **named)
        except Exception as error:
            error.__cause__ = error.__context__ = None
            answer = False, error.with_traceback(None)
        signal.alarm(0)
        _write(answers, answer)


WORKERS_OF_SERVER: Final = Workers()
"""One pool for the process, whichever page asks."""


if __name__ == "__main__":
    main()
