"""The passes along time as one differentiable function that keeps only its inputs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float

from kernels_pallas.gpu.adjoint import adjoint
from kernels_pallas.gpu.arrange import along_time, cut_state, cut_time, pad_state
from kernels_pallas.gpu.chunks import Chunks, Sizes
from kernels_pallas.gpu.forward import forward
from kernels_pallas.gpu.gradients import Saved

# What the passes saved and the cotangent of U, to cotangents of the tokens.
Pull = Callable[[Saved, Array], Any]
# operands(plan, tokens, again) makes the chunks' operands and the function that pulls them back,
# which is called only if they are made `again`, for the backward pass.
Operands = Callable[["Plan", Any, bool], tuple[Chunks, Pull]]


class Plan(NamedTuple):
    """What a call is besides its arrays."""

    operands: Operands
    sizes: Sizes
    scale: float
    interpret: Any


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def through_chunks(
    plan: Plan, tokens: Any, initial_state: Float[Array, "b h k v"]
) -> tuple[Float[Array, "b t h v"], Float[Array, "b h k v"]]:
    """Outputs in bfloat16 and the final state. `tokens`: arrays, or None, with a field v."""
    sizes = plan.sizes
    chunks, _ = plan.operands(plan, tokens, False)
    state = pad_state(sizes, initial_state)
    result = forward(sizes, chunks, state, interpret=plan.interpret)
    outputs = cut_time(sizes, result.outputs, tokens.v)
    return outputs, cut_state(sizes, result.final, initial_state)


def _forward(plan: Plan, tokens: Any, initial_state: Array) -> tuple[Any, Any]:
    return through_chunks(plan, tokens, initial_state), (tokens, initial_state)


def _backward(plan: Plan, saved: tuple[Any, Array], cotangents: tuple[Array, Array]) -> Any:
    tokens, initial_state = saved
    sizes, interpret = plan.sizes, plan.interpret
    d_outputs = along_time(sizes, cotangents[0], sizes.v)
    chunks, pull = plan.operands(plan, tokens, True)
    start = pad_state(sizes, initial_state)
    states = forward(sizes, chunks, start, states=True, interpret=interpret)
    d_final = pad_state(sizes, cotangents[1])
    back = adjoint(sizes, chunks, d_outputs, d_final, interpret=interpret)
    if chunks.erase is None:
        left = Saved(d_outputs, chunks.value, states.entering, back.leaving)
    else:
        left = Saved(d_outputs, states.new, states.entering, back.leaving, back.new)
    return pull(left, back.new), cut_state(sizes, back.initial, initial_state)


through_chunks.defvjp(_forward, _backward)


def interpreter(interpret: Any) -> Any:
    """What `plgpu.kernel` takes for the `interpret` of an op."""
    return plgpu.InterpretGPUParams() if interpret is True else interpret
