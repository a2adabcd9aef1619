"""The passes along time as one differentiable function that keeps only its inputs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float

from kernels_pallas.gpu.adjoint import adjoint
from kernels_pallas.gpu.chunks import Chunks, Sizes
from kernels_pallas.gpu.forward import forward
from kernels_pallas.gpu.gradients import Saved, gradients


class Plan(NamedTuple):
    """`prepare(sizes, tokens)` makes the chunks' operands; it is differentiated by JAX."""

    prepare: Callable[[Sizes, Any], Chunks]
    sizes: Sizes
    interpret: Any


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def through_chunks(
    plan: Plan, tokens: Any, initial_state: Float[Array, "b h k v"]
) -> tuple[Float[Array, "b t h v"], Float[Array, "b h k v"]]:
    """Outputs in the dtype of `tokens.v` and the final state. `tokens`: arrays, or None."""
    chunks = plan.prepare(plan.sizes, tokens)
    state = _pad_state(plan.sizes, initial_state)
    result = forward(plan.sizes, chunks, state, interpret=plan.interpret)
    outputs = result.outputs.reshape(plan.sizes.b, -1, plan.sizes.h, plan.sizes.v)
    _, t, _, v = tokens.v.shape
    return outputs[:, :t, :, :v], _cut_state(plan.sizes, result.final, initial_state)


def _forward(plan: Plan, tokens: Any, initial_state: Array) -> tuple[Any, Any]:
    return through_chunks(plan, tokens, initial_state), (tokens, initial_state)


def _backward(plan: Plan, saved: tuple[Any, Array], cotangents: tuple[Array, Array]) -> Any:
    tokens, initial_state = saved
    sizes, interpret = plan.sizes, plan.interpret
    d_outputs = along_time(sizes, cotangents[0], sizes.v)
    d_final = _pad_state(sizes, cotangents[1])
    chunks, pull = jax.vjp(partial(plan.prepare, sizes), tokens)
    states = forward(
        sizes, chunks, _pad_state(sizes, initial_state), states=True, interpret=interpret
    )
    back = adjoint(sizes, chunks, d_outputs, d_final, interpret=interpret)
    erases = chunks.erase is not None
    given = Saved(
        d_outputs,
        states.new if erases else chunks.value,
        states.entering,
        back.leaving,
        back.new if erases else None,
    )
    d_chunks = gradients(sizes, given, interpret=interpret)._replace(value=back.new)
    (d_tokens,) = pull(d_chunks)
    return d_tokens, _cut_state(sizes, back.initial, initial_state)


through_chunks.defvjp(_forward, _backward)


def interpreter(interpret: Any) -> Any:
    """What `plgpu.kernel` takes for the `interpret` of an op."""
    return plgpu.InterpretGPUParams() if interpret is True else interpret


def fit(x: Array, sizes: tuple[int | None, ...]) -> Array:
    """x with zeros after its end along every axis that has a size."""
    missing = [0 if n is None else n - m for n, m in zip(sizes, x.shape, strict=True)]
    return jnp.pad(x, [(0, n) for n in missing]) if any(missing) else x


def along_time(sizes: Sizes, x: Float[Array, "b t h x"], width: int) -> Array:
    """[b, t, h, x] -> bfloat16 [b t, h width], with zeros for what is missing."""
    rows = sizes.n * 64
    x = fit(x.astype(jnp.bfloat16), (None, rows, None, width))
    return x.reshape(sizes.b * rows, sizes.h * width)


def _pad_state(sizes: Sizes, state: Array) -> Array:
    return fit(state, (None, None, sizes.k, sizes.v)).reshape(-1, sizes.v)


def _cut_state(sizes: Sizes, state: Array, like: Array) -> Array:
    k, v = like.shape[2:]
    return state.reshape(sizes.b, sizes.h, sizes.k, sizes.v)[:, :, :k, :v]
