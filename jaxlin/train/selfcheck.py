"""Before a run of several processes begins: do all of them run the same thing, on all devices?"""

from __future__ import annotations

import hashlib
import json
import platform
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxlin
from jaxlin.config.errors import ConfigError, JaxlinError
from jaxlin.config.load import to_json
from jaxlin.config.run import RunConfig
from jaxlin.parallel import processes
from jaxlin.parallel.join import everywhere
from jaxlin.parallel.limit import at_most
from jaxlin.train.sources import versions

PACKAGES = ("jaxlin", "kernels_pallas", "configs")
LIMIT = 300.0  # seconds for the first sum over all devices
SHOWN = 20  # differences


def check(cfg: RunConfig, expected: int | None, command: Sequence[str] | None = None) -> None:
    """Raises ConfigError unless all processes have the same code, config and devices, and the sum
    over all devices counts each once. `expected`: processes, if the command line says how many."""
    command = sys.argv if command is None else command
    if expected is not None and jax.process_count() != expected:
        raise ConfigError(
            f"--processes: {expected} were expected, {jax.process_count()} are there. Run on all "
            f"workers: {everywhere(command)}"
        )
    if jax.process_count() == 1:
        return
    hung = (
        f"the devices of {jax.process_count()} processes found no common sum within {LIMIT:.0f} s, "
        "though the processes themselves can talk: look at the network between the accelerators "
        "and at what else uses them"
    )
    with at_most(LIMIT, hung, JaxlinError.exit_code):
        said = processes.all_say("facts", json.dumps(facts(cfg)))
        refuse_differences([json.loads(text) for text in said], command)
        refuse_wrong_sum(jax.device_count(), sum_over_devices())


def facts(cfg: RunConfig) -> dict[str, Any]:
    """What has to be alike in all processes, and the host's name."""
    local = jax.local_devices()
    return {
        "host": socket.gethostname(),
        "code": code_digest(Path(jaxlin.__file__).parent.parent),
        "config": hashlib.sha256(to_json(cfg).encode()).hexdigest()[:12],
        "python": platform.python_version(),
        **versions(),
        "devices": f"{len(local)} x {local[0].device_kind}",
    }


def code_digest(root: Path) -> str:
    """SHA-256 of the names and texts of all source files, 12 digits."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def refuse_differences(found: Sequence[Mapping[str, Any]], command: Sequence[str]) -> None:
    """Raises ConfigError that names each process and what it has otherwise than the first."""
    first = found[0]
    lines = [
        f"  process {index} ({other['host']}): {name} {other.get(name)} instead of "
        f"{first.get(name)}"
        for index, other in enumerate(found)
        for name in {**first, **other}
        if name != "host" and other.get(name) != first.get(name)
    ]
    if lines:
        more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        raise ConfigError(
            "the processes of the run do not start alike; nothing was written. Put the same code "
            f"on all workers and run there: {everywhere(command)}. What differs from process 0 "
            f"({first['host']}):\n" + "\n".join(lines[:SHOWN] + more)
        )


def refuse_wrong_sum(devices: int, total: int) -> None:
    """Raises ConfigError unless each device was counted once."""
    if total != devices:
        raise ConfigError(
            f"the sum of ones over all {devices} devices is {total}: some devices do not take "
            "part, or compute wrongly. Restart all workers; if it stays, replace the hosts"
        )


def sum_over_devices() -> int:
    """Each device adds a one."""
    mesh = jax.make_mesh((jax.device_count(),), ("all",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("all"))
    ones = jax.make_array_from_callback(
        (jax.device_count(),), split, lambda index: np.ones(1, np.int32)
    )
    total = jax.shard_map(
        partial(_sum, axis="all"), mesh=mesh, in_specs=split.spec, out_specs=PartitionSpec()
    )
    return int(jax.jit(total)(ones))


def _sum(ones: Any, axis: str) -> Any:
    return jax.lax.psum(jnp.sum(ones), axis)
