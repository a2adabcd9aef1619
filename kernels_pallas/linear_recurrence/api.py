"""The public elementwise recurrence: checks, the choice of implementation, one call."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kernels_pallas.dispatch import choose
from kernels_pallas.linear_recurrence.reference import linear_recurrence_reference
from kernels_pallas.linear_recurrence.xla import linear_recurrence_chunked
from kernels_pallas.shapes import accumulation_dtype, expect, resets_of
from kernels_pallas.vary import vary_alike

IMPLEMENTATIONS = ("reference", "xla")
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
) -> tuple[Float[Array, "b t d"], Float[Array, "b d"]]:
    """h_t = exp(g_t) h_{t-1} + x_t for each channel (HGRN).

    Args:
        x: inputs [b, t, d].
        log_decay: g <= 0 [b, t, d].
        initial_state: h before the first token [b, d]; zero where not given.
        segment_ids: integers [b, t]; where one differs from its predecessor h starts from zero.
        chunk_size: tokens combined at once; only the chunked form reads it.
        implementation: "reference" (token by token), "xla" (blocks), or None: chosen by shape.

    Returns:
        All h [b, t, d] in x's dtype, and the last one in float32 (float64 if an input is float64).

    Raises:
        ValueError: a shape or the chunk size does not fit.
        ImplementationError: the implementation asked for cannot run.

    Source: Qin et al. 2023, arXiv 2311.04823.
    """
    expect("linear_recurrence", "x", x, (None,) * 3, "b t d")
    b, t, d = x.shape
    expect("linear_recurrence", "log_decay", log_decay, x.shape, "b t d")
    dtype = accumulation_dtype(x, log_decay)
    if initial_state is None:
        initial_state = jnp.zeros((b, d), dtype)
    expect("linear_recurrence", "initial_state", initial_state, (b, d), "b d")
    if segment_ids is not None:
        expect("linear_recurrence", "segment_ids", segment_ids, (b, t), "b t")
    rows = _ROWS.get(jax.default_backend(), _ROWS_ELSEWHERE) if chunk_size is None else chunk_size
    if rows < 1 or t < 1:
        raise ValueError(f"linear_recurrence: chunk_size {rows} and t {t} must be at least 1")
    given = (x, log_decay.astype(dtype), resets_of(segment_ids), initial_state.astype(dtype))
    x, log_decay, resets, start = vary_alike(given)
    choice = choose("linear_recurrence", implementation, dict.fromkeys(IMPLEMENTATIONS), t)
    if choice.implementation == "reference":
        return linear_recurrence_reference(x, log_decay, resets, start)
    return linear_recurrence_chunked(min(rows, t), x, log_decay, resets, start)
