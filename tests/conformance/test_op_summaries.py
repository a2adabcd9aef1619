"""A summary of a stretch of tokens does to any state what the op does, and stretches compose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas import Summary, monoid
from kernels_pallas.exchange.wire import Wire
from tests.conformance.ops import Case, assert_close, device_arrays, make_case
from tests.conformance.test_ops import BOUND64, FORMS

T, CUT = 22, 9


def summarise(case: Case, arrays: dict, start: int = 0, stop: int = T) -> Summary:
    """Of the tokens start..stop; a query and an initial state have no part in it."""
    taken = {
        n: x[:, start:stop] if x.shape[:1] == (2,) and x.ndim > 1 else x
        for n, x in arrays.items()
        if n not in ("q", "initial_state")
    }
    ids = None if case.segment_ids is None else jnp.asarray(case.segment_ids[:, start:stop])
    return case.op.summary(**taken, segment_ids=ids, chunk_size=8)


def close(found, wanted) -> None:
    for have, want in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert_close({"x": np.asarray(have)}, {"x": np.asarray(want)}, BOUND64)


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_two_stretches_are_one(name: str, form: str) -> None:
    case = make_case(name, form, T)
    with jax.enable_x64(True):
        arrays, _ = device_arrays(case, np.float64)
        whole = jax.jit(lambda a: summarise(case, a))(arrays)
        parts = jax.jit(lambda a: (summarise(case, a, 0, CUT), summarise(case, a, CUT)))(arrays)
        close(monoid.compose(*parts), whole)
        wire = Wire(None, with_transition=True)
        for have, want in zip(wire.unpack(wire.pack(whole), whole), whole, strict=True):
            np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize("starts", ((), (13,)))
@pytest.mark.parametrize(("name", "form"), FORMS)
def test_it_acts_as_the_op_does(name: str, form: str, starts: tuple[int, ...]) -> None:
    """On the state, on its cotangent, and in every gradient."""
    case = make_case(name, form, T, starts=starts)
    ids = None if case.segment_ids is None else jnp.asarray(case.segment_ids)

    def by_op(arrays: dict) -> jax.Array:
        return case.op.run(**arrays, segment_ids=ids, implementation="reference")[1]

    def by_summary(arrays: dict) -> jax.Array:
        return monoid.apply(summarise(case, arrays), arrays["initial_state"])

    @jax.jit
    def both(arrays: dict, weight: jax.Array) -> tuple:
        state, pull = jax.vjp(by_op, arrays)
        again, pull_again = jax.vjp(by_summary, arrays)
        back = monoid.adjoint(summarise(case, arrays), weight)
        return (state, *pull(weight)), (again, *pull_again(weight)), back

    with jax.enable_x64(True):
        arrays, (_, weight) = device_arrays(case, np.float64)
        wanted, found, back = both(arrays, weight)
        close(found, wanted)
        close(back, wanted[1]["initial_state"])
