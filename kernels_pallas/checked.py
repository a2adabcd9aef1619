"""The checks of an op on all of its arguments, with no array made."""

from __future__ import annotations

import inspect
from typing import Any

import jax

from kernels_pallas.call import Call
from kernels_pallas.delta_rule import api as delta_rule
from kernels_pallas.linear_attention import api as linear_attention
from kernels_pallas.linear_recurrence import api as linear_recurrence
from kernels_pallas.shapes import check_log_decay

OPS = {
    "linear_attention": linear_attention,
    "delta_rule": delta_rule,
    "linear_recurrence": linear_recurrence,
}


def checked(op: str, arguments: dict[str, Any]) -> Call:
    """What op would ask of an implementation. Raises ValueError as the op itself does.

    `jax.ShapeDtypeStruct`s may stand in the place of arrays; others may be among the arguments.
    """
    module = OPS[op]
    if not isinstance(arguments["log_decay"], jax.ShapeDtypeStruct):
        check_log_decay(op, arguments["log_decay"])
    arrays = {name: arguments[name] for name in inspect.signature(module.prepare).parameters}
    return module.call_of(*jax.eval_shape(lambda arrays: module.prepare(**arrays), arrays))
