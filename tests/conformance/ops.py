"""The ops under test, problems for them, and one way to run and compare them.

An op joins the suite by an entry in OPS.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kernels_pallas as kp
from tests.conformance import recurrences

Arrays = dict[str, np.ndarray]
Draw = Callable[[np.random.Generator, "Dims", int, str], Arrays]


class Dims(NamedTuple):
    """Sizes other than time; K differs from V, and neither fits a vector register."""

    b: int = 2
    h: int = 2
    k: int = 5
    v: int = 3


DIMS = Dims()
PLAIN = ("reference", "xla")
# Run in the interpreter, in float32 and bfloat16; the others in float64 too.
KERNELS = ("pallas_tpu",)
# Run in the interpreter, in bfloat16 alone and in chunks of 64 alone: `test_op_bfloat16`.
BFLOAT16 = ("pallas_gpu",)


class Op(NamedTuple):
    """An op, its summary, the inputs the two share, and the recurrence written out in numpy."""

    run: Callable[..., tuple[jax.Array, jax.Array]]
    summary: Callable[..., kp.Summary]
    draw: Draw
    recurrence: Callable[..., tuple[np.ndarray, np.ndarray]]
    forms: tuple[str, ...]  # of log_decay
    implementations: tuple[str, ...] = (*PLAIN, *KERNELS)


class Case(NamedTuple):
    """One problem; cotangents weigh the outputs and the final state in the loss."""

    op: Op
    arrays: Arrays
    segment_ids: np.ndarray | None
    cotangents: tuple[np.ndarray, np.ndarray]


def draw_heads(rng: np.random.Generator, dims: Dims, t: int, form: str) -> Arrays:
    b, h, k, v = dims
    arrays = {
        "q": rng.standard_normal((b, t, h, k)),
        "k": unit(rng.standard_normal((b, t, h, k))),
        "v": rng.standard_normal((b, t, h, v)),
        "initial_state": rng.standard_normal((b, h, k, v)),
    }
    shapes = {"constant": (h,), "head": (b, t, h), "key": (b, t, h, k)}
    return arrays | ({"log_decay": gates(rng, shapes[form])} if form in shapes else {})


def draw_delta(rng: np.random.Generator, dims: Dims, t: int, form: str) -> Arrays:
    return draw_heads(rng, dims, t, form) | {"beta": rng.uniform(0, 1, (dims.b, t, dims.h))}


def draw_channels(rng: np.random.Generator, dims: Dims, t: int, form: str) -> Arrays:
    b, d = dims.b, dims.h * dims.k
    x, start = rng.standard_normal((b, t, d)), rng.standard_normal((b, d))
    return {"x": x, "log_decay": gates(rng, (b, t, d)), "initial_state": start}


def gates(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return -np.logaddexp(0, rng.standard_normal(shape)) / 2


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


HEADS = ("none", "constant", "head", "key")
OPS = {
    "linear_attention": Op(
        kp.linear_attention,
        kp.linear_attention_summary,
        draw_heads,
        recurrences.linear_attention,
        HEADS,
        (*PLAIN, *KERNELS, *BFLOAT16),
    ),
    "delta_rule": Op(
        kp.delta_rule,
        kp.delta_rule_summary,
        draw_delta,
        recurrences.delta_rule,
        HEADS,
        (*PLAIN, *KERNELS, *BFLOAT16),
    ),
    "linear_recurrence": Op(
        kp.linear_recurrence,
        kp.linear_recurrence_summary,
        draw_channels,
        recurrences.linear_recurrence,
        ("channel",),
    ),
}


def each(forms: list[tuple[str, str]], *implementations: str) -> list[tuple[str, str, str]]:
    """(op, form of decay, implementation) for those of `implementations` that the op has."""
    return [(*way, i) for way in forms for i in implementations if i in OPS[way[0]].implementations]


def kernels_later(cases: list[tuple[str, str, str]]) -> list[Any]:
    """The same cases for `parametrize`, those of kernels marked slow."""
    marks = lambda case: [pytest.mark.slow] if case[2] in KERNELS else []  # noqa: E731
    return [pytest.param(*case, marks=marks(case)) for case in cases]


def make_case(
    name: str,
    form: str,
    t: int,
    *,
    dims: Dims = DIMS,
    starts: tuple[int, ...] = (),
    dtype: Any = np.float32,
    **special: Callable[[np.ndarray], np.ndarray],
) -> Case:
    """A random problem in float64 whose inputs `dtype` holds exactly.

    `starts`: where later documents begin. `special`: changes of inputs by name; an op without
    such an input ignores them.
    """
    rng = np.random.default_rng(t)
    arrays = OPS[name].draw(rng, dims, t, form)
    arrays |= {key: change(arrays[key]) for key, change in special.items() if key in arrays}
    arrays = {key: rounded(x, stored(key, dtype)) for key, x in arrays.items()}
    ids = np.searchsorted(starts, np.arange(t), side="right") % 2  # an id may come again
    ids = np.broadcast_to(ids, (dims.b, t)) if starts else None
    along = arrays["v" if "v" in arrays else "x"].shape
    weights = rng.standard_normal(along), rng.standard_normal(arrays["initial_state"].shape)
    return Case(
        OPS[name], arrays, ids, (rounded(weights[0], dtype), rounded(weights[1], np.float32))
    )


def rounded(x: np.ndarray, dtype: Any) -> np.ndarray:
    return np.asarray(x, jnp.dtype(dtype)).astype(np.float64)


def stored(name: str, dtype: Any) -> Any:
    """The state and the log decay stay in float32 beside bfloat16 inputs."""
    short = jnp.dtype(dtype).itemsize < 4
    return np.float32 if short and name in ("initial_state", "log_decay") else dtype


@functools.partial(jax.jit, static_argnums=(0, 1))
def _evaluate(run, options, arrays, segment_ids, cotangents):
    def call(arrays):
        return run(**arrays, segment_ids=segment_ids, **dict(options))

    (outputs, state), pull = jax.vjp(call, arrays)
    (gradients,) = pull((cotangents[0].astype(outputs.dtype), cotangents[1].astype(state.dtype)))
    return {"outputs": outputs, "state": state} | {f"d_{n}": g for n, g in gradients.items()}


def evaluate(case: Case, dtype: Any = np.float64, run: Callable | None = None, **options) -> Arrays:
    """Outputs, final state and the gradient of every input, as they come."""
    if options.get("implementation") in (*KERNELS, *BFLOAT16):
        options = {"interpret": True} | options
    with jax.enable_x64(dtype == np.float64):
        arrays, cotangents = device_arrays(case, dtype)
        ids = None if case.segment_ids is None else jnp.asarray(case.segment_ids)
        found = _evaluate(
            run or case.op.run, tuple(sorted(options.items())), arrays, ids, cotangents
        )
        return {name: np.asarray(x) for name, x in found.items()}


def device_arrays(case: Case, dtype: Any) -> tuple[dict[str, jax.Array], tuple[jax.Array, ...]]:
    arrays = {n: jnp.asarray(x, stored(n, dtype)) for n, x in case.arrays.items()}
    return arrays, tuple(
        jnp.asarray(x, np.float64 if dtype == np.float64 else np.float32) for x in case.cotangents
    )


def exact(case: Case) -> Arrays:
    """What every implementation must equal: the token recurrence in float64."""
    return evaluate(case, implementation="reference")


def errors(found: Arrays, wanted: Arrays, sizes: Arrays | None = None) -> dict[str, float]:
    """Largest error of each array, relative to its largest entry; inf where not finite.

    `sizes`: of the terms that entries are sums of; the largest counts where entries are smaller.
    """
    result = {}
    for name, want in wanted.items():
        difference = np.abs(found[name].astype(np.float64) - want).max()
        size = max(np.abs(want).max(), sizes[name].max() if sizes else 0, 1e-30)
        result[name] = float(difference / size) if np.isfinite(difference) else np.inf
    return result


def assert_close(found: Arrays, wanted: Arrays, bound: float, sizes: Arrays | None = None) -> None:
    every = errors(found, wanted, sizes)
    bad = {name: error for name, error in every.items() if not error <= bound}
    assert not bad, f"relative errors above {bound}: {bad}"
