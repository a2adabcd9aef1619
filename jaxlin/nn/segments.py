"""Segment ids: documents packed in one row. Id 0 marks padding on the left."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int


def positions_in(
    segment_ids: Int[Array, "b t"],
    last_segment: Int[Array, " b"] | None = None,
    seen: Int[Array, " b"] | None = None,
) -> Int[Array, "b t"]:
    """Position of each token in its document, from 0.

    A first document that continues `last_segment` counts on from the `seen` tokens of it.
    """
    index = jnp.arange(segment_ids.shape[1], dtype=jnp.int32)[None]
    changed = segment_ids[:, 1:] != segment_ids[:, :-1]
    start = jnp.pad(jnp.where(changed, index[:, 1:], 0), ((0, 0), (1, 0)))
    start = jax.lax.cummax(start, axis=1)
    positions = index - start
    if last_segment is None or seen is None:
        return positions
    continues = (start == 0) & (segment_ids[:, :1] == last_segment[:, None])
    return positions + jnp.where(continues, seen[:, None], 0)
