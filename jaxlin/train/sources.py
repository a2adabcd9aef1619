"""Which code runs: versions of the packages that decide numbers, commit of the sources. No jax."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

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


def versions() -> dict[str, str]:
    """Of the packages that decide a run's numbers, as far as they are installed."""
    return {name: version for name in PACKAGES if (version := _version(name))}


def git(folder: Path = Path(__file__).parent) -> dict[str, Any] | None:
    """Commit of the sources and whether they differ from it; None outside a repository."""
    try:
        commit = _run(folder, "rev-parse", "HEAD")
        return {"commit": commit, "changed": bool(_run(folder, "status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
