"""The errors a user can cause. Each carries the exit code of the command that it ends."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

REACH = 4096


class JaxlinError(Exception):
    """A mistake in the input: shown as one paragraph without a traceback."""

    exit_code = 1


class ConfigError(JaxlinError):
    """A wrong config, override, mesh or command line."""

    exit_code = 2


class DataError(JaxlinError):
    """Missing, empty, unreadable or inconsistent data or tokenizer."""

    exit_code = 3


class CheckpointError(JaxlinError):
    """A run directory or checkpoint that is none, is foreign, or cannot be written."""

    exit_code = 4


class DivergedError(JaxlinError):
    """The loss or a gradient stopped being finite."""

    exit_code = 5


class CompilerError(JaxlinError):
    """The compiler refused a program, or the device is too small for it."""

    exit_code = 6


class PreemptedError(JaxlinError):
    """The run was told to stop, saved, and wants to be restarted by the same command."""

    exit_code = 75


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest known name, or the list of all if none is close."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


def nearest_divisors(value: int, whole: int) -> str:
    """`; nearest that do: 4 or 8` for the divisors of `whole` that are next to `value`.

    Looked for up to REACH away; the empty text when there is none.
    """
    start = min(value, whole)
    below = range(start, max(0, start - REACH), -1)
    above = range(value + 1, min(value + REACH, whole) + 1)
    found = (next((n for n in side if whole % n == 0), None) for side in (below, above))
    text = " or ".join(str(n) for n in found if n)
    return f"; nearest that do: {text}" if text else ""
