"""What the suite over all ops does not ask of the delta rule."""

import numpy as np
import pytest

from tests.conformance.ops import assert_close, evaluate, exact, make_case


@pytest.mark.slow
@pytest.mark.parametrize("form", ("none", "head", "key"))
def test_full_strength_on_one_key(form: str) -> None:
    """beta = 2 reflects: the inverse alternates in sign between entries of size 2.

    Measured 4e-6 in float32 without decay, where the recurrence itself has 5e-7.
    """
    strong = {
        "beta": lambda x: np.full_like(x, 2),
        "k": lambda x: np.broadcast_to(x[:, :1], x.shape),
    }
    case = make_case("delta_rule", form, 37, **strong)
    assert_close(evaluate(case, implementation="xla"), exact(case), 4e-14)
    assert_close(evaluate(case, np.float32, implementation="xla"), exact(case), 2e-5)


@pytest.mark.slow
def test_several_groups_of_chunks() -> None:
    """300 tokens in chunks of 8 are two groups of 19 chunks, the last one padded."""
    case = make_case("delta_rule", "key", 300, starts=(5, 152, 160))
    found = evaluate(case, implementation="xla", chunk_size=8)
    assert_close(found, exact(case), 4e-14)


@pytest.mark.parametrize("form", ("none", "head", "key"))
def test_a_step_continues_a_prefix(form: str) -> None:
    """Decoding: the state after all tokens but one, and a step, give what all of them give."""
    case = make_case("delta_rule", form, 20)
    whole = exact(case)
    prefix = evaluate(part(case, slice(None, -1)), implementation="xla", chunk_size=8)
    last = part(case, slice(-1, None))
    step = evaluate(last._replace(arrays=last.arrays | {"initial_state": prefix["state"]}))
    wanted = {"outputs": whole["outputs"][:, -1:], "state": whole["state"]}
    assert_close(step, wanted, 4e-14)


def part(case, tokens: slice):
    arrays = {n: x if n == "initial_state" else x[:, tokens] for n, x in case.arrays.items()}
    d_outputs, d_state = case.cotangents
    return case._replace(arrays=arrays, cotangents=(d_outputs[:, tokens], d_state))
