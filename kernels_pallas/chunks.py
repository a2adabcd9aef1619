"""Sequences cut into groups of chunks: the frame of the chunked ops and of their gradients.

A group does the work of its chunks at once; loops run over the groups. The backward pass keeps
the inputs and the state before each group, and runs the groups in reverse, recomputing each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernels_pallas.chip import target
from kernels_pallas.vary import vary_alike


class Plan(NamedTuple):
    """Heads of `sequences` at once, in `groups` stretches of `chunks` chunks of `rows` tokens."""

    sequences: int
    heads: int  # all of them if there are several sequences
    groups: int
    chunks: int
    rows: int
    scale: float
    precision: jax.lax.Precision


# Numbers of q, or of k, that a group holds on a CPU: each of its arrays then takes 256 KiB, and a
# second-level cache of 1 MiB holds the three that a product reads and writes.
_CACHED = 2**16
_FEWEST = 256  # tokens, to keep few states


def plan(op: str, k: Array, scale: float, rows: int, group: int) -> Plan:
    """The cut of k [b, t, h, k] into chunks of `rows` and groups of at most `group` tokens.

    Groups differ by less than a chunk. Raises ValueError if `rows` is not a power of two.
    """
    b, length, h, width = k.shape
    if rows < 1 or rows & (rows - 1):
        raise ValueError(f"{op}: chunk_size is {rows}; wanted a power of two, such as 64")
    heads = _heads_at_once(min(length, _FEWEST), h, width)
    if target().platform == "cpu":
        group = min(group, max(_FEWEST, _CACHED // (heads * width)))
    rows = min(rows, 1 << (length - 1).bit_length())
    chunks = -(-length // rows)
    groups = -(-chunks // max(1, group // rows))
    in_group = -(-chunks // groups)
    sequences = _sequences_at_once(b, heads == h, heads * in_group * rows * width)
    # Inputs of fewer bits than float32 lose nothing to the fast formats.
    short = k.dtype.itemsize < 4
    precision = jax.lax.Precision.DEFAULT if short else jax.lax.Precision.HIGHEST
    return Plan(sequences, heads, groups, in_group, rows, scale, precision)


def _heads_at_once(tokens: int, h: int, width: int) -> int:
    """All heads if so many tokens of them fit, else one: a few of them lie scattered."""
    return h if not _one_cpu() or tokens * h * width <= _CACHED else 1


def _sequences_at_once(b: int, all_heads: bool, numbers: int) -> int:
    """As many sequences as fit, if one takes so many numbers; a divisor of b."""
    if not _one_cpu():
        return b
    limit = _CACHED // numbers if all_heads else 1
    return next((n for n in range(min(b, limit), 0, -1) if b % n == 0), 1)


def _one_cpu() -> bool:
    """A loop over sequences or heads that lie on several devices would gather them."""
    return target().platform == "cpu" and jax.device_count() == 1


# (plan, state, tokens of a group) -> (state after it, outputs [b, t, ...] or None)
RunGroup = Callable[[Plan, Array, Any], tuple[Array, Array | None]]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def in_groups(
    run: RunGroup, plan: Plan, tokens: Any, initial_state: Array
) -> tuple[Array | None, Array]:
    """Outputs along time and the final state. `tokens`: a NamedTuple of [b, t, ...], or None,
    with a field `resets` (bool), which has no gradient, and a field `k`."""
    outputs, final, _ = _forward_groups(run, plan, tokens, initial_state)
    return outputs, final


def _forward(run: RunGroup, plan: Plan, tokens: Any, initial_state: Array):
    outputs, final, entering = _forward_groups(run, plan, tokens, initial_state)
    return (outputs, final), (tokens, entering)


def _backward(run: RunGroup, plan: Plan, saved: tuple, cotangents: tuple[Array | None, Array]):
    tokens, entering = saved
    d_outputs, d_final = cotangents

    def group(d_state: Array, along: tuple, state: Array) -> tuple[Array, Any, None]:
        tokens, d_outputs = along
        resets = tokens.resets

        def again(state: Array, tokens: Any) -> tuple[Array, Array | None]:
            return run(plan, state, tokens._replace(resets=resets))

        _, pull = jax.vjp(again, state, tokens._replace(resets=None))
        return *pull((d_state, d_outputs)), None

    along = (tokens, d_outputs)
    d_tokens, d_initial, _ = _over_groups(plan, group, d_final, along, entering, reverse=True)
    return d_tokens, d_initial


in_groups.defvjp(_forward, _backward)


def _forward_groups(
    run: RunGroup, plan: Plan, tokens: Any, state: Array
) -> tuple[Array | None, Array, Array]:
    """Outputs, final state, and the states entering the groups."""

    def group(state: Array, tokens: Any, _: None) -> tuple[Array, Array | None, Array]:
        return *run(plan, state, tokens), state

    return _over_groups(plan, group, state, tokens)


def _over_groups(
    plan: Plan, body: Callable, carry: Array, along: Any, kept: Any = None, reverse: bool = False
) -> tuple[Any, Array, Any]:
    """(carry, arrays of a group's time, kept of a group) -> (carry, arrays along time, to keep),
    over all groups of a block of heads and sequences, then of the next. What is kept has leading
    axes [blocks, groups]. Added tokens (zeros) leave the state alone.
    """
    b, h = carry.shape[:2]
    length = jax.tree.leaves(along)[0].shape[1]
    along = jax.tree.map(partial(_lengthen, plan.groups * plan.chunks * plan.rows), along)

    def group(i: Array | int, loop: tuple[Array, Any], xs: tuple[Array, Any]) -> tuple[tuple, Any]:
        (carry, written), (j, kept) = loop, xs
        carry, part, keep = body(carry, jax.tree.map(partial(_read, plan, h, i, j), along), kept)
        return (carry, jax.tree.map(partial(_write, plan, h, i, j), written, part)), keep

    def block(written: Any, xs: tuple[Array, Array, Any]) -> tuple[Any, tuple[Array, Any]]:
        i, carry, kept = xs
        i = 0 if len(carries) == 1 else i  # known, for axes that lie on several devices
        loop, keep = jax.lax.scan(
            partial(group, i), (carry, written), (jnp.arange(plan.groups), kept), reverse=reverse
        )
        return loop[1], (loop[0], keep)

    carries = carry.reshape(-1, plan.sequences, plan.heads, *carry.shape[2:])
    first = (carries[0], jax.tree.map(partial(_read, plan, h, 0, 0), along))
    parts = jax.eval_shape(body, *first, jax.tree.map(lambda x: x[0, 0], kept))[1]
    room = lambda x: jnp.zeros((b, plan.groups * x.shape[1], h, *x.shape[3:]), x.dtype)  # noqa: E731
    written = jax.tree.map(room, parts)
    written = vary_alike((carry, written))[1]
    written, (carries, keep) = jax.lax.scan(
        block, written, (jnp.arange(len(carries)), carries, kept)
    )
    written = jax.tree.map(lambda x: x[:, :length], written)
    return written, carries.reshape(carry.shape), keep


def _read(plan: Plan, h: int, i: Array | int, j: Array | int, x: Array) -> Array:
    """Group j of block i of x [b, t, h, ...], or of x [b, t]."""
    size = (plan.sequences, plan.chunks * plan.rows, plan.heads, *x.shape[3:])
    return jax.lax.dynamic_slice(x, _corner(plan, h, i, j, x), size[: x.ndim])


def _write(plan: Plan, h: int, i: Array | int, j: Array, x: Array, part: Array) -> Array:
    return jax.lax.dynamic_update_slice(x, part, _corner(plan, h, i, j, x))


def _corner(plan: Plan, h: int, i: Array | int, j: Array | int, x: Array) -> tuple:
    """Where group j of block i begins: blocks run over the heads, then over the sequences."""
    across = h // plan.heads
    at = (i // across * plan.sequences, j * plan.chunks * plan.rows, i % across * plan.heads)
    return (*at, *[0] * x.ndim)[: x.ndim]


def _lengthen(length: int, x: Array) -> Array:
    """[b, t, ...] with zeros up to `length` tokens."""
    missing = length - x.shape[1]
    return jnp.pad(x, [(0, 0), (0, missing)] + [(0, 0)] * (x.ndim - 2)) if missing else x


def by_chunk(plan: Plan, x: Array) -> Array:
    """[b, t, h, x] of a group -> [chunks, b, h, rows, x].

    Cut once: without the barrier XLA cuts again for each product that reads x.
    """
    x = x.reshape(x.shape[0], plan.chunks, plan.rows, *x.shape[2:])
    return jax.lax.optimization_barrier(jnp.moveaxis(x, (1, 3), (0, 2)))
