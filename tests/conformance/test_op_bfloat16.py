"""The kernels that take bfloat16 alone equal the token recurrence, as the other kernels do.

Every operand of a product is rounded to bfloat16, what is written too. The delta rule's results
may be far smaller than what they are sums of, without decay most of all: its errors are relative
to the terms (`sizes`). Largest measured with no decay or one a head 7.4e-3; with keys that are
nearly parallel, whose rounded writes the next ones correct, 1.4e-2. The additive op's errors are
relative to the results.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
import pytest

from tests.conformance.ops import BFLOAT16, Case, assert_close, each, errors, evaluate, exact
from tests.conformance.ops import make_case as make_any_case
from tests.conformance.sizes import sizes
from tests.conformance.test_ops import FORMS, KEYS, SPECIAL, STARTS, T

BOUND, PARALLEL = 2.0**-7, 2.0**-6
DECAYS = [(name, form) for name, form in FORMS if form in ("none", "head", "key")]
LIMIT = 400  # seconds; 83 measured where seven processes share a core
slow, long = pytest.mark.slow, pytest.mark.long
FIRST = ("gates mixed", "correlated")  # of the extremes; the others wait for a release


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    """An interpreter that hangs fails its test."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"the test runs for more than {LIMIT} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def make_case(name: str, form: str, t: int, **options) -> Case:
    return make_any_case(name, form, t, dtype=jnp.bfloat16, **options)


def check(case: Case, implementation: str, bound: float = BOUND) -> None:
    found, wanted = evaluate(case, jnp.bfloat16, implementation=implementation), exact(case)
    assert_close(found, wanted, bound, sizes(case, wanted) if "beta" in case.arrays else None)


@slow
@pytest.mark.parametrize(("name", "form", "implementation"), each(FORMS, *BFLOAT16))
def test_documents(name: str, form: str, implementation: str) -> None:
    """The case and the bound of `test_ops.test_bfloat16`; relative to the results.

    But for a constant decay, whose gradient is a sum over all tokens: one is 1.5 where the root
    of the sum of its squared terms is 10.9.
    """
    case = make_case(name, form, T, starts=STARTS)
    found, wanted = evaluate(case, jnp.bfloat16, implementation=implementation), exact(case)
    assert_close(found, wanted, BOUND, sizes(case, wanted) if form == "constant" else None)


@slow
@pytest.mark.parametrize("t", (63, *(pytest.param(t, marks=long) for t in (1, 16, 64, 200))))
@pytest.mark.parametrize(("name", "form", "implementation"), each(DECAYS, *BFLOAT16))
def test_lengths(name: str, form: str, implementation: str, t: int) -> None:
    check(make_case(name, form, t), implementation)
    check(make_case(name, form, t, initial_state=np.zeros_like), implementation)
    if t > 1:
        check(make_case(name, form, t, **KEYS["correlated"]), implementation, PARALLEL)


@slow
@pytest.mark.parametrize(
    "special",
    [pytest.param(s, marks=[] if s in FIRST else long) for s in (*SPECIAL, *KEYS)],
)
@pytest.mark.parametrize(
    ("name", "form", "implementation"),
    each([way for way in DECAYS if way[1] != "none"], *BFLOAT16),
)
def test_extreme_gates_and_keys(name: str, form: str, implementation: str, special: str) -> None:
    case = make_case(name, form, T, starts=STARTS, **(SPECIAL | KEYS)[special])
    check(case, implementation, PARALLEL if special == "correlated" else BOUND)


@pytest.mark.parametrize("form", ("none", "head", "key"))
def test_the_scale_does_not_hide_a_fault(form: str) -> None:
    """A write strength and a query that are 3 % too large, in the arrays that they touch."""
    case = make_case("delta_rule", form, 63)
    wanted = exact(case)
    for name, touched in (
        ("beta", {"outputs", "state", "d_k", "d_v", "d_initial_state"}),
        ("q", {"outputs", "d_k", "d_v"}),
    ):
        wrong = case._replace(arrays=case.arrays | {name: 1.03 * case.arrays[name]})
        found = evaluate(wrong, implementation="reference")
        bad = {n for n, e in errors(found, wanted, sizes(case, wanted)).items() if e > BOUND}
        assert bad >= touched, (name, touched - bad)


@pytest.mark.parametrize("name", ("linear_attention", "delta_rule"))
def test_the_size_of_one_term_is_the_term(name: str) -> None:
    """One token writes one term into each entry of an empty state."""
    case = make_case(name, "head", 1, initial_state=np.zeros_like)
    wanted = exact(case)
    found = sizes(case, wanted)
    assert found.keys() == wanted.keys()
    np.testing.assert_allclose(found["state"], np.abs(wanted["state"]), rtol=1e-12)
