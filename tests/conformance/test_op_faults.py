"""Mistakes made on purpose: the comparison of the suite must see each, in the arrays it touches."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kernels_pallas as kp
from tests.conformance.ops import OPS, errors, evaluate, exact, make_case
from tests.conformance.test_ops import BOUND32

Run = Callable[..., tuple[jax.Array, jax.Array]]


def sees_its_own_token_no_more(run: Run) -> Run:
    """A mask that is strict where it should not be."""

    def wrong(q, k, v, **rest):
        outputs, state = run(q=q, k=k, v=v, **rest)
        own = jnp.sum(q * k, axis=-1, keepdims=True) * q.shape[-1] ** -0.5
        return outputs - own * v, state

    return wrong


def sees_the_next_token(run: Run) -> Run:
    """A mask that lets one token too many through."""

    def wrong(q, **rest):
        outputs, state = run(q=jnp.roll(q, 1, axis=1), **rest)
        return jnp.roll(outputs, -1, axis=1), state

    return wrong


def drops_the_decay(run: Run) -> Run:
    return lambda log_decay, **rest: run(log_decay=0 * log_decay, **rest)


def decays_after_the_write(run: Run) -> Run:
    return lambda log_decay, **rest: run(log_decay=jnp.roll(log_decay, -1, axis=1), **rest)


def drops_the_initial_states_gradient(run: Run) -> Run:
    def wrong(initial_state, **rest):
        return run(initial_state=jax.lax.stop_gradient(initial_state), **rest)

    return wrong


def drops_the_final_states_cotangent(run: Run) -> Run:
    def wrong(**arguments):
        outputs, state = run(**arguments)
        return outputs, jax.lax.stop_gradient(state)

    return wrong


def drops_the_decays_gradient(run: Run) -> Run:
    return lambda log_decay, **rest: run(log_decay=jax.lax.stop_gradient(log_decay), **rest)


def leaks_across_documents(run: Run) -> Run:
    return lambda segment_ids, **rest: run(segment_ids=None, **rest)


STRICT = {"outputs", "d_q", "d_k", "d_v"}
FAULTS = {
    sees_its_own_token_no_more: {"linear_attention": STRICT},
    sees_the_next_token: {"linear_attention": {"outputs"}, "delta_rule": {"outputs"}},
    drops_the_decay: dict.fromkeys(OPS, {"outputs", "state", "d_log_decay", "d_initial_state"}),
    decays_after_the_write: dict.fromkeys(OPS, {"outputs", "state"}),
    drops_the_initial_states_gradient: dict.fromkeys(OPS, {"d_initial_state"}),
    drops_the_final_states_cotangent: dict.fromkeys(OPS, {"d_initial_state", "d_log_decay"}),
    drops_the_decays_gradient: dict.fromkeys(OPS, {"d_log_decay"}),
    leaks_across_documents: dict.fromkeys(OPS, {"outputs", "state", "d_initial_state"}),
}


@pytest.mark.parametrize(
    ("fault", "name"), [(fault, name) for fault, names in FAULTS.items() for name in names]
)
def test_caught(fault: Callable[[Run], Run], name: str) -> None:
    op = OPS[name]
    leaky = fault is leaks_across_documents
    case = make_case(name, op.forms[-1], 10, starts=(4,) if leaky else ())
    wrong = evaluate(case, np.float32, run=fault(op.run), implementation="reference")
    caught = {key for key, error in errors(wrong, exact(case)).items() if error > 100 * BOUND32}
    assert caught >= FAULTS[fault][name]
    if fault in (drops_the_initial_states_gradient, drops_the_decays_gradient):
        assert caught == FAULTS[fault][name]


def test_explain_refuses_what_is_no_op() -> None:
    with pytest.raises(ValueError, match="'attention' is no op; known: linear_attention"):
        kp.explain("attention", jnp.zeros((1, 1)))
