"""The forms that JAX runs: ours, and softmax attention as JAX ships it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import CONSTANT, COTANGENT, OPS, Calls, Peer

import kernels_pallas as kp

LINEAR = tuple(op for op in OPS if op != "softmax")


def ours(implementation: str, ops: tuple[str, ...] = LINEAR) -> Peer:
    """An implementation of kernels_pallas."""

    def build(op: str, arrays: dict[str, np.ndarray], dtype: str) -> Calls:
        run = kp.delta_rule if "beta" in OPS[op] else kp.linear_attention
        call = lambda **x: run(**x, implementation=implementation)[0]  # noqa: E731
        return calls(call, arrays, dtype, CONSTANT.get(op))

    return Peer(implementation, ops, build)


def softmax(name: str, implementation: str) -> Peer:
    """`jax.nn.dot_product_attention`: implementation "xla" or "cudnn"."""

    def build(op: str, arrays: dict[str, np.ndarray], dtype: str) -> Calls:
        def call(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
            return jax.nn.dot_product_attention(
                q, k, v, is_causal=True, implementation=implementation
            )

        return calls(call, arrays, dtype)

    return Peer(name, ("softmax",), build)


def calls(
    run: Callable[..., jax.Array],
    arrays: dict[str, np.ndarray],
    dtype: str,
    constant: str | None = None,
) -> Calls:
    """`run` on the arrays: q, k, v and beta in `dtype`, the decay in float32 or wider."""
    wide = "float64" if dtype == "float64" else "float32"
    placed = {n: jnp.asarray(x, wide if n == "log_decay" else dtype) for n, x in arrays.items()}
    cotangent = placed.pop(COTANGENT)
    fixed = {name: placed.pop(name) for name in [constant] if name}

    @jax.jit
    def forward(inputs: dict[str, jax.Array], fixed: dict[str, jax.Array]) -> jax.Array:
        return run(**inputs, **fixed)

    @jax.jit
    def both(inputs: dict, fixed: dict, cotangent: jax.Array) -> tuple[jax.Array, Any]:
        outputs, pull = jax.vjp(lambda inputs: run(**inputs, **fixed), inputs)
        return outputs, pull(cotangent)[0]

    return Calls(
        lambda: forward(placed, fixed),
        lambda: both(placed, fixed, cotangent),
        jax.block_until_ready,
        lambda x: np.asarray(x, np.float64),
    )


def oracle(op: str, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Outputs and gradients in float64: the token scan, or softmax attention."""
    peer = softmax("softmax", "xla") if op == "softmax" else ours("reference")
    with jax.enable_x64(True):
        found = peer.build(op, arrays, "float64")
        outputs, gradients = found.both()
        return found.numpy(outputs), {n: found.numpy(x) for n, x in gradients.items()}
