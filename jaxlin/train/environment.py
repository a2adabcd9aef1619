"""What a run ran on: versions, sources, devices, command."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from typing import Any

import jax

from jaxlin.train.sources import git, versions


def describe(mesh: jax.sharding.Mesh, command: Sequence[str] | None = None) -> dict[str, Any]:
    """The environment of this start, as JSON values."""
    devices = mesh.devices.flat
    return {
        "command": list(sys.argv if command is None else command),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions(),
        "git": git(),
        "mesh": dict(mesh.shape),
        "devices": {"count": mesh.devices.size, "kind": devices[0].device_kind},
        "processes": jax.process_count(),
    }
