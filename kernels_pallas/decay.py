"""Products of rows within a chunk, weighted by the decay between them, without a positive exponent.

Sums of log decays are taken over the stretch that is wanted, never as a difference of two
cumulative sums: after a gate of -1e4 such a difference has lost every digit of a gate of -1e-6.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# exp is 0 here in float64 too, and sums over a chunk stay finite where a gate is -inf.
_CLOSED = -1e5


class Weighted(NamedTuple):
    """What the chunks read and write with; g is 1 or k.

    products [r, *batch, c, c]: lower triangle; since_start, to_end [*batch, c, g] and
    keep [*batch, g, 1]: weights from the chunk's start, to its end, and over all of it.
    """

    products: Array
    since_start: Array
    to_end: Array
    keep: Array


class _Sums(NamedTuple):
    """Products within blocks of rows, and the log decay from the block's start and to its end."""

    products: Array
    since_start: Array
    to_end: Array


def weighted_products(
    left: Float[Array, "r *batch c k"],
    right: Float[Array, "*batch c k"],
    log_decay: Float[Array, "*batch c g"] | None,
    resets: Bool[Array, "*#batch c"] | None,
    precision: jax.lax.Precision,
) -> Weighted:
    """products_ij = sum_k left_ik right_jk exp(sum_{j<l<=i} log_decay_lk) for i >= j, else 0.

    Across a reset every weight is zero. c is a power of two.
    """
    if log_decay is None:
        causal = jnp.tril(jnp.matmul(left, right.mT, precision=precision))
        ones = jnp.ones((*right.shape[:-1], 1), right.dtype)
        weighted = Weighted(causal, ones, ones, ones[..., -1:, :])
    else:
        log_decay = jnp.maximum(log_decay, _CLOSED)
        form = _one_decay if log_decay.shape[-1] == 1 else _decay_per_key
        products, since_start, to_end = form(left, right, log_decay, precision)
        since_start = jnp.exp(since_start)
        keep = since_start[..., -1, :, None]
        weighted = Weighted(products, since_start, jnp.exp(to_end), keep)
    return weighted if resets is None else _cut(weighted, resets)


def _cut(weighted: Weighted, resets: Bool[Array, "*#batch c"]) -> Weighted:
    count = jnp.cumsum(resets, axis=-1)[..., None]
    total = count[..., -1:, :]

    def where(mask: Array, x: Array) -> Array:
        return jnp.where(mask, x, 0)

    return Weighted(
        where(count == count.mT, weighted.products),
        where(count == 0, weighted.since_start),
        where(count == total, weighted.to_end),
        where(total == 0, weighted.keep),
    )


def _one_decay(left: Array, right: Array, log_decay: Array, precision: jax.lax.Precision) -> _Sums:
    """All sums over j < l <= i as one product with a triangle of ones.

    The gates stand on the left, row i holding those up to i, so that the product over all chunks
    is one of matrices and nothing is transposed.
    """
    causal = jnp.tril(jnp.ones((right.shape[-2],) * 2, bool))
    until = jnp.where(causal, log_decay.mT, 0)
    after = jnp.tril(causal, -1).astype(log_decay.dtype)
    between = jnp.matmul(until, after, precision=jax.lax.Precision.HIGHEST)
    weights = jnp.where(causal, jnp.exp(between), 0)
    products = jnp.matmul(left, right.mT, precision=precision) * weights
    since_start = jnp.sum(until, axis=-1, keepdims=True)
    return _Sums(products, since_start, between[..., -1, :, None])


def _decay_per_key(
    left: Array, right: Array, log_decay: Array, precision: jax.lax.Precision
) -> _Sums:
    """Blocks of m rows grow by pairs; a pair meets at its border, the point both decay towards.

    Each level is one product of m x m blocks, c^2 k multiplications over all levels; the tensor
    [c, c, k] of the direct form is never made.
    """
    pairs = _Sums(
        jnp.sum(left * right, axis=-1)[..., None, None], log_decay, jnp.zeros_like(log_decay)
    )
    for level in range((right.shape[-2] - 1).bit_length()):
        pairs = _join_pairs(pairs, left, right, 2**level, precision)
    return pairs._replace(products=pairs.products[..., 0, :, :])


def _join_pairs(
    blocks: _Sums, left: Array, right: Array, m: int, precision: jax.lax.Precision
) -> _Sums:
    """products [r, *batch, c / m, m, m] -> [r, *batch, c / 2m, 2m, 2m], sums over 2m rows."""
    since, to_end = _halves(blocks.since_start, m), _halves(blocks.to_end, m)
    later = _halves(left, m)[..., 1, :, :] * jnp.exp(since[..., 1, :, :])
    earlier = _halves(right, m)[..., 0, :, :] * jnp.exp(to_end[..., 0, :, :])
    corner = jnp.matmul(later, earlier.mT, precision=precision)
    diagonal = _halves(blocks.products.reshape(*corner.shape[:-3], right.shape[-2], m), m)
    top = jnp.concatenate([diagonal[..., 0, :, :], jnp.zeros_like(corner)], axis=-1)
    low = jnp.concatenate([corner, diagonal[..., 1, :, :]], axis=-1)
    total = since[..., -1:, :]
    since = jnp.stack([since[..., 0, :, :], since[..., 1, :, :] + total[..., 0, :, :]], axis=-3)
    to_end = jnp.stack([to_end[..., 0, :, :] + total[..., 1, :, :], to_end[..., 1, :, :]], axis=-3)
    products = jnp.concatenate([top, low], axis=-2)
    return _Sums(products, since.reshape(right.shape), to_end.reshape(right.shape))


def _halves(x: Array, m: int) -> Array:
    """[*batch, c, x] -> [*batch, c / 2m, 2, m, x]."""
    return x.reshape(*x.shape[:-2], x.shape[-2] // (2 * m), 2, m, x.shape[-1])
