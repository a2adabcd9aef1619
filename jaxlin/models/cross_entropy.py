"""Cross-entropy over a large vocabulary, without ever holding all logits."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def chunked_cross_entropy(
    head: Callable[[Float[Array, "b c d"]], Float[Array, "b c vocab"]],  # gives float32
    hidden: Float[Array, "b t d"],
    targets: Int[Array, "b t"],
    chunk: int,
) -> tuple[Float[Array, "b t"], Float[Array, "b t"]]:
    """Per token -log softmax(head(h))[target] and logsumexp(head(h)), float32.

    Logits exist for about `chunk` tokens at a time (a slice of time, for all rows, so that a
    sharded batch stays where it is); the backward pass computes them again.
    """
    b, t, d = hidden.shape
    size = max(1, min(t, chunk // b))
    n = -(-t // size)
    if n == 1:
        return _cross_entropy(head, hidden, targets)
    padding = n * size - t
    hidden = jnp.pad(hidden, ((0, 0), (0, padding), (0, 0))).reshape(b, n, size, d)
    targets = jnp.pad(targets, ((0, 0), (0, padding))).reshape(b, n, size)
    body = jax.checkpoint(lambda h, y: _cross_entropy(head, h, y), prevent_cse=False)
    _, out = jax.lax.scan(
        lambda carry, slice_: (carry, body(*slice_)),
        None,
        (hidden.swapaxes(0, 1), targets.swapaxes(0, 1)),
    )
    nll, lse = (a.swapaxes(0, 1).reshape(b, n * size)[:, :t] for a in out)
    return nll, lse


def _cross_entropy(
    head: Callable[[Array], Array], hidden: Array, targets: Array
) -> tuple[Array, Array]:
    logits = head(hidden)
    lse = jax.nn.logsumexp(logits, axis=-1)
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return lse - picked, lse
