"""The checks of the kernels can fail: planted faults are found."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from kernels_pallas.gpu import inverse, within
from kernels_pallas.gpu.tiles import Ring
from tests.conformance.ops import Dims, errors, evaluate, exact
from tests.kernels_pallas.gpu import problems
from tests.kernels_pallas.gpu.test_kernels import BOUND

NAME = "linear_attention"


def found_with(form: str, name: str = NAME, t: int = 130) -> dict[str, float]:
    case = problems.case_of(name, form, t, Dims(1, 1, 8, 8))
    found = evaluate(case, jnp.bfloat16, run=problems.runner(name, problems.RACES))
    return errors(found, exact(case))


@pytest.fixture(autouse=True)
def traced_anew():
    """What is compiled must not survive from or to another test."""
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.slow
def test_a_wrong_mask_is_seen(monkeypatch) -> None:
    def weights(log_decay, *, ones, pieces):
        return sound(log_decay, ones=ones, pieces=pieces) + 1e-2

    sound = within.weights
    monkeypatch.setattr(within, "weights", weights)
    bad = {key for key, error in found_with("head").items() if error > BOUND}
    assert {"outputs", "d_q", "d_k", "d_v"} <= bad


@pytest.mark.slow
def test_a_dropped_gradient_of_the_decay_is_seen(monkeypatch) -> None:
    monkeypatch.setattr(
        within, "pull_weights", lambda d_sums, *, ones, pieces: 0 * jnp.sum(d_sums, axis=1)
    )
    bad = {key for key, error in found_with("head").items() if error > BOUND}
    assert bad == {"d_log_decay"}


@pytest.mark.slow
def test_a_missing_solve_is_seen(monkeypatch) -> None:
    """Tokens of a chunk that do not see what the others of the chunk have written."""

    def unsolved(lower, **scratch):
        return sound(0 * lower, **scratch)

    sound = inverse.unit_lower_inverse
    monkeypatch.setattr(inverse, "unit_lower_inverse", unsolved)
    bad = {key for key, error in found_with("head", "delta_rule", 20).items() if error > BOUND}
    assert {"outputs", "state", "d_q", "d_k", "d_v", "d_beta", "d_initial_state"} <= bad


@pytest.mark.slow
def test_a_missing_wait_is_a_race(monkeypatch) -> None:
    def take(self, item):
        return jax.tree.map(lambda slots: slots.at[self._slot(item)], self.slots)

    monkeypatch.setattr(Ring, "take", take)
    try:
        found_with("none")
    except jax.errors.JaxRuntimeError as error:  # jax 0.12 ends with the first race
        assert "RACE DETECTED" in str(error)
        problems.reset_interpreter()
    else:
        assert problems.races_found()
