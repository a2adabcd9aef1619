"""Arrays of the ops in the arrangement that the kernels read, and back."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels_pallas.gpu.chunks import Sizes
from kernels_pallas.gpu.tiles import TILE


def fit(x: Array, sizes: tuple[int | None, ...]) -> Array:
    """x with zeros after its end along every axis that has a size."""
    missing = [0 if n is None else n - m for n, m in zip(sizes, x.shape, strict=True)]
    return jnp.pad(x, [(0, n) for n in missing]) if any(missing) else x


def along_time(sizes: Sizes, x: Float[Array, "b t h x"], width: int) -> Array:
    """[b, t, h, x] -> bfloat16 [b t, h width], with zeros for what is missing."""
    rows = sizes.n * TILE
    x = fit(x.astype(jnp.bfloat16), (None, rows, None, width))
    return x.reshape(sizes.b * rows, sizes.h * width)


def cut_time(sizes: Sizes, x: Array, like: Float[Array, "b t h x"]) -> Array:
    """[b t, h width] -> the shape of `like`."""
    _, t, _, width = like.shape
    return x.reshape(sizes.b, sizes.n * TILE, sizes.h, -1)[:, :t, :, :width]


def pad_state(sizes: Sizes, state: Float[Array, "b h k v"]) -> Array:
    """[b, h, k, v] -> [b h k, v], with zeros for what is missing."""
    return fit(state, (None, None, sizes.k, sizes.v)).reshape(-1, sizes.v)


def cut_state(sizes: Sizes, state: Array, like: Float[Array, "b h k v"]) -> Array:
    k, v = like.shape[2:]
    return state.reshape(sizes.b, sizes.h, sizes.k, sizes.v)[:, :, :k, :v]


def by_chunk(sizes: Sizes, x: Float[Array, "b t h x"]) -> Float[Array, "b n h c x"]:
    x = fit(x, (None, sizes.n * TILE, None, None))
    return jnp.swapaxes(x.reshape(sizes.b, sizes.n, TILE, *x.shape[2:]), 2, 3)


def from_chunks(sizes: Sizes, x: Float[Array, "b n h c x"], width: int) -> Array:
    """The inverse of `by_chunk`, as `along_time` gives it."""
    x = jnp.swapaxes(x, 2, 3)
    return along_time(sizes, x.reshape(sizes.b, -1, *x.shape[3:]), width)
