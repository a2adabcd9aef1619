"""Every implementation of every op equals the token recurrence: outputs, state, all gradients.

Errors are relative to the largest entry of an array. BOUND64: largest measured 5e-15. BOUND32:
sums over a chunk and a few hundred tokens; measured 2e-6. bfloat16: outputs and the gradients of
bfloat16 inputs are rounded once, which is half a unit in the last place, 2^-9, of an entry; kernels
also round the operands of their products: measured 6.4e-3.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.conformance.ops import (
    KERNELS,
    OPS,
    PLAIN,
    Case,
    Dims,
    assert_close,
    each,
    errors,
    evaluate,
    exact,
    kernels_later,
    make_case,
    unit,
)

BOUND64, BOUND32, BOUND16, BOUND16_KERNELS = 4e-14, 1e-5, 2.0**-8, 2.0**-7
GATES = np.array([0.0, -1e-6, -0.3, -40.0, -1e4])
FORMS = [(name, form) for name, op in OPS.items() for form in op.forms]
GATED = [(name, form) for name, form in FORMS if form != "none"]
# The two ways through the chunked forms: one decay a head, and one a key or channel.
WAYS = [(name, form) for name, form in FORMS if form in ("head", "key", "channel")]
LAST = [(name, op.forms[-1]) for name, op in OPS.items()]
EVERYTHING = each(FORMS, *PLAIN, *KERNELS)

slow, long = pytest.mark.slow, pytest.mark.long
WIDE = Dims(2, 2, 64, 256)
BOTH = {np.float32: BOUND32, np.float64: BOUND64}
# One shape for many tests, which then share what is compiled for it. Documents end inside a
# chunk, on its border, and after one token.
T, STARTS, CHUNK = 65, (5, 16, 17, 40), 16


def check(case: Case, implementation: str, bounds: dict = BOTH, **options) -> None:
    """Against the recurrence in float64; kernels have no float64."""
    wanted = exact(case)
    if implementation in KERNELS:
        bounds = {np.float32: BOUND32}
    for dtype, bound in bounds.items():
        found = evaluate(case, dtype, implementation=implementation, **options)
        assert_close(found, wanted, bound)


@pytest.mark.parametrize("starts", ((), (4, 5, 9)))
@pytest.mark.parametrize(("name", "form"), FORMS)
def test_the_reference_is_the_recurrence(name: str, form: str, starts: tuple[int, ...]) -> None:
    case = make_case(name, form, 12, starts=starts)
    ids = case.segment_ids
    resets = None if ids is None else np.diff(ids, axis=1, prepend=ids[:, :1]) != 0
    outputs, state = case.op.recurrence(**case.arrays, resets=resets)
    assert_close(exact(case), {"outputs": outputs, "state": state}, 1e-14)


@pytest.mark.parametrize(
    "t", (1, 16, 65, *(pytest.param(t, marks=slow) for t in (15, 63, 64, 200)))
)
@pytest.mark.parametrize(("name", "form"), WAYS)
def test_lengths(name: str, form: str, t: int) -> None:
    check(make_case(name, form, t), "xla", {np.float64: BOUND64})


@pytest.mark.parametrize(
    "t",
    [
        15,
        *(pytest.param(t, marks=slow) for t in (1, 200)),
        *(pytest.param(t, marks=long) for t in (16, 63, 64)),
    ],
)
@pytest.mark.parametrize(("name", "form", "implementation"), each(WAYS, *KERNELS))
def test_lengths_in_kernels(name: str, form: str, implementation: str, t: int) -> None:
    """Without documents, and with blocks as the kernel chooses them."""
    check(make_case(name, form, t), implementation)


@slow
@pytest.mark.parametrize(
    ("name", "form", "implementation"),
    [
        pytest.param(*case, marks=[] if case[:2] in WAYS else [long])
        for case in each(FORMS, "xla", *KERNELS)
    ],
)
def test_a_long_sequence(name: str, form: str, implementation: str) -> None:
    check(make_case(name, form, 1000, starts=(3, 512, 700)), implementation)


@pytest.mark.parametrize(("name", "form", "implementation"), EVERYTHING)
def test_forms_of_decay_with_documents(name: str, form: str, implementation: str) -> None:
    check(make_case(name, form, T, starts=STARTS), implementation, chunk_size=CHUNK)


@pytest.mark.parametrize("chunk", (1, 8))
@pytest.mark.parametrize(("name", "form"), WAYS)
def test_chunk_sizes(name: str, form: str, chunk: int) -> None:
    case = make_case(name, form, 19, starts=(7,))
    check(case, "xla", {np.float64: BOUND64}, chunk_size=chunk)


@pytest.mark.parametrize(
    "dims", (Dims(1, 3, 1, 7), *(pytest.param(d, marks=slow) for d in (Dims(1, 1, 130, 70), WIDE)))
)
@pytest.mark.parametrize(("name", "form", "implementation"), each(WAYS, *KERNELS))
def test_sizes_in_kernels(name: str, form: str, implementation: str, dims: Dims) -> None:
    """Of one register and of several, full and not; more chunks than a group has."""
    check(make_case(name, form, 150, dims=dims), implementation, chunk_size=16)


@pytest.mark.parametrize("dims", (Dims(1, 1, 1, 1), Dims(1, 3, 1, 7), Dims(3, 1, 9, 2)))
@pytest.mark.parametrize(("name", "form"), WAYS)
def test_odd_sizes(name: str, form: str, dims: Dims) -> None:
    check(make_case(name, form, 21, dims=dims), "xla", {np.float64: BOUND64}, chunk_size=8)


SPECIAL = {
    "gates mixed": {"log_decay": lambda x: np.random.default_rng(1).choice(GATES, x.shape)},
    "gates -40": {"log_decay": lambda x: np.full_like(x, -40)},
    "gates open": {"log_decay": np.zeros_like},
    "gates closed": {"log_decay": lambda x: np.full_like(x, -np.inf)},
    "gates nearly open": {"log_decay": lambda x: np.full_like(x, -1e-6)},
}


@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize(("name", "form", "implementation"), each(GATED, *PLAIN, *KERNELS))
def test_extreme_gates(name: str, form: str, special: str, implementation: str) -> None:
    case = make_case(name, form, T, starts=STARTS, **SPECIAL[special])
    check(case, implementation, chunk_size=CHUNK)


KEYS = {
    "zero": {"k": lambda x: x * (np.arange(x.shape[1]) % 3 > 0)[:, None, None]},
    "equal": {"k": lambda x: np.broadcast_to(x[:, :1], x.shape)},
    "correlated": {
        "k": lambda x: unit(x + 3 * x[:1, :1, :1]),
        "beta": lambda x: np.full_like(x, 0.9),
    },
    "beta extreme": {"beta": lambda x: np.random.default_rng(3).choice([0.0, 1.0, 2.0], x.shape)},
}


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize(
    ("name", "form", "implementation"),
    kernels_later(each([way for way in WAYS if way[1] != "channel"], "xla", *KERNELS)),
)
def test_keys(name: str, form: str, implementation: str, keys: str) -> None:
    case = make_case(name, form, T, starts=(40,), **KEYS[keys])
    check(case, implementation, chunk_size=CHUNK)


@pytest.mark.parametrize(
    ("name", "form", "implementation"),
    each(FORMS, *PLAIN) + kernels_later(each(WAYS, *KERNELS)),
)
def test_bfloat16(name: str, form: str, implementation: str) -> None:
    case = make_case(name, form, T, dtype=jnp.bfloat16, starts=STARTS)
    found = evaluate(case, jnp.bfloat16, implementation=implementation, chunk_size=CHUNK)
    assert found["outputs"].dtype == jnp.bfloat16 and found["state"].dtype == np.float32
    for key in case.arrays:
        short = key not in ("initial_state", "log_decay")
        assert found[f"d_{key}"].dtype == (jnp.bfloat16 if short else np.float32)
    bound = BOUND16_KERNELS if implementation in KERNELS else BOUND16
    assert_close(found, exact(case), bound)


@pytest.mark.parametrize(("name", "form"), WAYS)
def test_without_options_and_with_a_scale(name: str, form: str) -> None:
    """No initial state is a zero one, None chooses, and the scale multiplies the outputs."""
    case = make_case(name, form, 20, initial_state=np.zeros_like)
    wanted = exact(case)
    del wanted["d_initial_state"], case.arrays["initial_state"]
    assert_close(evaluate(case), wanted, BOUND64)
    if name != "linear_recurrence":
        twice = evaluate(case, scale=2 * 5**-0.5)
        assert_close(twice, {"outputs": 2 * wanted["outputs"], "state": wanted["state"]}, BOUND64)


def test_the_comparison_sees_what_is_not_finite() -> None:
    assert errors({"x": np.array([1.0, np.nan])}, {"x": np.ones(2)}) == {"x": np.inf}
