"""What is asked of an op, without the arrays: all that a choice of implementation may depend on."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp


class Call(NamedTuple):
    """Sizes, dtype and kind of decay. The elementwise recurrence has h = 1 and k = v = d."""

    op: str
    b: int
    t: int
    h: int
    k: int
    v: int
    dtype: str  # the widest of q, k, v (or x); "float64" where any input is
    decay: str  # "none", "head" or "key"; segments without a decay need one a head
    segments: bool


def call_of_heads(op: str, tokens: Any, state: Any) -> Call:
    """Of an op on q, k, v; `tokens` and `state` as its `prepare` gives them, or their shapes."""
    b, t, h, k = tokens.k.shape
    segments = tokens.resets is not None
    if tokens.log_decay is None:
        decay = "head" if segments else "none"
    else:
        decay = "head" if tokens.log_decay.shape[-1] == 1 else "key"
    dtype = _widest(state, tokens.q, tokens.k, tokens.v)
    return Call(op, b, t, h, k, tokens.v.shape[-1], dtype, decay, segments)


def call_of_channels(op: str, x: Any, resets: Any, state: Any) -> Call:
    """Of the elementwise recurrence on x [b, t, d]; arrays or their shapes."""
    b, t, d = x.shape
    return Call(op, b, t, 1, d, d, _widest(state, x), "key", resets is not None)


def _widest(state: Any, *inputs: Any) -> str:
    return "float64" if state.dtype == jnp.float64 else jnp.result_type(*inputs).name
