"""Turns of heads: every head once, in turns of nearly equal size."""

import jax.numpy as jnp
import pytest

from kernels_pallas.tpu.grid import Cut, Tokens, turns


@pytest.mark.parametrize(
    ("heads", "together", "sizes"),
    [(8, 3, [3, 3, 2]), (4, 3, [2, 2]), (8, 4, [4, 4]), (1, 3, [1]), (5, 2, [2, 2, 1])],
)
def test_heads_with_a_decay_a_key_take_turns(heads, together, sizes):
    found = turns(cut(heads), tokens(heads, key=True), together)
    assert [x.stop - x.start for x in found] == sizes
    assert [i for x in found for i in range(x.start, x.stop)] == list(range(heads))


def test_heads_without_are_worked_on_together():
    assert turns(cut(8), tokens(8, key=False), 3) == [slice(0, 8)]


def cut(heads: int) -> Cut:
    return Cut(heads, 1, 1, 16, 1.0, True, False, 0, 3)


def tokens(heads: int, *, key: bool) -> Tokens:
    x = jnp.zeros((1, heads, 16, 64))
    return Tokens(x, x, x, x if key else None, None)
