"""A process of a run that fails takes the others with it: none waits for one that is gone."""

from __future__ import annotations

import atexit
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import jax

from jaxlin.config.errors import DivergedError, JaxlinError, PreemptedError
from jaxlin.parallel import processes

FAILED = f"{processes.PREFIX}/failed/"
LOOK = 2.0  # seconds between two looks
LAST_WORDS = 10.0  # seconds that a process has to end by itself when another one has failed
DEPART = 5.0  # seconds that a process which has said why it ends waits for the others to do so
# Every process comes to the same one of these by itself; each has its last save to finish.
AGREED = (PreemptedError, DivergedError)
# What JAX says in a process when it waits for another one in vain.
LOST = re.compile(r"gloo|nccl|coordination ?service|connection (closed|reset)|barrier", re.I)


class PeerLost(PreemptedError):
    """Another process of the run is gone."""


class Peers:
    """Ends this process when another one has failed, at most LOOK + LAST_WORDS + DEPART seconds
    later, and never waits at its end for one that is gone. With one process it does nothing."""

    def __init__(self, leave: Callable[[int], None] = os._exit):
        self._leave, self._over = leave, threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peers", daemon=True)

    def __enter__(self) -> Peers:
        if processes.client():
            self._thread.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not self._thread.is_alive():
            return
        if error is None or type(error) in AGREED:
            processes.meet("end")  # the last saves and records of all are done
            self._over.set()
            return
        self._over.set()
        if lost := lost_peer(error):
            # Not by raising: Python's end would wait for saves that wait for the one that is gone.
            self._say_and_depart(failed() or PeerLost(_gone(lost)))
        tell(error)
        atexit.register(self._depart, _code(error))

    def _watch(self) -> None:
        while not self._over.wait(LOOK):
            if (failure := failed()) and not self._over.wait(LAST_WORDS):
                self._say_and_depart(failure)

    def _say_and_depart(self, error: JaxlinError) -> None:
        print(f"jaxlin: error: {error}", file=sys.stderr, flush=True)
        self._depart(error.exit_code)

    def _depart(self, code: int) -> None:
        """Ends at once, but for a while in which all may say why: the coordinator's end is that of
        the others."""
        with suppress(jax.errors.JaxRuntimeError):
            processes.meet("departure", DEPART)
        self._leave(code)


@contextmanager
def told() -> Iterator[None]:
    """An error inside is told to the other processes before anything is tidied up."""
    try:
        yield
    except BaseException as error:
        if not lost_peer(error):
            tell(error)
        raise


def tell(error: BaseException) -> None:
    """Lets the other processes know how this one fails, if it is this one that does."""
    service = processes.client()
    if service is None or type(error) in AGREED:
        return
    text = str(error) if isinstance(error, JaxlinError) else f"{type(error).__name__}: {error}"
    with suppress(jax.errors.JaxRuntimeError):
        key = f"{FAILED}{jax.process_index()}"
        service.key_value_set(key, f"{_code(error)} {text}", allow_overwrite=True)


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
    if processes.client() is None:
        return None
    while error is not None:
        # JAX raises RuntimeError or ValueError; ours repeat what it said.
        if not isinstance(error, JaxlinError) and LOST.search(str(error)):
            return str(error).strip().splitlines()[0][:300]
        error = error.__cause__
    return None


def _gone(said: str) -> str:
    return (
        "another process of the run is gone, and this one cannot go on without it; the same "
        f"command on all workers goes on from the newest checkpoint ({said})"
    )


def _code(error: BaseException) -> int:
    return error.exit_code if isinstance(error, JaxlinError) else 1
