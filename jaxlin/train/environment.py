"""What a run ran on: versions, sources, devices, command."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

PACKAGES = (
    "jaxlin",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "libtpu",
)


def describe(mesh: jax.sharding.Mesh, command: Sequence[str] | None = None) -> dict[str, Any]:
    """The environment of this start, as JSON values."""
    devices = mesh.devices.flat
    return {
        "command": list(sys.argv if command is None else command),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions(),
        "git": _git(Path(__file__).parent),
        "mesh": dict(mesh.shape),
        "devices": {"count": mesh.devices.size, "kind": devices[0].device_kind},
        "processes": jax.process_count(),
    }


def versions() -> dict[str, str]:
    """Of the packages that decide a run's numbers, as far as they are installed."""
    return {name: version for name in PACKAGES if (version := _version(name))}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path) -> dict[str, Any] | None:
    """Commit of the sources and whether they differ from it; None outside a repository."""
    try:
        commit = _run(folder, "rev-parse", "HEAD")
        return {"commit": commit, "changed": bool(_run(folder, "status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
