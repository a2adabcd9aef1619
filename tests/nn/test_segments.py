"""Positions in packed documents."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxlin.nn import positions_in

POSITIONS = jax.jit(positions_in)


def by_hand(ids):
    """Counts up while the id stays the same."""
    found = [0]
    for before, now in zip(ids, ids[1:], strict=False):
        found.append(found[-1] + 1 if before == now else 0)
    return found


ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)
@given(ROWS, st.integers(0, 2))
def test_equals_counting_also_when_cut(runs, cut):
    ids = [document for document, length in runs for _ in range(length)]
    ids += ids[-1:] * (16 - len(ids))  # one shape
    whole = POSITIONS(jnp.int32([ids]))
    assert whole[0].tolist() == by_hand(ids)
    cut = (1, 7, 15)[cut]
    last, seen = jnp.int32([ids[cut - 1]]), whole[:, cut - 1] + 1
    rest = POSITIONS(jnp.int32([ids[cut:]]), last, seen)
    assert rest[0].tolist() == whole[0, cut:].tolist()


def test_one_token_and_rows_apart():
    last, seen = jnp.int32([1, 5]), jnp.int32([7, 9])
    np.testing.assert_array_equal(positions_in(jnp.int32([[1], [6]]), last, seen), [[7], [0]])
    np.testing.assert_array_equal(
        positions_in(jnp.int32([[0, 0, 1], [1, 1, 2]])), [[0, 1, 0], [0, 1, 0]]
    )
