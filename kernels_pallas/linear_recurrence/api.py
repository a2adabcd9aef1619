"""The public elementwise recurrence: checks, the choice of implementation, one call."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kernels_pallas.call import Call, call_of_channels
from kernels_pallas.chip import target
from kernels_pallas.dispatch import choose, run_kernel
from kernels_pallas.linear_recurrence.reference import linear_recurrence_reference
from kernels_pallas.linear_recurrence.xla import linear_recurrence_chunked
from kernels_pallas.shapes import (
    accumulation_dtype,
    check_chunk_size,
    check_log_decay,
    check_segments,
    expect,
    expect_floats,
    expect_whole,
    resets_of,
)
from kernels_pallas.vary import vary_alike

# Tokens combined at once. A CPU has no idle lanes for them to fill: measured, benchmarks/ops.py.
_ROWS = {"cpu": 1}
_ROWS_ELSEWHERE = 16


def linear_recurrence(
    x: Float[Array, "b t d"],
    log_decay: Float[Array, "b t d"],
    *,
    initial_state: Float[Array, "b d"] | None = None,
    segment_ids: Int[Array, "b t"] | None = None,
    chunk_size: int | None = None,
    implementation: str | None = None,
    interpret: Any = False,
) -> tuple[Float[Array, "b t d"], Float[Array, "b d"]]:
    """h_t = exp(g_t) h_{t-1} + x_t for each channel (HGRN).

    Args:
        x: inputs [b, t, d].
        log_decay: g <= 0 [b, t, d].
        initial_state: h before the first token [b, d]; zero where not given.
        segment_ids: integers [b, t]; where one differs from its predecessor h starts from zero.
        chunk_size: tokens combined at once, a power of two; None: what was measured to be best.
        implementation: "reference" (token by token), "xla" (blocks), "pallas_tpu" (a kernel), or
            None: chosen by platform, chip and shape; `explain` tells which and why.
        interpret: run a Pallas kernel in its interpreter, on any platform: True, or the parameters
            of Pallas' TPU or GPU interpreter. Has no effect where none runs.

    Returns:
        All h [b, t, d] in x's dtype, and the last one in float32 (float64 if an input is float64).

    Raises:
        ValueError: a shape, a dtype or the chunk size does not fit; a log decay is above 0 or NaN
            (seen outside jit, and as a compiled function runs with `jax_debug_nans` set).
        ImplementationError: the implementation asked for does not exist or cannot run here.

    Source: Qin et al. 2023, arXiv 2311.04823.
    """
    given, state = prepare(x, log_decay, initial_state, segment_ids)
    check_chunk_size("linear_recurrence", chunk_size)
    call = call_of(given, state)
    choice = choose(call, target(), implementation, interpret)
    if choice.implementation == "reference":
        return linear_recurrence_reference(*given, state)
    if choice.implementation == "xla":
        rows = chunk_size or _ROWS.get(target().platform, _ROWS_ELSEWHERE)
        return linear_recurrence_chunked(min(rows, call.t), *given, state)
    return run_kernel(call, choice, given, state, None, chunk_size, interpret)


def call_of(given: tuple, state: Any) -> Call:
    """What is asked of an implementation."""
    return call_of_channels("linear_recurrence", given[0], given[2], state)


def prepare(
    x: Array, log_decay: Array, initial_state: Array | None, segment_ids: Array | None
) -> tuple[tuple[Array, Array, Array | None], Array]:
    """Arguments checked and in one form: (x, log_decay, resets [b, t] or None), a state [b, d]."""
    op = "linear_recurrence"
    expect(op, "x", x, (None,) * 3, "b t d", "batch, time, channels")
    b, t, d = x.shape
    if min(b, t, d) < 1:
        raise ValueError(f"{op}: every axis needs at least one entry; x {x.shape}")
    expect(op, "log_decay", log_decay, x.shape, "b t d", "as x")
    if initial_state is not None:
        expect(op, "initial_state", initial_state, (b, d), "b d")
    expect_floats(op, x=x, log_decay=log_decay, initial_state=initial_state)
    expect_whole(op, x=x, log_decay=log_decay, initial_state=initial_state)
    check_segments(op, segment_ids, b, t)
    check_log_decay(op, log_decay)
    dtype = accumulation_dtype(*(y for y in (x, log_decay, initial_state) if y is not None))
    state = jnp.zeros((b, d), dtype) if initial_state is None else jnp.asarray(initial_state, dtype)
    tokens = (jnp.asarray(x), jnp.asarray(log_decay, dtype), resets_of(segment_ids))
    return vary_alike((tokens, state))
