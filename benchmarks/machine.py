"""What every benchmark says first: its command line, the machine, the versions."""

from __future__ import annotations

import platform
import resource
import shlex
import sys
from pathlib import Path

import jax


def header() -> str:
    """Two lines, to stand above a table of figures."""
    device = jax.devices()[0]
    where = f"{len(jax.devices())} x {device.device_kind}" if device.platform != "cpu" else cpu()
    command = shlex.join(["python", *sys.argv])
    return f"$ {command}\n# {where}; jax {jax.__version__}, python {platform.python_version()}"


def cpu() -> str:
    """Model and number of usable cores."""
    cores = len_affinity()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU {names[0] if names else platform.machine()}, {cores} cores"


def len_affinity() -> int:
    """Cores that this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_bytes() -> int:
    """The most memory so far: the device's, or on a CPU that of the whole process."""
    stats = jax.devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"]
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
