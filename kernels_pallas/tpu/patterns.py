"""Which gates of a chunk count for which of its rows, as matrices of zeros and ones.

Exponents are sums of log decays: products with such a matrix, which the matrix unit takes exactly;
their gradients are products with its transpose. The kernels get the matrices as an operand.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, BFloat16

from kernels_pallas.tpu.rows import SMALL, SUBLANES

UPTO, AFTER = 0, 1


def patterns(c: int) -> BFloat16[Array, "2 c c"]:
    """[., row, gate]: the gates up to the row's own, and those after it."""
    row, gate = jnp.arange(c)[:, None], jnp.arange(c)[None]
    return jnp.stack([gate <= row, gate > row]).astype(jnp.bfloat16)


def patterns_within(c: int) -> BFloat16[Array, "p c c"]:
    """`patterns`, the same within each 8 rows, and what the levels of pairs within 8 rows want:
    a row of the later block the gates from its block's start to its own, a row of the earlier
    block those after it to its block's end."""
    row, gate = jnp.arange(c)[:, None], jnp.arange(c)[None]
    upto, after = gate <= row, gate > row
    tile = row // SUBLANES == gate // SUBLANES
    found = [upto, after, tile & upto, tile & after]
    for level in range(SMALL):
        later = (row >> level) & 1 == 1
        inside = row >> level == gate >> level
        found.append(inside & jnp.where(later, upto, after))
    return jnp.stack(found).astype(jnp.bfloat16)
