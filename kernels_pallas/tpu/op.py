"""From an op's arguments to the kernels' layout and back, and the kernels' gradient.

Inputs along time go heads first; the transposes are for the compiler to fold into whatever wrote
the arrays. Numbers a token become rows [b, h, n, 1, c]. Padded tokens leave the state alone: their
keys and log decays are zero.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels_pallas.call import Call
from kernels_pallas.chip import Chip
from kernels_pallas.tpu.backward import run_backward
from kernels_pallas.tpu.forward import run_forward
from kernels_pallas.tpu.grid import Cut, Tokens
from kernels_pallas.tpu.plan import TOGETHER, blocks, limit, padded

# exp is exactly 0, and sums over a chunk stay finite where a gate is -inf.
CLOSED = -1e5


def run(
    call: Call,
    chip: Chip,
    tokens: Any,
    initial_state: Float[Array, "b h k v"],
    scale: float,
    chunk_size: int | None,
    interpret: Any,
) -> tuple[Float[Array, "b t h v"], Float[Array, "b h k v"]]:
    """Outputs in v's dtype and the final state in float32.

    `tokens`: q, k, v, log_decay, resets and, for the delta rule, beta, as the op has them.
    """
    cut = plan(call, chip, scale, chunk_size, interpret)
    state = jnp.swapaxes(_widen(initial_state, 2, 3), 2, 3)
    out, final = recurrence(cut, _arrange(cut, tokens), state)
    out = jnp.moveaxis(out[:, :, : call.t, : call.v], 1, 2).astype(tokens.v.dtype)
    return out, jnp.swapaxes(final, 2, 3)[..., : call.k, : call.v]


def plan(
    call: Call, chip: Chip, scale: float, chunk_size: int | None, interpret: Any = False
) -> Cut:
    """The cut of a call. Groups differ from each other by less than a chunk."""
    found, _ = blocks(call, chip, chunk_size)
    chunks = -(-call.t // found.chunk_size)
    groups = -(-chunks // found.chunks)
    short = call.dtype == "bfloat16"
    return Cut(
        heads=found.heads,
        groups=groups,
        chunks=-(-chunks // groups),
        rows=found.chunk_size,
        scale=scale,
        short=short,
        interpret=interpret,
        vmem_bytes=limit(chip),
        together=TOGETHER[chip.kind],
    )


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def recurrence(
    cut: Cut, tokens: Tokens, initial: Float[Array, "b h v k"]
) -> tuple[Float[Array, "b h t v"], Float[Array, "b h v k"]]:
    """Outputs and final state. Residuals: the inputs and the state before each group of chunks."""
    out, final = run_forward(cut, tokens, initial, keep=False)
    return out, final


def _forward(cut: Cut, tokens: Tokens, initial: Array) -> tuple:
    out, final, before = run_forward(cut, tokens, initial, keep=True)
    return (out, final), (tokens, before)


def _backward(cut: Cut, saved: tuple, cotangents: tuple[Array, Array]) -> tuple[Tokens, Array]:
    tokens, before = saved
    return run_backward(cut, tokens, before, *cotangents)


recurrence.defvjp(_forward, _backward)


def _arrange(cut: Cut, tokens: Any) -> Tokens:
    dtype = jnp.bfloat16 if cut.short else jnp.float32
    q, k, v = (_heads_first(cut, x.astype(dtype)) for x in (tokens.q, tokens.k, tokens.v))
    decay = closed_at_resets(tokens.log_decay, tokens.resets, tokens.k.shape[2])
    if decay is not None:
        decay = _rows(cut, decay[..., 0]) if decay.shape[3] == 1 else _heads_first(cut, decay)
    beta = getattr(tokens, "beta", None)
    return Tokens(q, k, v, decay, None if beta is None else _rows(cut, beta))


def closed_at_resets(log_decay: Array | None, resets: Array | None, heads: int) -> Array | None:
    """The log decay [b, t, h, g] with closed gates at resets: a state that decays to nothing."""
    if log_decay is None:
        if resets is None:
            return None
        gates = jnp.where(resets[..., None, None], jnp.float32(CLOSED), jnp.float32(0))
        return jnp.broadcast_to(gates, (*resets.shape, heads, 1))
    return _closed(log_decay, resets)


@jax.custom_vjp
def _closed(log_decay: Array, resets: Array | None) -> Array:
    if resets is not None:
        log_decay = jnp.where(resets[..., None, None], CLOSED, log_decay)
    return jnp.maximum(log_decay, CLOSED)


# A closed gate gets a gradient of exactly zero from the kernels: nothing has to be kept.
_closed.defvjp(lambda g, resets: (_closed(g, resets), None), lambda _, d: (d, None))


def _heads_first(cut: Cut, x: Float[Array, "b t h x"]) -> Float[Array, "b h padded wide"]:
    return _pad_time(cut, jnp.moveaxis(_widen(x, 3), 2, 1))


def _rows(cut: Cut, x: Float[Array, "b t h"]) -> Float[Array, "b h n 1 c"]:
    x = _pad_time(cut, jnp.moveaxis(x.astype(jnp.float32), 2, 1))
    return x.reshape(*x.shape[:2], -1, 1, cut.rows)


def _pad_time(cut: Cut, x: Array) -> Array:
    missing = cut.groups * cut.chunks * cut.rows - x.shape[2]
    return jnp.pad(x, [(0, missing if axis == 2 else 0) for axis in range(x.ndim)])


def _widen(x: Array, *axes: int) -> Array:
    """Keys and values padded with zeros to a width that registers hold."""
    widths = [(0, padded(n) - n if i in axes else 0) for i, n in enumerate(x.shape)]
    return jnp.pad(x, widths)
