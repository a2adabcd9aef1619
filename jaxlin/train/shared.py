"""Whether all processes of a run see the same run directory."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

from jaxlin.config.errors import CheckpointError
from jaxlin.parallel import processes
from jaxlin.train.lock import LOCK
from jaxlin.train.writer import read

PATIENCE = 60.0  # seconds: network file systems show new files late


def check(
    run: Path,
    patience: float = PATIENCE,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Raises CheckpointError in a process that does not see the first one's lock.

    Steps are saved by all processes, each its part, and restored by all.
    """
    token = processes.first_says("lock token", lambda: _token(run))
    end = clock() + patience
    while _token(run) != token:
        if clock() > end:
            raise CheckpointError(
                f"{run}: on {socket.gethostname()} it is not the directory that process 0 writes "
                "to. It has to lie on a file system that all hosts share (NFS, Filestore, Lustre, "
                "a mounted bucket): name it with --run"
            )
        sleep(0.1)


def _token(run: Path) -> str:
    found = read(run / LOCK)
    return found.token if found else ""
