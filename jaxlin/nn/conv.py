"""Short causal depthwise convolution that respects documents and carries a tail."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def short_conv(
    x: Float[Array, "b t d"],
    kernel: Float[Array, "w d"],
    segment_ids: Int[Array, "b t"] | None = None,
    tail: Float[Array, "b w-1 d"] | None = None,
    tail_segments: Int[Array, "b s"] | None = None,
) -> Float[Array, "b t d"]:
    """y_t = sum_j kernel_j * x_{t-(w-1)+j}, over tokens of t's own document.

    `tail` holds the w-1 inputs before x (zeros if None), `tail_segments` their document ids.
    """
    width, t = kernel.shape[0], x.shape[1]
    before = ((0, 0), (width - 1, 0), (0, 0))
    whole = jnp.pad(x, before) if tail is None else jnp.concatenate([tail, x], axis=1)
    ids = _document_ids(segment_ids, tail_segments, width)
    y = jnp.zeros_like(x)
    for j in range(width):
        tap = whole[:, j : j + t]
        if ids is not None and j < width - 1:
            same = ids[:, j : j + t] == ids[:, width - 1 :]
            tap = jnp.where(same[..., None], tap, 0)
        y = y + tap * kernel[j].astype(x.dtype)
    return y


def _document_ids(
    segment_ids: Int[Array, "b t"] | None, tail_segments: Int[Array, "b s"] | None, width: int
) -> Int[Array, "b t+w-1"] | None:
    if segment_ids is None:
        return None
    if tail_segments is None:  # what lies before is zero and may count as the same document
        tail_segments = jnp.repeat(segment_ids[:, :1], width - 1, axis=1)
    return jnp.concatenate([tail_segments[:, -(width - 1) :], segment_ids], axis=1)


class ShortConv(nn.Module):
    """Depthwise kernel [width, d], without bias."""

    width: int
    axis: str | None = None  # logical name of the channels
    std: float = 0.02

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        segment_ids: Int[Array, "b t"] | None = None,
        tail: Float[Array, "b w-1 d"] | None = None,
        tail_segments: Int[Array, "b s"] | None = None,
    ) -> Float[Array, "b t d"]:
        init = nn.with_logical_partitioning(nn.initializers.normal(self.std), ("conv", self.axis))
        kernel = self.param("kernel", init, (self.width, x.shape[-1]), jnp.float32)
        return short_conv(x, kernel, segment_ids, tail, tail_segments)
