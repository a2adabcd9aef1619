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
        if failure := failed():  # what happened here came of it
            self._end_at_once(failure.exit_code)
            raise failure from error
        if lost := lost_peer(error):
            self._end_at_once(PeerLost.exit_code)
            raise PeerLost(
                "another process of the run is gone, and this one cannot go on without it; the "
                f"same command on all workers goes on from the newest checkpoint ({lost})"
            ) from error
        tell(error)

    def _end_at_once(self, code: int) -> None:
        """Once all is said: Python's end would wait for a process that is gone."""
        atexit.register(self._leave, code)

    def _watch(self) -> None:
        while not self._over.wait(self._look):
            failure = failed()
            if failure and not self._over.wait(LAST_WORDS):
                print(f"jaxlin: error: {failure}", file=sys.stderr, flush=True)
                self._leave(failure.exit_code)


def failed() -> JaxlinError | None:
    """How another process failed, if one did."""
    service: Any = processes.client()
    try:
        found = service.key_value_dir_get(FAILED)
    except jax.errors.JaxRuntimeError:  # the coordinator is gone, and JAX will end this process
        return None
    for key, text in found:
        index = int(key.rpartition("/")[2])
        if index != jax.process_index():
            return processes.error_of(text, index)
    return None


def lost_peer(error: BaseException | None) -> str | None:
    """What JAX said, if it was the reason of the error and tells of a process that is gone."""
    while error is not None:
        if isinstance(error, jax.errors.JaxRuntimeError) and LOST.search(str(error)):
            return str(error).strip().splitlines()[0][:300]
        error = error.__cause__
    return None


def tell(error: BaseException) -> None:
    """Lets the other processes know how this one fails."""
    code = error.exit_code if isinstance(error, JaxlinError) else 1
    text = str(error) if isinstance(error, JaxlinError) else f"{type(error).__name__}: {error}"
    service = processes.client()
    if service:
        key = f"{FAILED}{jax.process_index()}"
        service.key_value_set(key, f"{code} {text}", allow_overwrite=True)
