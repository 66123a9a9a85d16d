"""Processes of this machine: their identity, whether they are alive, what they use, and how to end them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from sim2street.training.jobs.record import ProcessIdentity

PROC = Path("/proc")


def identify(pid: int) -> ProcessIdentity | None:
    """The live process with that pid; None if there is none, or only a zombie."""
    if not PROC.is_dir():
        return _identify_by_ps(pid)
    try:
        # The name in brackets may contain anything, so count from its end: state is field 3, start time field 22.
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] in "ZX":
        return None
    return ProcessIdentity(pid=pid, started=fields[19], boot=_boot())


def identity_of_ended(pid: int) -> ProcessIdentity:
    """Identity of a child that ended before it could be examined."""
    return ProcessIdentity(pid=pid, started="ended", boot=_boot())


def is_alive(process: ProcessIdentity) -> bool:
    """Whether exactly this process is alive; a later one with the same pid is a different process."""
    return identify(process.pid) == process


def find_leader(argument: str) -> ProcessIdentity | None:
    """The live leader of a process group started with exactly this argument; None if /proc is missing."""
    for entry in PROC.iterdir() if PROC.is_dir() else ():
        if entry.name.isdecimal():
            with suppress(OSError):
                started_with = (entry / "cmdline").read_bytes().split(b"\0")
                if os.fsencode(argument) in started_with and os.getpgid(int(entry.name)) == int(entry.name):
                    return identify(int(entry.name))
    return None


def end(process: ProcessIdentity, number: signal.Signals) -> None:
    """Send a signal if it still is that process.

    SIGTERM goes only to the leader, which saves and stops its own children; a second signal would kill them.
    SIGKILL goes to its whole group.
    """
    if not is_alive(process):
        return
    with suppress(ProcessLookupError, PermissionError):
        if number is signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)


def end_leftovers(process: ProcessIdentity) -> None:
    """End the processes left by a dead leader; the system does not reuse its pid while its group has members."""
    if process.boot == _boot() and identify(process.pid) is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def memory_mb(group: int) -> float:
    """Resident memory of all processes of a group in MB, counting shared pages for each; 0 if unknown."""
    total = 0
    page = os.sysconf("SC_PAGE_SIZE")
    for entry in PROC.iterdir() if PROC.is_dir() else ():
        if entry.name.isdecimal():
            with suppress(OSError, IndexError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == group:
                    total += int((entry / "statm").read_text().split()[1]) * page
    return total / 2**20


def out_of_memory_kills() -> int:
    """Number of out-of-memory kills since boot; 0 if the kernel does not report it."""
    try:
        lines = (PROC / "vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def graphics_cards() -> int:
    """Number of NVIDIA GPUs of this machine, counted without loading torch."""
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in found.splitlines())


def _boot() -> str:
    """Identifier of the machine's current boot; the platform's name if the system has none, so start times must suffice."""
    path = PROC / "sys/kernel/random/boot_id"
    return path.read_text().strip() if path.exists() else sys.platform


def _identify_by_ps(pid: int) -> ProcessIdentity | None:
    """The same for systems without /proc, accurate to the second."""
    command = ["ps", "-o", "state=,lstart=", "-p", str(pid)]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    state, _, started = found.partition(" ")
    return None if not started or state.startswith("Z") else ProcessIdentity(pid=pid, started=started, boot=_boot())
