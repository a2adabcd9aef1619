"""Which gates of a chunk count for which of its rows, as matrices of zeros and ones.

Exponents are sums of log decays: products with such a matrix, which the matrix unit takes exactly;
their gradients are products with its transpose. The kernels get the matrices as an operand.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, BFloat16


def patterns(c: int) -> BFloat16[Array, "2 c c"]:
    """[., row, gate]: the gates up to the row's own, and those after it."""
    row, gate = jnp.arange(c)[:, None], jnp.arange(c)[None]
    return jnp.stack([gate <= row, gate > row]).astype(jnp.bfloat16)
