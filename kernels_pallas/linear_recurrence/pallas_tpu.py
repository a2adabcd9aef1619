"""The elementwise recurrence on TPU: channels along the lanes, time in chunks, h stays on chip.

Forward h_t = a_t h_{t-1} + x_t, backward (see xla.py) d_t = dh_t + a_{t+1} d_{t+1}, with a = exp(g)
<= 1. Eight rows, which fill a register, are combined by doubling; h then goes from one eight to
the next. The backward pass recomputes a chunk from the h before it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from kernels_pallas import tables
from kernels_pallas.call import Call
from kernels_pallas.chip import Chip
from kernels_pallas.tpu import plan

EIGHT = 8
ROWS, LANES = 512, 512
UNROLL = 8  # a row of eights waits for the one before; independent work fills the time
# Backward: five arrays in two buffers and one more in float32, within what a kernel gets unasked.
VMEM_BYTES = 14 << 20
RESET = -1e5  # exp is exactly 0


class Cut(NamedTuple):
    """The block of a grid step, [rows, lanes] of [t, d]."""

    rows: int
    lanes: int
    interpret: Any


def refusal(call: Call, chip: Chip) -> str:
    """Why the kernel cannot run; "" where it can."""
    if call.dtype == "float16":
        return "it takes bfloat16 and float32, not float16"
    return plan.refusal(call._replace(k=1, v=1), chip)  # any number of channels fits


def run(
    call: Call,
    chip: Chip,
    tokens: tuple[Array, Array, Array | None],
    initial_state: Float[Array, "b d"],
    scale: None,
    chunk_size: int | None,
    interpret: Any,
) -> tuple[Float[Array, "b t d"], Float[Array, "b d"]]:
    """All h in x's dtype, and the last one. Raises ValueError if chunk_size does not fit."""
    rows, lanes, _ = _blocks(call, chip, chunk_size)
    return _recurrence(Cut(rows, lanes, interpret), *tokens, initial_state)


def plan_words(call: Call, chip: Chip, chunk_size: int | None) -> str:
    """The block of a grid step and where its size is from."""
    rows, lanes, source = _blocks(call, chip, chunk_size)
    return f"{rows} tokens x {lanes} channels ({source})"


def _blocks(call: Call, chip: Chip, chunk_size: int | None) -> tuple[int, int, str]:
    """Rows, lanes, and where they are from."""
    found, source = tables.lookup("pallas_tpu", call, chip), "table"
    if found is None:
        found, source = {"chunk_size": ROWS, "lanes": LANES}, "heuristic"
    lanes = _lanes(call.k, found["lanes"])
    if chunk_size is None:
        return _even(call.t, found["chunk_size"]), lanes, source
    most = VMEM_BYTES // (lanes * 44)
    if chunk_size < EIGHT or chunk_size > most:
        raise ValueError(
            f"{call.op}: chunk_size is {chunk_size}; wanted a power of two from {EIGHT} to {most} "
            f"for {lanes} of {call.k} channels at once on {chip.kind}, or None"
        )
    return chunk_size, lanes, "argument"


def _even(t: int, most: int) -> int:
    """Rows of the fewest chunks of at most `most` tokens: as even as multiples of 16 can be."""
    least = -(-t // -(-t // most))
    return least + -least % 16


def _lanes(d: int, most: int) -> int:
    """All channels, or a multiple of 128, the largest that divides those of whole registers."""
    if d <= most:
        return d
    whole = -(-d // 128)
    return 128 * next(n for n in range(most // 128, 0, -1) if whole % n == 0)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recurrence(
    cut: Cut, x: Array, log_decay: Array, resets: Array | None, start: Array
) -> tuple[Array, Array]:
    """All h and the last one. Residuals: the inputs, and the h before each chunk."""
    return _forward(cut, x, log_decay, resets, start)[0]


def _forward(cut: Cut, x: Array, log_decay: Array, resets: Array | None, start: Array) -> tuple:
    folded = _padded(cut, _fold(log_decay, resets))
    h, final, before = _run_forward(cut, _padded(cut, x), folded, _state(cut, start))
    b, t, d = x.shape
    return (h[:, :t, :d], final[:, 0, :d]), (x, log_decay, resets, before)


def _backward(cut: Cut, saved: tuple, cotangents: tuple[Array, Array]) -> tuple:
    x, log_decay, resets, before = saved
    d_h, d_final = cotangents
    folded, state = _padded(cut, _fold(log_decay, resets)), _state(cut, d_final)
    found = _run_backward(cut, _padded(cut, x), folded, before, _padded(cut, d_h), state)
    d_x, d_log_decay, d_start = found
    b, t, d = x.shape
    return d_x[:, :t, :d], d_log_decay[:, :t, :d], None, d_start[:, 0, :d]


_recurrence.defvjp(_forward, _backward)


def _fold(log_decay: Array, resets: Array | None) -> Array:
    return log_decay if resets is None else jnp.where(resets[..., None], RESET, log_decay)


def _padded(cut: Cut, x: Float[Array, "b t d"]) -> Array:
    """Whole blocks: added tokens keep h, added channels are zero."""
    return jnp.pad(x, ((0, 0), (0, -x.shape[1] % cut.rows), (0, -x.shape[2] % cut.lanes)))


def _state(cut: Cut, h: Float[Array, "b d"]) -> Array:
    """[b, 1, d], whole blocks."""
    return jnp.pad(h, ((0, 0), (0, -h.shape[1] % cut.lanes)))[:, None]


def _run_forward(cut: Cut, x: Array, log_decay: Array, start: Array) -> tuple[Array, Array, Array]:
    """h [b, t, d], the last one [b, 1, d], and the one before each chunk [b, n, 1, d]."""
    b, t, d = x.shape
    chunks = t // cut.rows

    def kernel(x, g, start, h, final, before) -> None:
        @pl.when(pl.program_id(2) == 0)
        def _start() -> None:
            final[...] = start[...]

        before[0] = final[...]

        def eight(at: pl.Slice, carry: Array) -> Array:
            found, carry, _ = _eight(x[0, at], g[0, at], carry)
            h[0, at] = found.astype(h.dtype)
            return carry

        final[0] = _each_eight(cut.rows, eight, final[0])

    along, state, chunk = _specs(cut, lambda j: j)
    return pl.pallas_call(
        kernel,
        grid=(b, d // cut.lanes, chunks),
        in_specs=[along, along, state],
        out_specs=[along, state, chunk],
        out_shape=[_like(x), _like(start), _like(start, (b, chunks, 1, d))],
        compiler_params=_params(),
        cost_estimate=_cost(x, log_decay, x),
        interpret=cut.interpret,
        name="recurrence_forward",
    )(x, log_decay, start)


def _run_backward(
    cut: Cut, x: Array, log_decay: Array, before: Array, d_h: Array, d_final: Array
) -> tuple[Array, Array, Array]:
    """Cotangents of x, log_decay and the start."""
    b, t, d = x.shape
    last = t // cut.rows - 1

    def kernel(x, g, before, d_h, d_final, d_x, d_g, carried, kept) -> None:
        """`carried` holds a_t d_t of the token after those that are left to do."""

        @pl.when(pl.program_id(2) == 0)
        def _start() -> None:
            carried[...] = d_final[...]

        def again(at: pl.Slice, carry: Array) -> Array:
            _, carry, kept[at] = _eight(x[0, at], g[0, at], carry)
            return carry

        def back(at: pl.Slice, carry: Array) -> Array:
            d, carry = _eight_back(d_h[0, at], g[0, at], carry)
            d_x[0, at] = d.astype(d_x.dtype)
            d_g[0, at] = d * kept[at]
            return carry

        _each_eight(cut.rows, again, before[0, 0])
        carried[0] = _each_eight(cut.rows, back, carried[0], reverse=True)

    along, state, chunk = _specs(cut, lambda j: last - j)
    return pl.pallas_call(
        kernel,
        grid=(b, d // cut.lanes, last + 1),
        in_specs=[along, along, chunk, along, state],
        out_specs=[along, along, state],
        out_shape=[_like(x), _like(log_decay), _like(d_final)],
        scratch_shapes=[pltpu.VMEM((cut.rows, cut.lanes), jnp.float32)],
        compiler_params=_params(),
        cost_estimate=_cost(x, log_decay, d_h, x, log_decay),
        interpret=cut.interpret,
        name="recurrence_backward",
    )(x, log_decay, before, d_h, d_final)


def _each_eight(rows: int, step: Any, carry: Array, reverse: bool = False) -> Array:
    """`step(rows to read, carry) -> carry` for eight rows after eight."""
    count = rows // EIGHT

    def body(i: Any, carry: Array) -> Array:
        i = count - 1 - i if reverse else i
        return step(pl.ds(pl.multiple_of(i * EIGHT, EIGHT), EIGHT), carry)

    return jax.lax.fori_loop(0, count, body, carry, unroll=min(count, UNROLL))


def _eight(
    x: Float[Array, "8 d"], g: Float[Array, "8 d"], carry: Float[Array, "1 d"]
) -> tuple[Array, Array, Array]:
    """h, the last one, and a_t h_{t-1}; `carry` is the h before them."""
    row = jax.lax.broadcasted_iota(jnp.int32, x.shape, 0)
    h, own = x.astype(jnp.float32), jnp.exp(g)
    since = own
    for m in (1, 2, 4):
        h = h + jnp.where(row >= m, since * pltpu.roll(h, m, 0), 0)
        since = jnp.where(row >= m, since * pltpu.roll(since, m, 0), since)
    h = h + since * carry
    kept = own * jnp.where(row == 0, carry, pltpu.roll(h, 1, 0))
    return h, h[EIGHT - 1 :], kept


def _eight_back(
    d_h: Float[Array, "8 d"], g: Float[Array, "8 d"], carry: Float[Array, "1 d"]
) -> tuple[Array, Array]:
    """d, and a_t d_t of the first; `carry` is that of the token after them."""
    row = jax.lax.broadcasted_iota(jnp.int32, d_h.shape, 0)
    d, own = d_h.astype(jnp.float32), jnp.exp(g)
    to_end = jnp.where(row < EIGHT - 1, pltpu.roll(own, EIGHT - 1, 0), 1)
    for m in (1, 2, 4):
        earlier = row < EIGHT - m
        d = d + jnp.where(earlier, to_end * pltpu.roll(d, EIGHT - m, 0), 0)
        to_end = jnp.where(earlier, to_end * pltpu.roll(to_end, EIGHT - m, 0), to_end)
    d = d + to_end * carry
    return d, own[:1] * d[:1]


def _specs(cut: Cut, chunk: Any) -> tuple[pl.BlockSpec, pl.BlockSpec, pl.BlockSpec]:
    """Blocks of [b, t, d], of a state [b, 1, d], and of states before chunks [b, n, 1, d]."""
    return (
        pl.BlockSpec((1, cut.rows, cut.lanes), lambda b, d, j: (b, chunk(j), d)),
        pl.BlockSpec((1, 1, cut.lanes), lambda b, d, j: (b, 0, d)),
        pl.BlockSpec((1, 1, 1, cut.lanes), lambda b, d, j: (b, chunk(j), 0, d)),
    )


def _like(x: Array, shape: tuple[int, ...] | None = None) -> jax.ShapeDtypeStruct:
    """Inside `shard_map` an output varies over the axes that the inputs vary over."""
    kind = jax.typeof(x).manual_axis_type
    return jax.ShapeDtypeStruct(shape or x.shape, x.dtype, manual_axis_type=kind)


def _params() -> pltpu.CompilerParams:
    return pltpu.CompilerParams(dimension_semantics=("parallel", "parallel", "arbitrary"))


def _cost(*moved: Array) -> pl.CostEstimate:
    """For XLA's schedule: the work is small beside the arrays that it moves."""
    size = moved[0].size
    bytes_accessed = sum(x.size * x.dtype.itemsize for x in moved)
    return pl.CostEstimate(20 * size, transcendentals=size, bytes_accessed=bytes_accessed)
