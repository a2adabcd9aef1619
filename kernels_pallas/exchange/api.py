"""The state that enters each device's slice of the sequence, and its gradient."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from kernels_pallas.exchange.all_scan import exchange_in_all_scan, refusal
from kernels_pallas.exchange.choose import settle
from kernels_pallas.exchange.gathered import exchange_gathered
from kernels_pallas.exchange.how import AUTO, BEST, Exchange, expect_how, two_factors
from kernels_pallas.exchange.line import Axis, Line
from kernels_pallas.exchange.steps import exchange_in_log_steps, exchange_in_ring
from kernels_pallas.exchange.wire import Wire
from kernels_pallas.monoid import Summary, is_dense
from kernels_pallas.vary import vary_alike

# Names of the residuals, for a policy of `jax.checkpoint`: with all of them saved, a backward pass
# that recomputes its layer does not repeat the exchange.
RESIDUALS = ("exchange_state", "exchange_transition")


class _Plan(NamedTuple):
    """An exchange on given devices."""

    method: str
    line: Line
    factors: tuple[int, ...]
    wire: Wire
    blocks: int | None
    interpret: Any


def exchange(summary: Summary, axis: Axis, how: Exchange = BEST) -> Float[Array, "..."]:
    """The state that enters each device's slice, from what every slice does to a state.

        S_in[r] = E[r-1] + M[r-1] S_in[r-1],  S_in[0] = 0        (psum: sum of all E)

    For the body of `shard_map`. The gradient is an exchange the other way, of the cotangents of
    S_in; residuals are S_in and, where they are no matrices, the transitions that were gathered.

    Args:
        summary: state E [b, h, k, v] (or [b, d]) from zero; transition M: None (no decay), [h]
            (the same number on all devices: it does not travel), [b, h], [b, h, k], a matrix
            [b, h, k, k], or [b, d].
        axis: mesh axis that time is split over, in contiguous slices, or a tuple of axes.
        how: method, factors, wire format and blocks.

    Raises:
        ValueError: an axis that the mesh does not have, no Summary, an unknown method or wire
            format, factors that do not make the number of devices, a psum of decaying states, an
            all_scan where no TPU is or of a state that cannot be cut into so many blocks.

    Source: Sun et al. 2025, arXiv 2502.07563, sections 3 and 4; the adjoint is that of a scan.
    """
    expect_how("exchange", how)
    if not isinstance(summary, Summary):
        raise ValueError(
            f"exchange: summary is a {type(summary).__name__}; wanted a Summary, as "
            "linear_attention_summary and its like return it"
        )
    plan = _plan(how, summary, Line.along(axis))
    return _exchange(plan, vary_alike(_full(summary)))


def _plan(how: Exchange, summary: Summary, line: Line) -> _Plan:
    if how.method not in (AUTO, *METHODS):
        allowed = ", ".join((AUTO, *METHODS))
        raise ValueError(f"exchange: method is {how.method!r}; wanted one of {allowed}")
    if how.wire not in (None, "bfloat16"):
        raise ValueError(f"exchange: wire is {how.wire!r}; wanted None or 'bfloat16'")
    m, e = summary
    if how.method == "psum" and m is not None:
        raise ValueError(
            f"exchange: a psum adds states that do not decay, found transitions {m.shape}; "
            "use all_gather, hierarchical, log_step, ring or all_scan"
        )
    if how.method == "all_scan" and (why := refusal(how.interpret)):
        raise ValueError(why)
    if how.method == AUTO:
        how = settle(how, summary, line.size)
    factors = _factors(how, line.size)
    shared = m is None or (m.ndim == 1 and e.ndim > 2)
    # Products of matrices lose too much in bfloat16.
    dtype = None if m is not None and is_dense(summary) else how.wire
    wire = Wire(dtype, not shared)
    return _Plan(how.method, line, factors, wire, how.blocks, how.interpret)


def _factors(how: Exchange, ranks: int) -> tuple[int, ...]:
    if how.method != "hierarchical":
        return (ranks,)
    factors = how.factors or two_factors(ranks)
    if math.prod(factors) != ranks or min(factors) < 1:
        raise ValueError(
            f"exchange: factors {factors} make {math.prod(factors)} devices, the axis has {ranks}; "
            f"for example {two_factors(ranks)}"
        )
    return factors


def _full(summary: Summary) -> Summary:
    """The same with a transition of two axes where it is the same on all devices."""
    m, e = summary
    if m is None:
        return Summary(jnp.ones((1,) * min(2, e.ndim), e.dtype), e)
    return Summary(m[None] if m.ndim == 1 and e.ndim > 2 else m, e)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _exchange(plan: _Plan, summary: Summary) -> Array:
    return METHODS[plan.method](plan, summary, None)[0]


def _forward(plan: _Plan, summary: Summary) -> tuple[Array, Any]:
    state, kept = METHODS[plan.method](plan, summary, None)
    state = checkpoint_name(state, "exchange_state")
    kept = jax.tree.map(lambda x: checkpoint_name(x, "exchange_transition"), kept)
    return state, (summary.transition, kept, state)


def _backward(plan: _Plan, residuals: Any, d_state: Array) -> tuple[Summary]:
    m, kept, state = residuals
    own = Summary(m.mT if is_dense(Summary(m, state)) else m, d_state)
    back = plan._replace(line=plan.line.reversed())
    d_out, _ = METHODS[plan.method](back, own, kept)
    return (Summary(_d_transition(m, d_out, state), d_out),)


_exchange.defvjp(_forward, _backward)


def _d_transition(m: Array, d_out: Array, state: Array) -> Array:
    """The cotangent of M in S_out = M S + E."""
    if is_dense(Summary(m, state)):
        return jnp.matmul(d_out, state.mT, precision="highest")
    whole = d_out * state
    shape = (*m.shape, *(1,) * (whole.ndim - m.ndim))
    axes = tuple(i for i, size in enumerate(shape) if size == 1 != whole.shape[i])
    return jnp.sum(whole, axis=axes, keepdims=True).reshape(m.shape)


# (plan, own summary, gathered transitions) -> the state that comes in, transitions to keep
Method = Callable[[_Plan, Summary, Any], tuple[Array, Any]]


def _by_gathers(plan: _Plan, own: Summary, kept: Any) -> tuple[Array, Any]:
    state, transitions = exchange_gathered(own, plan.line, plan.wire, plan.factors, kept)
    return state, None if is_dense(own) else transitions


def _by_log_steps(plan: _Plan, own: Summary, kept: None) -> tuple[Array, None]:
    return exchange_in_log_steps(own, plan.line, plan.wire), None


def _by_ring(plan: _Plan, own: Summary, kept: None) -> tuple[Array, None]:
    return exchange_in_ring(own, plan.line, plan.wire), None


def _by_all_scan(plan: _Plan, own: Summary, kept: None) -> tuple[Array, None]:
    return exchange_in_all_scan(own, plan.line, plan.wire, plan.blocks, plan.interpret), None


def _by_sum(plan: _Plan, own: Summary, kept: None) -> tuple[Array, None]:
    total = jax.lax.psum(plan.wire.pack(own), plan.line.axis).astype(own.state.dtype)
    return vary_alike((total, own.state))[0], None


def _nothing(plan: _Plan, own: Summary, kept: None) -> tuple[Array, None]:
    return jnp.zeros_like(own.state), None


METHODS: dict[str, Method] = {
    "all_gather": _by_gathers,
    "hierarchical": _by_gathers,
    "log_step": _by_log_steps,
    "ring": _by_ring,
    "all_scan": _by_all_scan,
    "psum": _by_sum,
    "off": _nothing,
}
