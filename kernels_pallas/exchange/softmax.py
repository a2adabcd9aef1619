"""Causal softmax attention over a sequence that several devices hold in contiguous slices."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Array, Float, Int

from kernels_pallas.exchange.line import Axis, Line
from kernels_pallas.exchange.softmax_gathered import attend_gathered, attend_own
from kernels_pallas.exchange.softmax_local import Tokens
from kernels_pallas.exchange.softmax_ring import attend_ring
from kernels_pallas.exchange.softmax_ulysses import attend_ulysses
from kernels_pallas.exchange.softmax_window import attend_window
from kernels_pallas.shapes import check_segments, expect, expect_floats, scale_of

OP = "softmax_attention_across"

SOFTMAX_METHODS: dict[str, Callable[[Tokens, Line, float], Array]] = {
    "all_gather": attend_gathered,
    "ring": attend_ring,
    "ulysses": attend_ulysses,
    "off": attend_own,
}

# Names of what the backward pass needs of other devices or computed at length, for a policy of
# `jax.checkpoint`: a backward pass that recomputes its layer sends nothing again if all are saved.
# "exchange_keys" are those of the whole sequence for all_gather, of one slice for a ring.
SOFTMAX_RESIDUALS = ("exchange_keys", "exchange_outputs", "exchange_total")


def softmax_attention_across(
    q: Float[Array, "b t h k"],
    k: Float[Array, "b t g k"],
    v: Float[Array, "b t g v"],
    *,
    axis: Axis,
    method: str = "all_gather",
    segment_ids: Int[Array, "b t"] | None = None,
    window: int | None = None,
    scale: float | None = None,
) -> Float[Array, "b t h v"]:
    """Causal softmax attention, for the body of `shard_map`.

        o_i = sum_{j <= i} softmax_j(scale q_i k_j) v_j   over tokens j of i's document and window

    Scores and softmax are float32; operands of the products keep the dtype of the inputs, their
    sums are float32. A method holds no [t, s] scores beyond 2^26 at once: rows of queries follow
    one another, and the backward pass computes them again.

    Args:
        q: queries of this device's slice of time; query head i reads kv head i // (h / g).
        k, v: keys and values of the slice, already rotated, of g kv heads, g a divisor of h.
        axis: mesh axis that time is split over, in contiguous slices, or a tuple of axes.
        method: "all_gather" (LASP-2H: all keys on every device), "ring" (keys pass by),
            "ulysses" (each device has some heads and all of time) or "off" (each slice sees
            itself only: the control of experiments). `softmax_traffic` tells what they send.
        segment_ids: document of each token; tokens see their own only.
        window: tokens seen, the query's own among them; None: all. With it every method but "off"
            sends the window - 1 tokens before each slice instead, and no more.
        scale: factor of the scores; k^-0.5 where not given.

    Returns:
        Outputs of the slice [b, t, h, v], in the dtype of the inputs.

    Raises:
        ValueError: an unknown method, shapes or dtypes that do not fit, heads that kv heads do not
            divide, a window below 1, or ulysses on devices that do not divide the kv heads.

    Source: Sun et al. 2025, arXiv 2502.07563, section 4.5 (all_gather); Liu et al. 2023, arXiv
    2310.01889 (ring); Jacobs et al. 2023, arXiv 2309.14509 (ulysses).
    """
    _check(q, k, v, segment_ids, window)
    if method not in SOFTMAX_METHODS:
        known = ", ".join(SOFTMAX_METHODS)
        raise ValueError(f"{OP}: method is {method!r}; wanted one of {known}")
    line, tokens = Line.along(axis), Tokens(q, k, v, segment_ids)
    factor = scale_of(OP, scale, k.shape[-1])
    if window is not None:
        return attend_window(tokens, None if method == "off" else line, window, factor)
    return SOFTMAX_METHODS[method](tokens, line, factor)


def _check(q: Array, k: Array, v: Array, segment_ids: Array | None, window: int | None) -> None:
    expect(OP, "q", q, (None,) * 4, "b t h k", "batch, time, heads, channels of a head")
    b, t, h, key = q.shape
    expect(OP, "k", k, (b, t, None, key), "b t g k", "as q, with a divisor of its heads")
    g = k.shape[2]
    expect(OP, "v", v, (b, t, g, None), "b t g v", "as k but for its channels")
    if min(b, t, h, key, g, v.shape[-1]) < 1:
        raise ValueError(
            f"{OP}: every axis needs at least one entry; q {q.shape}, k {k.shape}, v {v.shape}"
        )
    if h % g:
        near = [n for n in range(1, h + 1) if h % n == 0]
        raise ValueError(f"{OP}: k has {g} kv heads, which do not divide q's {h}; wanted of {near}")
    expect_floats(OP, q=q, k=k, v=v)
    if not q.dtype == k.dtype == v.dtype:
        raise ValueError(
            f"{OP}: q is {q.dtype}, k {k.dtype}, v {v.dtype}; wanted one dtype: use astype"
        )
    check_segments(OP, segment_ids, b, t)
    if window is not None and window < 1:
        raise ValueError(f"{OP}: window is {window}; wanted 1 (the token itself) or more, or None")
