"""How large the terms are that an output, a state or a gradient is the sum of.

Where terms cancel, a sum may be far smaller than the rounding errors of its terms: a bound on the
error relative to the sum would then be a bound on luck. Rounding errors of the terms are
independent, so what is to be expected of their sum is the root of the sum of the terms' squares.

Every array is linear in every input of the additive recurrence, so its squared terms are summed by
the same recurrence on squared inputs, with the decay doubled. The delta rule is additive in what
it writes, beta (v - S^T k), and its gradients in what its reads S^T k pull back, -d_v.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernels_pallas.shapes import resets_of, token_decay
from tests.conformance.ops import Arrays, Case

Write = Callable[[jax.Array, Any], jax.Array]


def sizes(case: Case, wanted: Arrays) -> Arrays:
    """The root of the sum of the squared terms of each of the `wanted` arrays; ops on q, k, v."""
    with jax.enable_x64(True):
        given = {name: jnp.asarray(x) for name, x in case.arrays.items()}
        ids = None if case.segment_ids is None else jnp.asarray(case.segment_ids)
        resets = resets_of(ids)
        beta = given.get("beta", 0 * given["q"][..., 0])[..., None]
        erases = "beta" in given
        reads, _, _ = _recurrence(given | {"read": given["k"]}, resets, beta if erases else None)
        wrong = given["v"] - reads if erases else given["v"]
        terms = {name: x**2 for name, x in given.items() if name not in ("beta", "log_decay")}
        terms |= {"read": terms["k"], "v": (beta * wrong) ** 2 if erases else wrong**2}
        if "log_decay" in given:
            terms["log_decay"] = 2 * given["log_decay"]
        found, pull = jax.vjp(lambda terms: _recurrence(terms, resets, None), terms)
        d_reads = wanted["d_v"] ** 2 if erases else 0 * wanted["d_v"]
        d_outputs, d_state = (jnp.asarray(x) ** 2 for x in case.cotangents)
        scale = 1 / given["q"].shape[-1]
        (d,) = pull((jnp.asarray(d_reads), scale * d_outputs, d_state))
        squares = {"outputs": scale * found[1], "state": found[2]}
        squares |= {f"d_{name}": d[name] for name in ("q", "v", "initial_state")}
        squares["d_k"] = d["k"] + (d["read"] if erases else 0)
        if "log_decay" in given:
            squares["d_log_decay"] = d["log_decay"]
        if erases:
            d_written = wanted["d_v"] ** 2 / np.maximum(beta, 1e-30) ** 2
            misses = given["v"] ** 2 + found[0]
            squares["d_beta"] = jnp.sum(d["v"] * wrong**2 + d_written * misses, axis=-1)
            squares["d_v"] = beta**2 * d["v"]
        return {name: np.sqrt(np.asarray(x)) for name, x in squares.items()}


def _recurrence(x: dict[str, jax.Array], resets: Any, beta: Any) -> tuple[jax.Array, ...]:
    """What each token reads with `read` before it writes, q^T S, and the last state."""
    decay = token_decay(x.get("log_decay"), x["k"], jnp.float64)
    if decay is None:
        decay = jnp.zeros((*x["k"].shape[:3], 1))
    decay = jnp.maximum(decay, -1e5)
    if resets is not None:
        decay = jnp.where(resets[..., None, None], -1e5, decay)

    def step(state, token):
        q, read, k, v, g, beta = token
        state = jnp.exp(g)[..., None] * state
        reads = jnp.einsum("bhk,bhkv->bhv", read, state)
        written = v if beta is None else beta * (v - reads)
        state = state + jnp.einsum("bhk,bhv->bhkv", k, written)
        return state, (reads, jnp.einsum("bhk,bhkv->bhv", q, state))

    tokens = (x["q"], x["read"], x["k"], x["v"], decay, beta)
    along = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), tokens)
    state, found = jax.lax.scan(step, x["initial_state"], along)
    return *(jnp.moveaxis(y, 0, 1) for y in found), state
