"""Sequences cut into groups of chunks: the frame of the chunked ops and of their gradients.

A group does the work of its chunks at once; a scan runs over the groups. The backward pass keeps
the inputs and the state before each group, and runs the groups in reverse, recomputing each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array


class Plan(NamedTuple):
    """A sequence cut into `groups` stretches of `chunks` chunks of `rows` tokens each."""

    groups: int
    chunks: int
    rows: int
    scale: float
    precision: jax.lax.Precision


def plan(op: str, k: Array, scale: float, rows: int, group: int) -> Plan:
    """The cut of k [b, t, h, k] into chunks of `rows` and groups of at most `group` tokens.

    Groups differ by less than a chunk. Raises ValueError if `rows` is not a power of two.
    """
    length = k.shape[1]
    if rows < 1 or rows & (rows - 1):
        raise ValueError(f"{op}: chunk_size is {rows}; wanted a power of two, such as 64")
    rows = min(rows, 1 << (length - 1).bit_length())
    chunks = -(-length // rows)
    groups = -(-chunks // max(1, group // rows))
    # Inputs of fewer bits than float32 lose nothing to the fast formats.
    short = k.dtype.itemsize < 4
    precision = jax.lax.Precision.DEFAULT if short else jax.lax.Precision.HIGHEST
    return Plan(groups, -(-chunks // groups), rows, scale, precision)


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

    def group(d_state: Array, xs: tuple) -> tuple[Array, Any]:
        tokens, state, d_outputs = xs
        resets = tokens.resets

        def again(state: Array, tokens: Any) -> tuple[Array, Array | None]:
            return run(plan, state, tokens._replace(resets=resets))

        _, pull = jax.vjp(again, state, tokens._replace(resets=None))
        return pull((d_state, d_outputs))

    split = partial(_split, plan)
    xs = (jax.tree.map(split, tokens), entering, jax.tree.map(split, d_outputs))
    d_initial, d_tokens = jax.lax.scan(group, d_final, xs, reverse=True)
    return jax.tree.map(partial(_join, tokens.k.shape[1]), d_tokens), d_initial


in_groups.defvjp(_forward, _backward)


def _forward_groups(
    run: RunGroup, plan: Plan, tokens: Any, state: Array
) -> tuple[Array | None, Array, Array]:
    """Outputs, final state, and the state entering each group [groups, b, ...]."""

    def group(state: Array, tokens: Any) -> tuple[Array, tuple[Array | None, Array]]:
        final, outputs = run(plan, state, tokens)
        return final, (outputs, state)

    groups = jax.tree.map(partial(_split, plan), tokens)
    final, (outputs, entering) = jax.lax.scan(group, state, groups)
    return jax.tree.map(partial(_join, tokens.k.shape[1]), outputs), final, entering


def _split(plan: Plan, x: Array) -> Array:
    """[b, t, ...] -> [groups, b, t of a group, ...]; added tokens (zeros) leave the state alone."""
    size = plan.chunks * plan.rows
    missing = plan.groups * size - x.shape[1]
    if missing:
        x = jnp.pad(x, [(0, 0), (0, missing)] + [(0, 0)] * (x.ndim - 2))
    return jnp.moveaxis(x.reshape(x.shape[0], plan.groups, size, *x.shape[2:]), 1, 0)


def _join(length: int, x: Array) -> Array:
    """The inverse of `_split` for a sequence of `length` tokens."""
    x = jnp.moveaxis(x, 0, 1)
    return x.reshape(x.shape[0], -1, *x.shape[3:])[:, :length]


def by_chunk(plan: Plan, x: Array) -> Array:
    """[b, t, h, x] of a group -> [chunks, b, h, rows, x]."""
    x = x.reshape(x.shape[0], plan.chunks, plan.rows, *x.shape[2:])
    return jnp.moveaxis(x, (1, 3), (0, 2))
