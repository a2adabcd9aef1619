"""A process of a run that fails takes the others with it: none waits for one that is gone."""

from __future__ import annotations

import atexit
import os
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import jax

from jaxlin.config.errors import JaxlinError, PreemptedError
from jaxlin.parallel import processes

FAILED = f"{processes.PREFIX}/failed/"
LOOK = 2.0  # seconds between two looks
LAST_WORDS = 10.0  # seconds that a process has to end by itself when another one has failed
# What JAX says in a process when it waits for another one in vain.
LOST = re.compile(r"gloo|nccl|coordination|heartbeat|connection (closed|reset)|barrier", re.I)


class PeerLost(PreemptedError):
    """Another process of the run is gone."""


class Peers:
    """Tells the other processes how this one failed, and ends it when another one did, at most
    LOOK + LAST_WORDS seconds later. With one process it does nothing.

    What all processes agree on, being told to stop, is no failure of one of them.
    """

    def __init__(self, look: float = LOOK, leave: Callable[[int], None] = os._exit):
        self._look, self._leave = look, leave
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peers", daemon=True)

    def __enter__(self) -> Peers:
        if processes.client():
            self._thread.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not self._thread.is_alive():
            return
        if error is None or type(error) is PreemptedError:
            processes.meet("end")  # the last saves and records of all are done
            self._over.set()
            return
        self._over.set()
        if isinstance(error, jax.errors.JaxRuntimeError) and LOST.search(str(error)):
            # Python's end would wait for the one that is gone.
            atexit.register(self._leave, PeerLost.exit_code)
            raise PeerLost(
                "another process of the run is gone, and this one cannot go on without it; the "
                f"same command on all workers goes on from the newest checkpoint ({first(error)})"
            ) from error
        tell(error)

    def _watch(self) -> None:
        service: Any = processes.client()
        while not self._over.wait(self._look):
            try:
                found = service.key_value_dir_get(FAILED)
            except jax.errors.JaxRuntimeError:
                return  # the coordinator is gone: JAX ends this process
            if found and not self._over.wait(LAST_WORDS):
                key, text = found[0]
                failure = processes.error_of(text, int(key.rpartition("/")[2]))
                print(f"jaxlin: error: {failure}", file=sys.stderr, flush=True)
                self._leave(failure.exit_code)


def tell(error: BaseException) -> None:
    """Lets the other processes know how this one fails."""
    code = error.exit_code if isinstance(error, JaxlinError) else 1
    text = str(error) if isinstance(error, JaxlinError) else f"{type(error).__name__}: {error}"
    service = processes.client()
    if service:
        key = f"{FAILED}{jax.process_index()}"
        service.key_value_set(key, f"{code} {text}", allow_overwrite=True)


def first(error: BaseException) -> str:
    """The first line of what an error says."""
    return str(error).strip().splitlines()[0][:300]
