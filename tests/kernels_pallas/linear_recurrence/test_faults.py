"""Mistakes made on purpose in the kernels: the conformance suite's comparison sees each."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas import linear_recurrence
from tests.conformance.ops import errors, evaluate, exact, make_case
from tests.conformance.test_ops import BOUND32

kernel = import_module("kernels_pallas.linear_recurrence.pallas_tpu")
Step = Callable[..., tuple]


def forgets_the_carry(step: Step) -> Step:
    """Eight rows that start from zero."""
    return lambda x, g, carry: step(x, g, 0 * carry)


def shifts_the_decay(step: Step) -> Step:
    return lambda x, g, carry: step(x, jnp.roll(g, 1, axis=0), carry)


def drops_the_decays_gradient(step: Step) -> Step:
    return lambda x, g, carry: (*step(x, g, carry)[:2], 0 * x)


FAULTS: dict[str, tuple[str, Any, set[str]]] = {
    "forward without carry": ("_eight", forgets_the_carry, {"outputs", "state", "d_log_decay"}),
    "forward with the next decay": ("_eight", shifts_the_decay, {"outputs", "state"}),
    "no gradient of the decay": ("_eight", drops_the_decays_gradient, {"d_log_decay"}),
    "backward without carry": ("_eight_back", forgets_the_carry, {"d_x", "d_initial_state"}),
    "backward with the next decay": ("_eight_back", shifts_the_decay, {"d_x", "d_log_decay"}),
    "resets that let through": ("RESET", lambda _: -1.0, {"outputs", "state", "d_initial_state"}),
}


def caught() -> set[str]:
    """The arrays that are wrong; `run` is new each time, so that nothing compiled is used again."""
    case = make_case("linear_recurrence", "channel", 40, starts=(9, 30))

    def run(**arguments: Any) -> tuple:
        return linear_recurrence(**arguments)

    options = {"implementation": "pallas_tpu", "interpret": True, "chunk_size": 16}
    found = errors(evaluate(case, np.float32, run=run, **options), exact(case))
    return {name for name, error in found.items() if error > 100 * BOUND32}


@pytest.mark.parametrize("fault", FAULTS)
def test_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, change, wrong = FAULTS[fault]
    monkeypatch.setattr(kernel, name, change(getattr(kernel, name)))
    assert caught() >= wrong


def test_without_a_fault_nothing_is_caught() -> None:
    assert not caught()
