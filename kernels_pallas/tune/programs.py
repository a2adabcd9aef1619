"""The program that a block size is judged by: one call of an op, its outputs and all gradients."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from kernels_pallas.call import Call
from kernels_pallas.chip import Chip
from kernels_pallas.explain import OPS
from kernels_pallas.tables import trying

Inputs = dict[str, Any]
Run = Callable[[Inputs], tuple[Any, Any]]


def inputs_of(call: Call, chip: Chip) -> Inputs:
    """The op's arguments along time by name, as shapes; log decays are float32.

    In the layout that the chip's kernels read, which the projections of a model write.
    """
    b, t, h, k, v = call.b, call.t, call.h, call.k, call.v
    like = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.dtype(call.dtype))  # noqa: E731
    if call.op == "linear_recurrence":
        return {"x": like(b, t, k), "log_decay": jax.ShapeDtypeStruct((b, t, k), jnp.float32)}
    found = {"q": like(b, t, h, k), "k": like(b, t, h, k), "v": like(b, t, h, v)}
    if call.op == "delta_rule":
        found["beta"] = like(b, t, h)
    if call.decay != "none":
        shape = (b, t, h, k) if call.decay == "key" else (b, t, h)
        found["log_decay"] = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.eval_shape(partial(turned, call, chip), found)


def turned(call: Call, chip: Chip, arrays: Any) -> Any:
    """[b, t, h, ...] to the layout of the chip's kernels or back: on TPU heads come before time."""
    if chip.platform != "tpu" or call.op == "linear_recurrence":
        return arrays
    return jax.tree.map(lambda x: jnp.swapaxes(x, 1, 2), arrays)


def with_gradients(run: Run, inputs: Inputs) -> tuple[Callable[..., Any], tuple[Any, Any]]:
    """f(inputs, cotangents) -> (outputs and state, gradients of the inputs), and its shapes."""

    def f(inputs: Inputs, cotangents: Any) -> tuple[Any, Inputs]:
        found, pull = jax.vjp(run, inputs)
        return found, pull(cotangents)[0]

    return f, (inputs, jax.eval_shape(run, inputs))


def run_blocks(module: Any, call: Call, chip: Chip, blocks: Mapping[str, int] | None = None) -> Run:
    """The implementation `module` with these blocks; None: those that it takes by itself.

    Its inputs and outputs along time are in the layout of `inputs_of`.
    """

    def run(inputs: Inputs) -> tuple[Any, Any]:
        prepare = OPS[call.op].prepare
        names = inspect.signature(prepare).parameters
        given = turned(call, chip, inputs)
        tokens, state = prepare(**{name: given.get(name) for name in names})
        scale = None if call.op == "linear_recurrence" else call.k**-0.5
        with contextlib.nullcontext() if blocks is None else trying(blocks):
            out, final = module.run(call, chip, tokens, state, scale, None, False)
        return turned(call, chip, out), final

    return run


def draw(inputs: Inputs, cotangents: Any) -> tuple[Inputs, Any]:
    """Random arrays of these shapes: unit keys, write strengths of (0, 1), gates of about -0.05."""
    keys = iter(jax.random.split(jax.random.key(0), 16))
    normal = lambda x: jax.random.normal(next(keys), x.shape)  # noqa: E731
    shaped: dict[str, Callable[[Any], Any]] = {
        "k": lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True),
        "beta": jax.nn.sigmoid,
        "log_decay": lambda x: -jax.nn.softplus(x) / 16,
    }
    plain = partial(jnp.asarray)
    found = {n: shaped.get(n, plain)(normal(x)).astype(x.dtype) for n, x in inputs.items()}
    return found, jax.tree.map(lambda x: normal(x).astype(x.dtype), cotangents)
