"""Small kernels of which every figure can be worked out by hand."""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu


def product(x, y, rows=64, name="product", spare=0):
    """Sums of x [m, n, k] @ y [m, k, v] over the blocks of `rows` so far: [m, n, v] float32.

    spare: rows of VMEM taken for nothing.
    """
    m, n, k = x.shape
    v = y.shape[-1]

    def body(x, y, out, total):
        @pl.when(pl.program_id(1) == 0)
        def _():
            total[:rows] = jnp.zeros((rows, v), jnp.float32)

        total[:rows] += jnp.dot(x[0], y[0], preferred_element_type=jnp.float32)
        out[0] = total[:rows]

    return pl.pallas_call(
        body,
        grid=(m, n // rows),
        in_specs=[
            pl.BlockSpec((1, rows, k), lambda i, j: (i, j, 0)),
            pl.BlockSpec((1, k, v), lambda i, j: (i, 0, 0)),
        ],
        out_specs=pl.BlockSpec((1, rows, v), lambda i, j: (i, j, 0)),
        out_shape=jax.ShapeDtypeStruct((m, n, v), jnp.float32),
        scratch_shapes=[pltpu.VMEM((rows + spare, v), jnp.float32)],
        name=name,
    )(x, y)


def summed(x, unroll=1, dynamic=False):
    """Sums over n of x [m, n, 128], eight rows after eight in a loop: [m, 8, 128]."""
    m, n, lanes = x.shape

    def body(x, out):
        out[...] = jnp.zeros_like(out)
        last = n // 8 if not dynamic else n // 8 + pl.program_id(0)

        def add(i, _):
            out[0] += jnp.exp(x[0, pl.ds(8 * i, 8)])

        jax.lax.fori_loop(0, last, add, None, unroll=None if dynamic else unroll)

    return pl.pallas_call(
        body,
        grid=(m,),
        in_specs=[pl.BlockSpec((1, n, lanes), lambda i: (i, 0, 0))],
        out_specs=pl.BlockSpec((1, 8, lanes), lambda i: (i, 0, 0)),
        out_shape=jax.ShapeDtypeStruct((m, 8, lanes), jnp.float32),
        name="summed",
    )(x)
