"""What is kept between the forward and the backward pass: the inputs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from tests.conformance.ops import Dims, device_arrays
from tests.kernels_pallas.gpu import problems


@pytest.mark.parametrize("form", ("none", "head", "key"))
@pytest.mark.parametrize("name", ("linear_attention", "delta_rule"))
def test_residuals(name: str, form: str) -> None:
    """Of whole tiles and chunks; the leaves of the pullback are what a training step holds."""
    case = problems.case_of(name, form, 128, Dims(1, 2, 64, 64))
    run = problems.runner(name, False)
    arrays, _ = device_arrays(case, jnp.bfloat16)
    pull = jax.eval_shape(lambda arrays: jax.vjp(lambda x: run(**x), arrays)[1], arrays)
    kept = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(pull))
    assert kept <= sum(x.size * x.dtype.itemsize for x in arrays.values())
