"""Tells what an op would run, without running it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels_pallas.delta_rule import api as delta_rule
from kernels_pallas.dispatch import Choice, choose
from kernels_pallas.linear_attention import api as linear_attention
from kernels_pallas.linear_recurrence import api as linear_recurrence

MODULES = (linear_attention, delta_rule, linear_recurrence)
OPS = {module.__name__.split(".")[1]: module for module in MODULES}


def explain(
    op: str | Callable[..., Any], first: Any, *_: Any, implementation: str | None = None, **__: Any
) -> Choice:
    """What `op(first, ...)` would run and why the others would not; print it.

    `op` is an op or its name; `first` its first argument ([b, t, ...], an array or its shape).

    Raises:
        ImplementationError: the call itself would refuse the implementation.
        ValueError: no op of this name.
    """
    name = op if isinstance(op, str) else op.__name__
    if name not in OPS:
        raise ValueError(f"explain: {name!r} is no op; known: {', '.join(OPS)}")
    available = dict.fromkeys(OPS[name].IMPLEMENTATIONS)
    return choose(name, implementation, available, first.shape[1])
