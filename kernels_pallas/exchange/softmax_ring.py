"""Softmax attention while keys and values pass from device to device in a ring.

No device holds more than two slices of them. Each is joined to the softmax so far; the backward
pass sends them around the other way, gradients behind them.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

from kernels_pallas.exchange.line import Line
from kernels_pallas.exchange.softmax_gathered import gathered
from kernels_pallas.exchange.softmax_local import (
    Sight,
    Tokens,
    blocks_of,
    cut,
    joined,
    rows_at_once,
)
from kernels_pallas.exchange.softmax_partial import (
    Kept,
    Partial,
    gradients,
    join,
    nothing,
    partial,
)
from kernels_pallas.shapes import accumulation_dtype
from kernels_pallas.vary import vary_alike

Ids = tuple[Int[Array, "b t"], Int[Array, "w b t"]] | None  # documents: own, of all slices


class _Plan(NamedTuple):
    line: Line
    scale: float
    columns: int  # of a key, before those of its value


def attend_ring(tokens: Tokens, line: Line, scale: float) -> Float[Array, "b t h v"]:
    """ranks - 1 permutations of K and V beside each other; as many of them, and of their gradients
    in float32, in the backward pass.

    After n steps a device holds the keys of n slices before, which it sees if there are so many.
    Later slices are skipped, not masked: their scores would all be thrown away. (It saves work,
    not time: the last device sees every slice.) The backward pass starts from the slice that came
    last, so keys need not come home first, and reaches the own slice with the last permutation.

    Source: Liu et al. 2023, arXiv 2310.01889.
    """
    q, k, v, ids = tokens
    b, t, h, _ = q.shape
    q = q.reshape(b, t, k.shape[2], -1, q.shape[-1])
    documents = None
    if ids is not None:
        every = gathered(ids, line).reshape(b, line.size, t)
        documents = (ids, jnp.moveaxis(every, 1, 0))
    plan = _Plan(line, scale, k.shape[-1])
    q, packed, documents, _ = vary_alike(
        (q, jnp.concatenate([k, v], axis=-1), documents, line.rank())
    )
    return _ring(plan, q, packed, documents).reshape(b, t, h, -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _ring(plan: _Plan, q: Array, kv: Array, ids: Ids) -> Float[Array, "b t g j v"]:
    return _forward(plan, q, kv, ids)[0]


def _forward(plan: _Plan, q: Array, kv: Array, ids: Ids) -> tuple[Array, Any]:
    dtype = accumulation_dtype(q, kv)

    def step(carry: tuple[Array, Partial], back: Array) -> tuple[tuple[Array, Partial], None]:
        kv, sums = carry
        return (_passed(kv, plan.line, 1), _joined(plan, q, kv, ids, back, sums)), None

    start = (kv, nothing(q, kv.shape[-1] - plan.columns, dtype))
    last = plan.line.size - 1
    (kv, sums), _ = jax.lax.scan(step, vary_alike(start), jnp.arange(last))
    sums = _joined(plan, q, kv, ids, last, sums)
    outputs = jnp.moveaxis(sums.outputs / sums.total[..., None], 3, 1).astype(kv.dtype)
    kv, outputs = checkpoint_name(kv, "exchange_keys"), checkpoint_name(outputs, "exchange_outputs")
    total, top = (checkpoint_name(x, "exchange_total") for x in sums[1:])
    return outputs, (q, ids, kv, outputs, total, top)


def _backward(plan: _Plan, residuals: Any, d_outputs: Array) -> tuple[Array, Array, None]:
    q, ids, kv, outputs, total, top = residuals
    dtype = total.dtype
    along = jnp.einsum("btgjv,btgjv->bgjt", d_outputs.astype(dtype), outputs.astype(dtype))
    kept = Kept(q, jnp.moveaxis(d_outputs, 1, 3), total, top, along)

    def step(carry: tuple[Array, Array, Array], back: Array) -> tuple[tuple, None]:
        # Three independent things to do: keys go on, gradients catch up, new ones are computed.
        kv, d_q, d_kv = carry
        more_q, more_kv = _contribution(plan, kept, kv, ids, back)
        d_kv = _passed(d_kv, plan.line, -1) + more_kv
        return (_passed(kv, plan.line, -1), d_q + more_q, d_kv), None

    last = plan.line.size - 1
    d_q, d_kv = _contribution(plan, kept, kv, ids, last)
    if last:
        carry = (_passed(kv, plan.line, -1), d_q, d_kv)
        (kv, d_q, d_kv), _ = jax.lax.scan(step, carry, jnp.arange(last - 1, 0, -1))
        more_q, more_kv = _contribution(plan, kept, kv, ids, 0)
        d_q, d_kv = d_q + more_q, _passed(d_kv, plan.line, -1) + more_kv
    return d_q.astype(q.dtype), d_kv.astype(kv.dtype), None


_ring.defvjp(_forward, _backward)


def _passed(x: Array, line: Line, by: int) -> Array:
    """What the device `by` places earlier holds, the last one being before the first."""
    pairs = [(i, (i + by) % line.size) for i in range(line.size)]
    return jax.lax.ppermute(x, line.axis, pairs)


def _sight(plan: _Plan, t: int, ids: Ids, back: Any) -> Sight:
    """Of the slice that lies `back` slices before."""
    if ids is None:
        return Sight(back * t)
    own, every = ids
    there = (plan.line.rank() - back) % plan.line.size
    return Sight(back * t, (own, jax.lax.dynamic_index_in_dim(every, there, keepdims=False)))


def _joined(plan: _Plan, q: Array, kv: Array, ids: Ids, back: Any, sums: Partial) -> Partial:
    """`sums` and those of the slice `back` before, if there is one."""
    k, v = kv[..., : plan.columns], kv[..., plan.columns :]
    t, keys = q.shape[1], k.shape[1]
    sight = _sight(plan, t, ids, back)
    rows = rows_at_once(sums.top[..., 0].size, t, keys)

    def one(block: tuple[Array, Array | None, Any]) -> Partial:
        queries, own, first = block
        mask = sight.rows_from(first, own).mask(queries.shape[1], keys)
        return partial(queries, k, v, mask, plan.scale)

    def more() -> Partial:
        if rows == t:
            return join(sums, one((q, None if ids is None else ids[0], 0)))
        blocks = jax.lax.map(one, blocks_of(q, sight, rows))
        return join(sums, jax.tree.map(lambda x: _time_joined(x, t), blocks))

    return jax.lax.cond(back <= plan.line.rank(), more, lambda: sums)


def _contribution(
    plan: _Plan, kept: Kept, kv: Array, ids: Ids, back: Any
) -> tuple[Float[Array, "b t g j k"], Float[Array, "b s g n"]]:
    """dq, and dk beside dv, of the slice `back` before; zeros if there is none."""
    k, v = kv[..., : plan.columns], kv[..., plan.columns :]
    (_, t, *_), keys, dtype = kept.q.shape, k.shape[1], kept.total.dtype
    sight = _sight(plan, t, ids, back)
    rows = rows_at_once(kept.total[..., 0].size, t, keys)
    d_q, d_kv = vary_alike((jnp.zeros(kept.q.shape, dtype), jnp.zeros(kv.shape, dtype), kv))[:2]

    def one(queries: Kept, own: Array | None, first: Any) -> tuple[Array, Array]:
        mask = sight.rows_from(first, own).mask(queries.q.shape[1], keys)
        d_q, d_k, d_v = gradients(queries, k, v, mask, plan.scale)
        return d_q, jnp.concatenate([d_k, d_v], axis=-1)

    def step(so_far: Array, block: tuple) -> tuple[Array, Array]:
        queries, own, first = block
        d_q, d_kv = one(queries, own, first)
        return so_far + d_kv, d_q

    def more() -> tuple[Array, Array]:
        if rows == t:
            return one(kept, None if ids is None else ids[0], 0)
        q, own, first = blocks_of(kept.q, sight, rows)
        blocks = Kept(q, *(_time_cut(x, rows) for x in kept[1:]))
        blocks = blocks._replace(total=_time_cut(kept.total, rows, filler=1))  # a divisor
        total, parts = jax.lax.scan(step, d_kv, (blocks, own, first))
        return joined(parts, t), total

    return jax.lax.cond(back <= plan.line.rank(), more, lambda: (d_q, d_kv))


def _time_cut(
    x: Float[Array, "b g j t ..."], rows: int, filler: int = 0
) -> Float[Array, "n b g j r ..."]:
    return jnp.moveaxis(cut(jnp.moveaxis(x, 3, 1), rows, filler), 2, 4)


def _time_joined(x: Float[Array, "n b g j r ..."], t: int) -> Float[Array, "b g j t ..."]:
    return jnp.moveaxis(joined(jnp.moveaxis(x, 4, 2), t), 1, 3)
