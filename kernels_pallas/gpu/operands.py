"""The operands of the chunks made by XLA, for decays and writes that no kernel forms by itself."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels_pallas.decay import weighted_products
from kernels_pallas.delta_rule.inverse import unit_lower_solve
from kernels_pallas.gpu.chunks import Chunks, Sizes
from kernels_pallas.gpu.recurrence import along_time, fit
from kernels_pallas.gpu.tiles import TILE


def chunk_operands(
    sizes: Sizes,
    scale: float,
    q: Float[Array, "b t h k"],
    k: Float[Array, "b t h k"],
    v: Float[Array, "b t h v"],
    log_decay: Float[Array, "b t h g"] | None,
    beta: Float[Array, "b t h"] | None,
) -> Chunks:
    """R = P scale Q, E = exp(decay to the end) K and the decayed scores A of every chunk.

    With beta the WY form of the delta rule: [U W] = (I + strict_lower(beta A_kk))^-1 beta [V PK].
    """

    def cut(x: Array) -> Array:
        return _by_chunk(sizes, x.astype(jnp.float32))

    reads, keys = scale * cut(q), cut(k)
    left = reads[None] if beta is None else jnp.stack([reads, keys])
    # The inputs have fewer bits than the fast formats of float32 products.
    precision = jax.lax.Precision.DEFAULT
    decay = None if log_decay is None else cut(log_decay)
    weighted = weighted_products(left, keys, decay, None, precision)
    value, erase = v, None
    if beta is not None:
        right = jnp.concatenate([cut(v), weighted.since_start * keys], axis=-1)
        strength = cut(beta[..., None])
        solved = unit_lower_solve(strength * weighted.products[1], strength * right)
        value = _along_time(sizes, solved[..., : v.shape[-1]], sizes.v)
        erase = _along_time(sizes, solved[..., v.shape[-1] :], sizes.k)
    else:
        value = along_time(sizes, v, sizes.v)
    keep = jnp.broadcast_to(weighted.keep[..., 0], (sizes.b, sizes.n, sizes.h, k.shape[-1]))
    return Chunks(
        read=_along_time(sizes, weighted.since_start * reads, sizes.k),
        scores=_along_time(sizes, weighted.products[0], TILE),
        write=_along_time(sizes, weighted.to_end * keys, sizes.k),
        value=value,
        keep=fit(keep, (None, None, None, sizes.k)).reshape(-1),
        erase=erase,
    )


def _by_chunk(sizes: Sizes, x: Float[Array, "b t h x"]) -> Float[Array, "b n h c x"]:
    x = fit(x, (None, sizes.n * TILE, None, None))
    return jnp.swapaxes(x.reshape(sizes.b, sizes.n, TILE, *x.shape[2:]), 2, 3)


def _along_time(sizes: Sizes, x: Float[Array, "b n h c x"], width: int) -> Array:
    x = jnp.swapaxes(x, 2, 3)
    return along_time(sizes, x.reshape(sizes.b, -1, *x.shape[3:]), width)
