"""The Hopper kernels, interpreted with race detection, equal the token recurrence.

Errors are relative to the largest entry of an array, against the recurrence in float64 on the same
bfloat16 inputs. Operands of products are rounded to bfloat16 (2^-9). Keys that are nearly parallel
make the delta rule's rounded writes cancel: twice the bound. Lengths, gates and keys beyond these
are in `tests.conformance.test_op_bfloat16`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conformance.ops import Dims, assert_close, exact, unit
from tests.kernels_pallas.gpu import problems

BOUND, PARALLEL = 2.0**-7, 2.0**-6
GATES = np.array([0.0, -1e-6, -0.3, -40.0, -1e4, -np.inf])
MIXED = {"log_decay": lambda x: np.random.default_rng(1).choice(GATES, x.shape)}
CORRELATED = {
    "k": lambda x: unit(x + 3 * x[:1, :1, :1]),
    "beta": lambda x: np.full_like(x, 0.9),
}


SLOW, LONG = pytest.mark.slow, pytest.mark.long


@pytest.mark.parametrize(
    ("name", "form", "t", "dims", "options"),
    (
        ("linear_attention", "none", 65, Dims(1, 1, 5, 70), {}),
        pytest.param(
            "linear_attention",
            "head",
            130,
            Dims(1, 1, 70, 3),
            {"starts": (5, 64, 65)} | MIXED,
            marks=SLOW,
        ),
        pytest.param(
            "linear_attention", "key", 66, Dims(1, 1, 5, 3), {"starts": (5, 64)} | MIXED, marks=SLOW
        ),
        pytest.param("delta_rule", "none", 65, Dims(1, 1, 64, 64), CORRELATED, marks=SLOW),
        pytest.param(
            "delta_rule", "head", 66, Dims(1, 1, 70, 3), {"starts": (5, 64)} | MIXED, marks=SLOW
        ),
        pytest.param("delta_rule", "key", 65, Dims(1, 1, 5, 3), {}, marks=SLOW),
        pytest.param("linear_attention", "constant", 15, Dims(2, 3, 9, 9), {}, marks=SLOW),
        pytest.param("linear_attention", "head", 1000, Dims(1, 2, 128, 128), {}, marks=LONG),
        pytest.param("delta_rule", "head", 200, Dims(1, 1, 256, 256), CORRELATED, marks=LONG),
    ),
)
def test_equals_the_recurrence(name, form, t, dims, options) -> None:
    case = problems.case_of(name, form, t, dims, **options)
    found = problems.evaluate(case)
    assert found["outputs"].dtype == jnp.bfloat16 and found["state"].dtype == np.float32
    assert_close(found, exact(case), PARALLEL if options is CORRELATED else BOUND)


@SLOW
def test_nothing_passes_between_documents() -> None:
    """Not even a rounding error, in outputs, in the state or in a gradient."""
    name, first = "linear_attention", 40
    case = problems.case_of(name, "head", 70, Dims(1, 1, 8, 8))
    run = problems.runner(name, True)
    arrays, cotangents = problems.ops.device_arrays(case, jnp.bfloat16)
    ids = (jnp.arange(70) >= first).astype(jnp.int32)[None]

    def later(arrays):
        outputs, state = run(segment_ids=ids, **arrays)
        loss = jnp.sum(outputs[:, first:] * cotangents[0][:, first:])
        return loss + jnp.sum(state * cotangents[1])

    gradients = jax.jit(jax.grad(later))(arrays)
    for key in ("q", "k", "v", "log_decay"):
        assert not np.any(np.asarray(gradients[key][:, :first], np.float32)), key
        assert np.any(np.asarray(gradients[key][:, first:], np.float32)), key
    assert not np.any(gradients["initial_state"])
    # The gate of the token that starts a document has nothing to weigh.
    assert gradients["log_decay"][0, first, 0] == 0


@SLOW
def test_a_second_run_and_vmap_give_the_same_bits() -> None:
    name = "linear_attention"
    case = problems.case_of(name, "none", 20, Dims(2, 1, 8, 8))
    both, (arrays, cotangents) = problems.pulled(name, problems.runner(name, True), case)
    compiled = jax.jit(both)
    plain = compiled(arrays, cotangents)
    assert problems.same(compiled(arrays, cotangents), plain)
    each = jax.jit(jax.vmap(both))(*jax.tree.map(lambda x: x[:, None], (arrays, cotangents)))
    assert problems.same(jax.tree.map(lambda x: x[:, 0], each), plain)
