"""Mistakes are named: the argument, what was found, what is wanted."""

import jax.numpy as jnp
import pytest

from kernels_pallas import delta_rule

K = jnp.zeros((1, 4, 2, 8))
BETA = jnp.zeros((1, 4, 2))


@pytest.mark.parametrize("size", (0, 12, -4))
def test_chunk_size(size: int) -> None:
    with pytest.raises(ValueError, match=f"delta_rule: chunk_size is {size}; wanted a power of"):
        delta_rule(K, K, K, BETA, chunk_size=size)


def test_log_decay() -> None:
    with pytest.raises(ValueError, match=r"delta_rule: log_decay has shape \(1, 4\)"):
        delta_rule(K, K, K, BETA, jnp.zeros((1, 4)))
