"""The ops on the GPU kernels as the conformance suite calls ops, interpreted or not."""

from __future__ import annotations

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.pallas.mosaic_gpu.interpret import gpu_callbacks
from jax.experimental.pallas import mosaic_gpu as plgpu

from kernels_pallas.call import call_of_heads
from kernels_pallas.chip import Chip
from tests.conformance import ops

HOPPER = Chip("gpu", "NVIDIA H100 80GB HBM3")
INPUTS = {
    "linear_attention": ("q", "k", "v", "log_decay"),
    "delta_rule": ("q", "k", "v", "beta", "log_decay"),
}
RACES = plgpu.InterpretGPUParams(detect_races=True)


def runner(name: str, interpret: Any, chunk_size: int | None = None) -> Any:
    """The op, with its usual arguments, on the kernels, whatever the chip that is here."""
    api = importlib.import_module(f"kernels_pallas.{name}.api")
    module = importlib.import_module(f"kernels_pallas.{name}.pallas_gpu")

    def run(segment_ids: Any = None, initial_state: Any = None, **arrays: Any) -> Any:
        given = [arrays.get(key) for key in INPUTS[name]]
        tokens, state = api.prepare(*given, initial_state, segment_ids)
        call = call_of_heads(name, tokens, state)
        assert module.refusal(call, HOPPER) == ""
        scale = tokens.k.shape[-1] ** -0.5
        return module.run(call, HOPPER, tokens, state, scale, chunk_size, interpret)

    return run


def evaluate(case: ops.Case) -> ops.Arrays:
    """Outputs, state and gradients in the interpreter, which must find no race."""
    found = ops.evaluate(case, jnp.bfloat16, implementation="pallas_gpu", interpret=RACES)
    assert not races_found()
    return found


def races_found() -> bool:
    """Whether the last interpreted kernel raced. JAX has no public name for it."""
    return gpu_callbacks.get_races().races_found


def reset_interpreter() -> None:
    """Must follow a kernel that ended with an exception."""
    gpu_callbacks.reset_gpu_interpret_mode_state()


def pulled(name: str, run: Any, case: ops.Case) -> tuple[Any, tuple]:
    """A function of arrays and cotangents (outputs, state, gradients), and its arguments."""

    def both(arrays: Any, cotangents: Any) -> Any:
        (outputs, state), pull = jax.vjp(lambda arrays: run(**arrays), arrays)
        return outputs, state, pull((cotangents[0].astype(outputs.dtype), cotangents[1]))

    return both, ops.device_arrays(case, jnp.bfloat16)


def case_of(name: str, form: str, t: int, dims: ops.Dims, **options: Any) -> ops.Case:
    return ops.make_case(name, form, t, dims=dims, dtype=jnp.bfloat16, **options)


def same(left: Any, right: Any) -> bool:
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in pairs)
