"""Mistakes made on purpose in the chunked TPU kernels: the suite's comparison sees each."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kernels_pallas as kp
from tests.conformance.ops import errors, evaluate, exact, make_case
from tests.conformance.test_ops import BOUND32

chunk = import_module("kernels_pallas.tpu.chunk")
patterns = import_module("kernels_pallas.tpu.patterns")
backward = import_module("kernels_pallas.tpu.backward")
decay = import_module("kernels_pallas.tpu.decay")
op = import_module("kernels_pallas.tpu.op")
RUN = {"linear_attention": kp.linear_attention, "delta_rule": kp.delta_rule}


def strict_masks(old: Callable) -> Callable:
    """The token itself left out of its own scores' gradient."""
    return chunk._strict


def no_decay_of_the_state(old: Callable) -> Callable:
    return lambda self, state: state


def a_level_too_high(old: Callable) -> Callable:
    return lambda c: jnp.where(old(c) == 0, 1, old(c))


def no_gradient_of_the_state(old: Callable) -> Callable:
    def wrong(*arguments: Any) -> tuple:
        gradients, before = old(*arguments)
        return gradients, 0 * before

    return wrong


def one_pass(old: Callable) -> Callable:
    """The inverse without its second half: (I - L) instead of (I + L)^-1."""
    return lambda lower, prod: jnp.eye(lower.shape[1], dtype=lower.dtype)[None] - lower


# module or class, name, change, op, form of decay, arrays that go wrong
FAULTS: dict[str, tuple[Any, str, Callable, str, str, set[str]]] = {
    "wrong mask": (chunk, "_lower", strict_masks, "linear_attention", "none", {"d_q", "d_k"}),
    "dropped decay": (
        decay.Weights,
        "keep",
        no_decay_of_the_state,
        "linear_attention",
        "head",
        {"outputs", "state", "d_v", "d_initial_state"},
    ),
    "wrong pairs": (
        patterns,
        "meets",
        a_level_too_high,
        "linear_attention",
        "key",
        {"d_q", "d_k", "d_log_decay"},
    ),
    "no state gradient": (
        chunk,
        "backward",
        no_gradient_of_the_state,
        "delta_rule",
        "head",
        {"d_k", "d_v", "d_beta", "d_initial_state"},
    ),
    "no inverse": (
        chunk,
        "unit_lower_inverse",
        one_pass,
        "delta_rule",
        "none",
        {"outputs", "state", "d_beta"},
    ),
    "open resets": (
        op,
        "CLOSED",
        lambda _: -1.0,
        "linear_attention",
        "none",
        {"outputs", "state", "d_initial_state"},
    ),
}


def caught(name: str, form: str) -> set[str]:
    """The arrays that are wrong; `run` is new each time, so that nothing compiled is used again."""
    case = make_case(name, form, 40, starts=(9, 30) if form == "none" else ())

    def run(**arguments: Any) -> tuple[jax.Array, jax.Array]:
        return RUN[name](**arguments)

    options = {"implementation": "pallas_tpu", "interpret": True, "chunk_size": 16}
    found = errors(evaluate(case, np.float32, run=run, **options), exact(case))
    return {array for array, error in found.items() if error > 100 * BOUND32}


@pytest.mark.parametrize("fault", FAULTS)
def test_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, attribute, change, name, form, wrong = FAULTS[fault]
    monkeypatch.setattr(where, attribute, change(getattr(where, attribute)))
    assert caught(name, form) >= wrong


@pytest.mark.parametrize(("name", "form"), sorted({(f[3], f[4]) for f in FAULTS.values()}))
def test_without_a_fault_nothing_is_caught(name: str, form: str) -> None:
    assert not caught(name, form)
