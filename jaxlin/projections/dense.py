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
    heads: int | None = None,
) -> Float[Array, "*outputs"]:
    """y = x W + bias of operands in `dtype`; `result` (if given) is the dtype of sums and of y.

    y is [*batch, outputs], or with `heads` [*batch, heads, outputs / heads].
    """
    if heads is not None:
        kernel = kernel.reshape(kernel.shape[0], heads, -1)
        bias = None if bias is None else bias.reshape(heads, -1)
    y = jnp.tensordot(x.astype(dtype), kernel.astype(dtype), 1, preferred_element_type=result)
    return y if bias is None else y + bias.astype(y.dtype)
