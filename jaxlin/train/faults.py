"""Places where a run can be made to fail, so that tests do on purpose what time does by chance.

JAXLIN_FAULT=checkpoint.commit:kill@3 kills the process when it comes to that point for the third
time. Without the variable a point costs one look into the environment.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

from jaxlin.config.errors import ConfigError, nearest

VARIABLE = "JAXLIN_FAULT"
POINTS = {
    "file": "a file of the run directory is written, not yet under its name",
    "start": "all files that describe the run are written",
    "compile": "before the first step of this process is compiled",
    "compiled": "the first step of this process was started",
    "step": "a later step was started",
    "metrics": "half a line of metrics.jsonl is on disk",
    "eval": "a held-out evaluation is done, not yet recorded",
    "checkpoint.begin": "a save is due; nothing of it is written",
    "checkpoint.write": "the saving thread waits for the state's files, which are being written",
    "checkpoint.commit": "all files of a checkpoint are written, not yet under its name",
    "checkpoint.gc": "a checkpoint is complete; the old one is not yet deleted",
    "end": "all is saved and recorded; the process has yet to end",
}


class Fault(NamedTuple):
    """What happens when `point` is reached for the `count`-th time."""

    point: str
    action: str
    count: int


def fault(name: str, before: Callable[[], object] = lambda: None) -> None:
    """The point `name` is reached. `before` is called first if something happens here.

    Raises ConfigError for a variable that says nothing known.
    """
    text = os.environ.get(VARIABLE)
    if text is not None:
        _reached(name, parse(text), before)


def check() -> None:
    """Raises ConfigError for a variable that says nothing known."""
    if VARIABLE in os.environ:
        parse(os.environ[VARIABLE])


def parse(text: str) -> Fault:
    """POINT:ACTION or POINT:ACTION@COUNT. Raises ConfigError."""
    found = re.fullmatch(r"([^:@]*):([^:@]*)(?:@([1-9]\d{0,8}))?", text)
    if not found:
        raise ConfigError(
            f"{VARIABLE}: {text!r} is not POINT:ACTION or POINT:ACTION@COUNT, such as "
            f"checkpoint.commit:kill@3. {_known()}"
        )
    point, action, count = found.groups()
    for what, name, names in (("point", point, POINTS), ("action", action, ACTIONS)):
        if name not in names:
            raise ConfigError(f"{VARIABLE}: no {what} {name!r}{nearest(name, names)}. {_known()}")
    return Fault(point, action, int(count or 1))


def _reached(name: str, asked: Fault, before: Callable[[], object]) -> None:
    if name != asked.point:
        return
    if asked.count > 1:  # the variable itself counts down: nothing else has to be remembered
        os.environ[VARIABLE] = f"{asked.point}:{asked.action}@{asked.count - 1}"
        return
    del os.environ[VARIABLE]
    before()
    ACTIONS[asked.action](name)


def _send(number: signal.Signals) -> Callable[[str], None]:
    return lambda name: os.kill(os.getpid(), number)


def _hang(name: str) -> None:
    while True:
        time.sleep(60)


def _raise(name: str) -> None:
    raise RuntimeError(f"{VARIABLE} asked for this error at the point {name!r}")


ACTIONS: dict[str, Callable[[str], None]] = {
    "kill": _send(signal.SIGKILL),
    "term": _send(signal.SIGTERM),
    "int": _send(signal.SIGINT),
    "hang": _hang,
    "raise": _raise,
}


def _known() -> str:
    points = "\n".join(f"  {name:18} {what}" for name, what in POINTS.items())
    return f"Actions: {', '.join(ACTIONS)}. Points:\n{points}"
