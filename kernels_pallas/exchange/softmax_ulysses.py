"""Softmax attention of some heads over the whole sequence on each device (Ulysses)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels_pallas.exchange.line import Line
from kernels_pallas.exchange.softmax_gathered import gathered
from kernels_pallas.exchange.softmax_local import Sight, Tokens, attend


def attend_ulysses(tokens: Tokens, line: Line, scale: float) -> Float[Array, "b t h v"]:
    """Slices of time become groups of heads, and outputs become slices of time again.

    Two exchanges of all with all: of each kv head its queries, key and value beside each other;
    of the outputs. The gradient has the same two.

    Raises:
        ValueError: the devices do not divide the kv heads.

    Source: Jacobs et al. 2023, arXiv 2309.14509.
    """
    q, k, v, ids = tokens
    b, t, h, columns = q.shape
    g = k.shape[2]
    _check_heads(g, line.size)
    packed = jnp.concatenate([q.reshape(b, t, g, -1), k, v], axis=-1)
    packed = jax.lax.all_to_all(packed, line.axis, split_axis=2, concat_axis=1, tiled=True)
    queries = h // g * columns
    q = packed[..., :queries].reshape(b, -1, h // line.size, columns)
    k, v = packed[..., queries : queries + columns], packed[..., queries + columns :]
    every = None if ids is None else gathered(ids, line)
    found = attend(q, k, v, Sight(0, None if every is None else (every, every)), scale)
    return jax.lax.all_to_all(found, line.axis, split_axis=1, concat_axis=2, tiled=True)


def _check_heads(g: int, ranks: int) -> None:
    if g % ranks == 0:
        return
    fitting = [n for n in range(1, g + 1) if g % n == 0]
    below = max(n for n in fitting if n < ranks)
    more = -(-g // ranks) * ranks
    raise ValueError(
        f"softmax_attention_across: ulysses gives each device whole kv heads, and {ranks} devices "
        f"do not divide k's {g}; nearest: {below} devices, or {more} kv heads; or use "
        "method='all_gather' or 'ring', which split no heads"
    )
