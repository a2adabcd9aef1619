"""Short causal depthwise convolution that respects documents and carries a tail."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlin.nn.param import param
from jaxlin.nn.slices import on_slices, time_axes
from kernels_pallas.exchange import Line, halo


def short_conv(
    x: Float[Array, "b t d"],
    kernel: Float[Array, "w d"],
    segment_ids: Int[Array, "b t"] | None = None,
    tail: Float[Array, "b w-1 d"] | None = None,
    tail_segments: Int[Array, "b s"] | None = None,
) -> Float[Array, "b t d"]:
    """y_t = sum_j kernel_j * x_{t-(w-1)+j}, over tokens of t's own document; summed in float32.

    `tail` holds the w-1 inputs before x (zeros if None), `tail_segments` (s >= w-1) the document
    ids of the last s tokens before x.
    """
    width, t = kernel.shape[0], x.shape[1]
    before = ((0, 0), (width - 1, 0), (0, 0))
    whole = jnp.pad(x, before) if tail is None else jnp.concatenate([tail, x], axis=1)
    ids = _document_ids(segment_ids, tail_segments, width)
    y = jnp.zeros(x.shape, jnp.promote_types(x.dtype, jnp.float32))
    for j in range(width):
        tap = whole[:, j : j + t]
        if ids is not None and j < width - 1:
            same = ids[:, j : j + t] == ids[:, width - 1 :]
            tap = jnp.where(same[..., None], tap, 0)
        y = y + tap * kernel[j].astype(y.dtype)
    return y.astype(x.dtype)


def _on_slice(
    axes: tuple[str, ...],
    x: Float[Array, "b t d"],
    kernel: Float[Array, "w d"],
    segment_ids: Int[Array, "b t"] | None = None,
    tail: Float[Array, "b w-1 d"] | None = None,
    tail_segments: Int[Array, "b s"] | None = None,
) -> Float[Array, "b t d"]:
    """`short_conv` of one device's slice, after the tail of the device before."""
    before, first = kernel.shape[0] - 1, Line.along(axes).rank() == 0
    reached = halo(x, axes, before)
    if tail is not None:
        reached = jnp.where(first, tail, reached)
    ids = _document_ids(segment_ids, tail_segments, kernel.shape[0])
    if segment_ids is not None and ids is not None:
        ids = jnp.where(first, ids[:, :before], halo(segment_ids, axes, before))
    return short_conv(x, kernel, segment_ids, reached, ids)


def _document_ids(
    segment_ids: Int[Array, "b t"] | None, tail_segments: Int[Array, "b s"] | None, width: int
) -> Int[Array, "b _"] | None:
    if segment_ids is None:
        return None
    if tail_segments is None:  # what lies before is zero and may count as the same document
        tail_segments = jnp.repeat(segment_ids[:, :1], width - 1, axis=1)
    first = tail_segments.shape[1] - (width - 1)
    return jnp.concatenate([tail_segments[:, first:], segment_ids], axis=1)


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
        tail: Float[Array, "b w d"] | None = None,
        tail_segments: Int[Array, "b s"] | None = None,
    ) -> Float[Array, "b t d"]:
        init, shape = nn.initializers.normal(self.std), (self.width, x.shape[-1])
        kernel = param(self, "kernel", init, ("conv", self.axis), shape)
        axes = time_axes(x.shape[1])
        if not axes:
            return short_conv(x, kernel, segment_ids, tail, tail_segments)
        given = {
            "x": ("btd", x),
            "kernel": ("wd", kernel),
            "segment_ids": ("bt", segment_ids),
            "tail": ("bwd", tail),
            "tail_segments": ("bs", tail_segments),
        }
        return on_slices(functools.partial(_on_slice, axes), given, "btd")
