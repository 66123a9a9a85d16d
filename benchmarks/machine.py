"""Description of the machine, for the line above every table."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path

import torch


def machine_line() -> str:
    """Date, CPU and GPU, cores used, versions."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = torch.get_num_threads()
    return (
        f"{datetime.date.today()}, {cpu}, {cores} cores, {threads} thread{'s' * (threads != 1)}{gpu},"
        f" torch {torch.__version__}, Python {platform.python_version()}"
    )
