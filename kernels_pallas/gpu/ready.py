"""The operands of the chunks made by XLA, for one decay a key."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernels_pallas.decay import weighted_products
from kernels_pallas.delta_rule.inverse import unit_lower_solve
from kernels_pallas.gpu.arrange import along_time, by_chunk, fit, from_chunks
from kernels_pallas.gpu.chunks import Chunks
from kernels_pallas.gpu.gradients import Saved, gradients
from kernels_pallas.gpu.recurrence import Plan, Pull
from kernels_pallas.gpu.tiles import TILE


def ready_operands(plan: Plan, tokens: Any, again: bool) -> tuple[Chunks, Pull]:
    """Operands with the decay multiplied in. `tokens` may have a field beta (the delta rule)."""
    chunks, pull = jax.vjp(partial(_operands, plan), tokens)

    def pull_back(saved: Saved, d_value: Array) -> Any:
        d_chunks = gradients(plan.sizes, saved, interpret=plan.interpret)
        return pull(d_chunks._replace(value=d_value))[0]

    return chunks, pull_back


def _operands(plan: Plan, tokens: Any) -> Chunks:
    """R = P scale Q, E = exp(decay to the end) K and the decayed scores A of every chunk.

    With beta the WY form of the delta rule: [U W] = (I + strict_lower(beta A_kk))^-1 beta [V PK].
    """
    sizes = plan.sizes

    def cut(x: Array) -> Array:
        return by_chunk(sizes, x.astype(jnp.float32))

    reads, keys = plan.scale * cut(tokens.q), cut(tokens.k)
    beta = getattr(tokens, "beta", None)
    left = reads[None] if beta is None else jnp.stack([reads, keys])
    # The inputs have fewer bits than the fast formats of float32 products.
    precision = jax.lax.Precision.DEFAULT
    weighted = weighted_products(
        left, keys, None if tokens.log_decay is None else cut(tokens.log_decay), None, precision
    )
    if beta is None:
        value, erase = along_time(sizes, tokens.v, sizes.v), None
    else:
        right = jnp.concatenate([cut(tokens.v), weighted.since_start * keys], axis=-1)
        strength = cut(beta[..., None])
        solved = unit_lower_solve(strength * weighted.products[1], strength * right)
        width = tokens.v.shape[-1]
        value = from_chunks(sizes, solved[..., :width], sizes.v)
        erase = from_chunks(sizes, solved[..., width:], sizes.k)
    return Chunks(
        read=from_chunks(sizes, weighted.since_start * reads, sizes.k),
        scores=from_chunks(sizes, weighted.products[0], TILE),
        write=from_chunks(sizes, weighted.to_end * keys, sizes.k),
        value=value,
        erase=erase,
        keep=fit(weighted.keep[..., 0], (None, None, None, sizes.k)).reshape(-1),
    )
