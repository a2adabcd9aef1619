"""The delta rule over a sequence that several devices hold in contiguous slices.

The state's way through a slice is a matrix product for each token, so that, unlike with additive
states, what comes in is worth waiting for: the op starts from it.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Array, Float, Int

from kernels_pallas.delta_rule.api import delta_rule
from kernels_pallas.delta_rule.summary import delta_rule_summary
from kernels_pallas.exchange.entering import continues, entering, last_state
from kernels_pallas.exchange.how import BEST, Exchange
from kernels_pallas.exchange.line import Axis


def delta_rule_across(
    q: Float[Array, "b t h k"],
    k: Float[Array, "b t h k"],
    v: Float[Array, "b t h v"],
    beta: Float[Array, "b t h"],
    log_decay: Float[Array, "..."] | None = None,
    *,
    axis: Axis,
    how: Exchange = BEST,
    initial_state: Float[Array, "b h k v"] | None = None,
    segment_ids: Int[Array, "b t"] | None = None,
    **options: Any,
) -> tuple[Float[Array, "b t h v"], Float[Array, "b h k v"]]:
    """`delta_rule` for the body of `shard_map`: all arrays along time are this device's slices,
    the states and a decay [h] are those of the whole sequence.

    Args:
        axis, how: of `exchange`.
        options: scale, chunk_size, implementation, interpret of `delta_rule`.

    Source: prefixes of affine maps (Blelloch 1990) over the chunk form of arXiv 2412.06464.
    """
    summary = delta_rule_summary(k, v, beta, log_decay, segment_ids=segment_ids)
    state = entering(summary, axis, how, initial_state, continues(segment_ids, axis))
    outputs, after = delta_rule(
        q, k, v, beta, log_decay, initial_state=state, segment_ids=segment_ids, **options
    )
    return outputs, last_state(after, axis)
