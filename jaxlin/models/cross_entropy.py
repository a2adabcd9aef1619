"""Cross-entropy over a large vocabulary, without ever holding all logits."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from jaxlin.nn.slices import batch_slices, time_slices


def chunked_cross_entropy(
    head: Callable[[Float[Array, "*tokens d"]], Float[Array, "*tokens vocab"]],  # gives float32
    hidden: Float[Array, "b t d"],
    targets: Int[Array, "b t"],
    chunk: int,
) -> tuple[Float[Array, "b t"], Float[Array, "b t"]]:
    """Per token -log softmax(head(h))[target] and logsumexp(head(h)), float32.

    Logits exist for about `chunk` tokens a device at a time: some of time, for all rows and of
    every device's slice, so that a split batch or sequence stays where it is. The backward pass
    computes them again.
    """
    (b, t), slices = targets.shape, time_slices(targets.shape[1])
    rows = max(1, b // batch_slices())
    size = max(1, min(t // slices, chunk // rows))
    if size == t // slices:
        return _cross_entropy(head, hidden, targets)
    body = jax.checkpoint(lambda h, y: _cross_entropy(head, h, y), prevent_cse=False)
    _, out = jax.lax.scan(
        lambda carry, part: (carry, body(*part)),
        None,
        (_parts(hidden, slices, size), _parts(targets, slices, size)),
    )
    nll, lse = (_joined(x, t // slices) for x in out)
    return nll, lse


def _parts(x: Shaped[Array, "b t ..."], slices: int, size: int) -> Shaped[Array, "n b s c ..."]:
    """Of every slice of time `size` tokens after the other; the last ones are filled up."""
    b, t, *rest = x.shape
    x = x.reshape(b, slices, t // slices, *rest)
    n = -(-x.shape[2] // size)
    x = jnp.pad(x, ((0, 0), (0, 0), (0, n * size - x.shape[2]), *((0, 0),) * len(rest)))
    return jnp.moveaxis(x.reshape(b, slices, n, size, *rest), 2, 0)


def _joined(parts: Float[Array, "n b s c"], t: int) -> Float[Array, "b _"]:
    """The inverse, for slices of t tokens."""
    n, b, slices, size = parts.shape
    return jnp.moveaxis(parts, 0, 2).reshape(b, slices, n * size)[:, :, :t].reshape(b, -1)


def _cross_entropy(
    head: Callable[[Array], Array], hidden: Array, targets: Array
) -> tuple[Array, Array]:
    logits = head(hidden)
    lse = jax.nn.logsumexp(logits, axis=-1)
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return lse - picked, lse
