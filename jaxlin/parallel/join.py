"""How a process joins the others of its run: one coordinator, which all of them know."""

from __future__ import annotations

import re
import shlex
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import jax

from jaxlin.config.errors import ConfigError
from jaxlin.parallel.limit import at_most

TIMEOUT = 300  # seconds that a process waits for the others
SLACK = 60  # JAX's own limit, which ends the process without a word, comes so much later
GONE = 100  # seconds without a heartbeat after which JAX ends the other processes
LEAVING = 60  # seconds that a process which ends waits for the others to end


@dataclass(frozen=True)
class Group:
    """The processes of a run. Without a coordinator JAX asks the environment: SLURM, Cloud TPU,
    GKE, Open MPI."""

    coordinator: str | None = None  # host:port; the first process listens there
    processes: int | None = None
    process_id: int | None = None
    timeout: int = TIMEOUT

    def __post_init__(self) -> None:
        given = (self.coordinator, self.processes, self.process_id)
        if None in given:
            if given != (None, None, None):
                raise ConfigError(
                    "--coordinator, --processes and --process-id belong together: give all three, "
                    "or --distributed alone where SLURM, Cloud TPU or GKE tell them"
                )
            return
        _check(*given)  # pyright: ignore[reportArgumentType]


def _check(coordinator: str, processes: int, process_id: int) -> None:
    found = re.fullmatch(r"(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):(\d{1,5})", coordinator)
    if not found or not 0 < int(found[1]) < 65536:
        raise ConfigError(
            f"--coordinator: {coordinator!r} is not HOST:PORT, such as 10.0.0.1:8476; it is an "
            "address of the host of process 0 that all hosts can reach, and a free port there"
        )
    if processes < 1:
        raise ConfigError(f"--processes: {processes} is below 1")
    if not 0 <= process_id < processes:
        raise ConfigError(
            f"--process-id: {process_id} is not among 0 to {processes - 1} (--processes "
            f"{processes}); each process has its own number"
        )


def join(group: Group) -> None:
    """Returns when all processes are there; before any device is used.

    Raises ConfigError if the port is taken, the environment tells nothing or a process joins twice.
    Ends the process with a message (exit code 2) if some have not come in time.
    """
    if jax.distributed.is_initialized():
        raise ConfigError("this process has joined the processes of a run before; start a new one")
    if group.coordinator and group.process_id == 0:
        refuse_taken_port(group.coordinator)
    count = "all" if group.processes is None else f"all {group.processes}"
    where = f" at {group.coordinator}" if group.coordinator else ""
    late = (
        f"not {count} processes of the run came together{where} within {group.timeout} s. Start "
        f"the same command on all workers at the same time, each with its own number: "
        f"{everywhere(sys.argv)}"
    )
    with at_most(float(group.timeout), late, ConfigError.exit_code):
        _initialize(group)


def everywhere(command: Sequence[str]) -> str:
    """The command as every worker has to give it."""
    words = ["jaxlin", *command[1:]]
    if "--process-id" in words[:-1]:
        words[words.index("--process-id") + 1] = "I"
    return (
        f"`{shlex.join(words)}` (on a TPU slice: gcloud compute tpus tpu-vm ssh NAME --worker=all)"
    )


def refuse_taken_port(address: str) -> None:
    """Raises ConfigError if somebody listens on the port of this host."""
    port = int(address.rpartition(":")[2])
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # waiting ones do not count
        try:
            probe.bind(("", port))
        except OSError as error:
            raise ConfigError(
                f"--coordinator: port {port} of this host cannot be used ({error.strerror}); an "
                "earlier run may still be there. Stop it, or name another port on all workers"
            ) from error


def _initialize(group: Group) -> None:
    try:
        jax.distributed.initialize(
            group.coordinator,
            group.processes,
            group.process_id,
            # With all of it given, nothing is to be found out, and all local devices are used.
            cluster_detection_method="deactivate" if group.coordinator else None,
            initialization_timeout=group.timeout + SLACK,
            heartbeat_timeout_seconds=GONE,
            shutdown_timeout_seconds=LEAVING,
        )
    except ValueError as error:
        raise ConfigError(
            f"--distributed: the environment does not say which processes belong together ({error})"
            "; outside SLURM, Cloud TPU and GKE give --coordinator HOST:PORT --processes N "
            "--process-id I"
        ) from error
    except RuntimeError as error:
        raise ConfigError(f"the processes of the run could not join: {error}") from error
