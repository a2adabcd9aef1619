"""Being told to stop: SIGTERM or Ctrl-C lets the step finish and the run save."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Listens while it is open. A second signal is not heard: it does what it does without this.

    A second SIGTERM ends the process at once, a second Ctrl-C (KeyboardInterrupt) when a save that
    is on its way is complete. Neither harms the steps that were saved before.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[int, Any] = {}
        self._together = False  # once told, told: JAX says it at one step only

    def asked(self, step: int) -> bool:
        """Whether to stop after this step; all processes of a run get the same answer.

        `step` grows from call to call.
        """
        if jax.process_count() > 1:
            self._together = self._together or multihost_utils.reached_preemption_sync_point(step)
            return self._together
        return self.signal is not None

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            # With several processes JAX's coordination service listens for SIGTERM.
            heard = {n: self._heard for n in SIGNALS}
            if jax.process_count() > 1:
                heard = {signal.SIGINT: self._passed_on}
            self._before = {number: signal.signal(number, do) for number, do in heard.items()}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._restore()

    def _passed_on(self, number: int, frame: FrameType | None) -> None:
        self._restore()
        os.kill(os.getpid(), signal.SIGTERM)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
