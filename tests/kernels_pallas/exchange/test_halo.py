"""Tokens of the slices before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from kernels_pallas.exchange import halo
from tests.kernels_pallas.exchange.lines import LINE, TWO, collectives, mesh_of, on_line

T, RANKS = 24, 8


@pytest.mark.parametrize("axes", [LINE, TWO])
@pytest.mark.parametrize("width", [1, 3, 4, 7, 30])
def test_it_is_what_came_before(axes: tuple[str, ...], width: int) -> None:
    x = jnp.arange(1.0, 2 * T + 1).reshape(1, T, 2)
    before = on_line(
        lambda x: halo(x, axes, width), mesh_of(axes, RANKS), P(None, axes), P(None, axes)
    )
    found, pull = jax.vjp(jax.jit(before), x)
    wide, slice_ = np.pad(np.asarray(x), ((0, 0), (width, 0), (0, 0))), T // RANKS
    wanted = np.concatenate([wide[:, r * slice_ :][:, :width] for r in range(RANKS)], axis=1)
    assert np.array_equal(found, wanted)
    # Each token's cotangent is the number of halos that hold it.
    seen = [sum(r * slice_ - width <= i < r * slice_ for r in range(RANKS)) for i in range(T)]
    (d_x,) = pull(jnp.ones_like(found))
    assert np.array_equal(d_x[0, :, 0], seen)


def test_one_permutation_where_one_slice_reaches() -> None:
    x = jnp.zeros((1, T, 2))
    before = on_line(lambda x: halo(x, LINE, 3), mesh_of(LINE, RANKS), P(None, LINE), P(None, LINE))
    text = jax.jit(before).lower(x).compile().as_text()
    assert collectives(text) == {"collective-permute": 1}
