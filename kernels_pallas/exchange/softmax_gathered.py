"""Softmax attention after all keys and values were gathered (LASP-2H)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Shaped

from kernels_pallas.exchange.line import Line
from kernels_pallas.exchange.softmax_local import Sight, Tokens, attend


def attend_gathered(tokens: Tokens, line: Line, scale: float) -> Float[Array, "b t h v"]:
    """This device's queries against the keys of the whole sequence.

    One gather of K and V beside each other, of the kv heads only; its transpose is one
    reduce-scatter of their gradients, in the same dtype. The gathered keys are kept for the
    backward pass unless a policy of `jax.checkpoint` drops them ("exchange_keys"), and gathered
    again then.

    Source: Sun et al. 2025, arXiv 2502.07563, Algorithm 7.
    """
    q, k, v, ids = tokens
    columns = k.shape[-1]
    packed = gathered(jnp.concatenate([k, v], axis=-1), line)
    packed = checkpoint_name(packed, "exchange_keys")
    pair = None if ids is None else (ids, gathered(ids, line))
    sight = Sight(line.rank() * q.shape[1], pair)
    return attend(q, packed[..., :columns], packed[..., columns:], sight, scale)


def attend_own(tokens: Tokens, line: Line, scale: float) -> Float[Array, "b t h v"]:
    """Each slice for itself: nothing travels."""
    q, k, v, ids = tokens
    return attend(q, k, v, Sight(0, None if ids is None else (ids, ids)), scale)


def gathered(x: Shaped[Array, "b t ..."], line: Line) -> Shaped[Array, "b s ..."]:
    """The whole sequence, of arrays that hold slices."""
    return jax.lax.all_gather(x, line.axis, axis=1, tiled=True)
