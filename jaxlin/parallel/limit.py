"""A limit on the time of a call that cannot be interrupted: the process ends instead of hanging."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def at_most(
    seconds: float, text: str, code: int, leave: Callable[[int], None] = os._exit
) -> Iterator[None]:
    """Says `text` on standard error and ends the process with `code` if what is inside, waiting in
    compiled code, takes longer."""

    def end() -> None:
        print(f"jaxlin: error: {text}", file=sys.stderr, flush=True)
        leave(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
