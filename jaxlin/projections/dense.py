"""The plain matrix product."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float


def dense(
    x: Float[Array, "*batch inputs"],
    kernel: Float[Array, "inputs outputs"],
    bias: Float[Array, " outputs"] | None,
    dtype: Any,
    result: Any = None,
) -> Float[Array, "*batch outputs"]:
    """y = x W + bias of operands in `dtype`; `result` (if given) is the dtype of sums and of y."""
    y = jnp.matmul(x.astype(dtype), kernel.astype(dtype), preferred_element_type=result)
    return y if bias is None else y + bias.astype(y.dtype)
