"""Documents packed into one row behave as if each had a row of its own."""

import numpy as np
import pytest

from tests.kernels_pallas.delta_rule.cases import Case, assert_close, evaluate, make_case

T, CHUNK = 24, 8
# Documents that end inside a chunk, on its border, and after one token.
STARTS = (0, 3, 8, 9, 16, 21)


def packed(decay: str) -> Case:
    ids = np.searchsorted(STARTS, np.arange(T), side="right") % 2  # an id may come again
    case = make_case(T, decay)
    return case._replace(segment_ids=np.broadcast_to(ids, case.arrays["beta"].shape[:2]))


@pytest.mark.parametrize("implementation", ("reference", "xla"))
def test_packed_equals_separate(implementation: str) -> None:
    whole = packed("key")
    found = evaluate(whole, implementation, chunk_size=CHUNK)
    for start, stop in zip(STARTS, (*STARTS[1:], T), strict=True):
        alone = evaluate(document(whole, start, stop), "reference")
        along_time = [
            "outputs",
            *(n for n in alone if n not in ("state", "outputs", "d_initial_state")),
        ]
        assert_close(
            {n: found[n][:, start:stop] for n in along_time},
            {n: alone[n] for n in along_time},
            1e-13,
        )
        if start == 0:
            assert_close(found, {"d_initial_state": alone["d_initial_state"]}, 1e-13)
        if stop == T:
            assert_close(found, {"state": alone["state"]}, 1e-13)


def document(case: Case, start: int, stop: int) -> Case:
    """One document alone; the first has the initial state, the last the final state's cotangent."""
    arrays = {
        name: x if name == "initial_state" else x[:, start:stop] for name, x in case.arrays.items()
    }
    arrays["initial_state"] = arrays["initial_state"] * (start == 0)
    d_outputs, d_state = case.cotangents
    return Case(arrays, None, (d_outputs[:, start:stop], d_state * (stop == T)))


@pytest.mark.parametrize("implementation", ("reference", "xla"))
@pytest.mark.parametrize("decay", ("none", "head", "key"))
def test_no_gradient_crosses_a_border(implementation: str, decay: str) -> None:
    case = packed(decay)
    d_outputs, d_state = case.cotangents
    only_last = d_outputs * (np.arange(T) >= STARTS[-1])[:, None, None]
    found = evaluate(
        case._replace(cotangents=(only_last, d_state)), implementation, np.float32, CHUNK
    )
    for name in ("d_q", "d_k", "d_v", "d_beta"):
        assert not found[name][:, : STARTS[-1]].any() and found[name][:, STARTS[-1] :].any()
    assert not found["d_initial_state"].any()
