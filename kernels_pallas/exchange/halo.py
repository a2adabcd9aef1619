"""The last tokens of the slices before: what short convolutions and windows look back at."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Shaped

from kernels_pallas.exchange.line import Axis, Line


def halo(x: Shaped[Array, "b t ..."], axis: Axis, width: int) -> Shaped[Array, "b w ..."]:
    """The `width` tokens before this device's slice [b, width, ...]; zeros before the first token.

    One permutation to the next device, and one more for each further slice that `width` reaches.
    Its gradient returns to the devices that the tokens lie on.
    """
    line, t = Line.along(axis), x.shape[1]
    parts, distance, missing = [], 1, width
    while missing and distance < line.size:
        taken = min(missing, t)
        parts.append(line.pass_on(x[:, t - taken :], distance))
        missing, distance = missing - taken, distance + 1
    padding = jnp.zeros_like(x[:, :1], shape=(x.shape[0], missing, *x.shape[2:]))
    return jnp.concatenate([padding, *reversed(parts)], axis=1)
