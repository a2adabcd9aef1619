"""The chunked form against the token recurrence in float64: outputs, state, every gradient.

Bounds are relative to the largest entry of an array. float64 errors measured: 5e-15 at most, most
below 1e-15. float32: 4e-7 on ordinary and correlated keys, 5e-6 where beta is 2 and all keys are
equal (the recurrence then adds up alternating terms of growing size). bfloat16: half a unit in
the last place is 2^-9 of an entry; outputs and gradients are rounded once, cotangents once.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.kernels_pallas.delta_rule.cases import (
    DECAYS,
    Case,
    assert_close,
    evaluate,
    extreme_gates,
    make_case,
    rounded,
    unit,
)

T = 37
F64, F32, BF16 = 4e-14, 4e-6, 2.0**-7
GATED = DECAYS[1:]

KEYS_AND_BETAS = {
    "beta zero": {"beta": np.zeros_like},
    "beta two, keys equal": {
        "beta": lambda x: np.full_like(x, 2),
        "k": lambda x: np.broadcast_to(x[:, :1], x.shape),
    },
    "beta mixed": {"beta": lambda x: np.random.default_rng(3).choice([0.0, 1.0, 2.0], x.shape)},
    "keys zero": {"k": lambda x: x * (np.arange(x.shape[1]) % 3 > 0)[:, None, None]},
    "keys correlated": {
        "beta": lambda x: np.full_like(x, 0.9),
        "k": lambda x: unit(x + 3 * x[:1, :1, :1]),
    },
}
GATES = {
    "mixed": extreme_gates,
    "all -40": lambda t, decay: np.full_like(extreme_gates(t, decay), -40),
    "closed": lambda t, decay: np.full_like(extreme_gates(t, decay), -np.inf),
    "open": lambda t, decay: np.zeros_like(extreme_gates(t, decay)),
}


def check(case: Case, bound32: float = F32) -> None:
    check_float64(case)
    single = rounded(case, np.float32)
    found = evaluate(single, "xla", np.float32, chunk_size=16)
    assert_close(found, evaluate(single, "reference"), bound32)


def check_float64(case: Case, chunk_size: int = 16) -> None:
    found = evaluate(case, "xla", chunk_size=chunk_size)
    assert_close(found, evaluate(case, "reference"), F64)


@pytest.mark.parametrize("decay", DECAYS)
def test_with_segments(decay: str) -> None:
    check(make_case(T, decay, segments=True))


@pytest.mark.parametrize("name", KEYS_AND_BETAS)
@pytest.mark.parametrize("decay", ("none", "head", "key"))
def test_keys_and_betas(decay: str, name: str) -> None:
    equal = name == "beta two, keys equal"
    check(make_case(T, decay, **KEYS_AND_BETAS[name]), bound32=4e-5 if equal else F32)


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("decay", GATED)
def test_gates(decay: str, name: str) -> None:
    check(make_case(T, decay, log_decay=GATES[name](T, decay)))


@pytest.mark.parametrize("t", (1, 2, 7, 16, 33))
def test_lengths(t: int) -> None:
    check_float64(make_case(t, "key", segments=True))


def test_several_groups_of_chunks() -> None:
    """300 tokens in chunks of 8 are two groups of 19 chunks, the last one padded."""
    check_float64(make_case(300, "key", segments=True), chunk_size=8)


@pytest.mark.parametrize("decay", DECAYS)
def test_bfloat16(decay: str) -> None:
    case = rounded(make_case(T, decay, segments=True), jnp.bfloat16)
    assert_close(evaluate(case, "xla", jnp.bfloat16), evaluate(case, "reference"), BF16)


def test_a_constant_decay_is_that_decay_at_every_token() -> None:
    constant = make_case(T, "constant")
    decay = np.broadcast_to(constant.arrays["log_decay"], constant.arrays["beta"].shape)
    each = constant._replace(arrays=constant.arrays | {"log_decay": decay})
    one, many = evaluate(constant, "xla"), evaluate(each, "xla")
    many["d_log_decay"] = many["d_log_decay"].sum((0, 1))
    assert_close(one, many, F64)
