"""Documents packed into one row: nothing crosses a border, in value or gradient, exactly."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.conformance.ops import (
    KERNELS,
    OPS,
    PLAIN,
    Case,
    assert_close,
    each,
    evaluate,
    kernels_later,
    make_case,
)
from tests.conformance.test_ops import BOUND32, BOUND64, LAST, WAYS

T, CHUNK = 24, {"reference": 8, "xla": 8, "pallas_tpu": 16}
STARTS = (3, 8, 9, 16, 21)  # inside a chunk, on its border, and after one token


@pytest.mark.parametrize(
    ("name", "form", "implementation"), kernels_later(each(WAYS, *PLAIN, *KERNELS))
)
def test_packed_equals_separate(name: str, form: str, implementation: str) -> None:
    whole = make_case(name, form, T, starts=STARTS)
    dtype, bound = (np.float32, BOUND32) if implementation in KERNELS else (np.float64, BOUND64)
    options = {"implementation": implementation, "chunk_size": CHUNK[implementation]}
    found = evaluate(whole, dtype, **options)
    along_time = [n for n in found if n not in ("state", "d_initial_state")]
    for start, stop in zip((0, *STARTS), (*STARTS, T), strict=True):
        alone = evaluate(document(whole, start, stop), implementation="reference")
        have = {n: found[n][:, start:stop] for n in along_time}
        assert_close(have, {n: alone[n] for n in along_time}, bound)
        if start == 0:
            assert_close(found, {"d_initial_state": alone["d_initial_state"]}, bound)
        if stop == T:
            assert_close(found, {"state": alone["state"]}, bound)


def document(case: Case, start: int, stop: int) -> Case:
    """One document alone; the first has the initial state, the last the final state's cotangent."""
    arrays = {n: x if n == "initial_state" else x[:, start:stop] for n, x in case.arrays.items()}
    arrays["initial_state"] = arrays["initial_state"] * (start == 0)
    d_outputs, d_state = case.cotangents
    return Case(case.op, arrays, None, (d_outputs[:, start:stop], d_state * (stop == T)))


@pytest.mark.parametrize(
    ("name", "form", "implementation"), kernels_later(each(WAYS, *PLAIN, *KERNELS))
)
def test_no_gradient_crosses_a_border(name: str, form: str, implementation: str) -> None:
    """Only the last document is looked at; what lies before it must not move that at all."""
    case = make_case(name, form, T, starts=STARTS)
    d_outputs, d_state = case.cotangents
    last = STARTS[-1]
    mask = (np.arange(T) >= last).reshape(-1, *(1,) * (d_outputs.ndim - 2))
    case = case._replace(cotangents=(d_outputs * mask, d_state))
    options = {"implementation": implementation, "chunk_size": CHUNK[implementation]}
    found = evaluate(case, np.float32, **options)
    assert not found["d_initial_state"].any()
    for key in case.arrays.keys() - {"initial_state"}:
        assert not found[f"d_{key}"][:, :last].any(), key
        assert found[f"d_{key}"][:, last:].any(), key


@pytest.mark.parametrize(
    ("name", "form", "implementation"), kernels_later(each(LAST, "xla", *KERNELS))
)
def test_a_border_stops_even_values_that_are_huge(
    name: str, form: str, implementation: str
) -> None:
    """A state that times zero would not be zero: the border takes its place, not its product."""
    op = OPS[name]
    case = make_case(name, form, 16, starts=(5,))
    written = "v" if "v" in case.arrays else "x"
    case.arrays[written][:, :5] *= 1e38
    case.arrays["initial_state"][:] *= 1e38
    found = evaluate(
        case, np.float32, implementation=implementation, chunk_size=CHUNK[implementation]
    )
    alone = evaluate(document(case, 5, 16)._replace(op=op), implementation="reference")
    assert np.isfinite(found["outputs"][:, 5:]).all() and jnp.isfinite(found["state"]).all()
    assert_close({"outputs": found["outputs"][:, 5:]}, {"outputs": alone["outputs"]}, 1e-5)
