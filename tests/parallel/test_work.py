"""FLOPs and bytes: exact for programs whose counts are known."""

import jax
import jax.numpy as jnp
import pytest

from jaxlin.parallel.products import products
from jaxlin.parallel.program import parse, pieces
from jaxlin.parallel.work import moved, work
from tests.kernels_pallas.small import product

S = jax.ShapeDtypeStruct


def chain(x, w):
    """Five times two products of [64, 32] and [32, 32]."""
    step = lambda c, _: (jnp.tanh(c @ w) @ w, None)  # noqa: E731
    return jax.lax.scan(step, x, None, length=5)[0]


SPECS = S((64, 32), jnp.float32), S((32, 32), jnp.float32)
CHAIN = 5 * 2 * 2 * 64 * 32 * 32


def test_loops_multiply_products():
    found = products(jax.make_jaxpr(chain)(*SPECS), devices=1)
    assert (found.plain, found.kernels, found.unknown) == (CHAIN, 0, 0)


def test_the_compiled_program_has_the_same_products():
    assert work(parse(jax.jit(chain).lower(*SPECS).compile().as_text())).flops == CHAIN


def test_gradients_with_recomputation_count_four_times():
    total = lambda x, w: jnp.sum(jax.checkpoint(chain)(x, w))  # noqa: E731
    found = products(jax.make_jaxpr(jax.grad(total, argnums=(0, 1)))(*SPECS), devices=1)
    # Forward, again, and two of each product backward; what nothing reads may be left out.
    assert 3 * CHAIN < found.plain <= 4 * CHAIN


def test_inside_shard_map_counts_are_of_one_device():
    mesh = jax.make_mesh((8,), ("seq",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("seq")
    f = jax.shard_map(
        lambda x, w: x @ w, mesh=mesh, in_specs=(spec, jax.sharding.PartitionSpec()), out_specs=spec
    )
    found = products(jax.make_jaxpr(f)(*SPECS), devices=8)
    assert found.plain == 2 * 64 * 32 * 32


def test_kernels_count_their_grid():
    x, y = S((2, 256, 64), jnp.bfloat16), S((2, 64, 128), jnp.bfloat16)
    found = products(jax.make_jaxpr(product)(x, y), devices=1)
    assert (found.plain, found.kernels) == (0, 2 * 2 * 256 * 64 * 128)


def test_a_branch_of_a_kernel_counts_in_the_steps_that_take_it():
    from jax.experimental import pallas as pl

    def kernel(x, out):
        out[...] = jnp.zeros_like(out)

        @pl.when(pl.program_id(0) % 4 == 0)
        def _():
            out[...] = x[...] @ x[...]

    call = pl.pallas_call(
        kernel,
        grid=(8,),
        in_specs=[pl.BlockSpec((16, 16), lambda i: (i, 0))],
        out_specs=pl.BlockSpec((16, 16), lambda i: (i, 0)),
        out_shape=S((128, 16), jnp.float32),
    )
    found = products(jax.make_jaxpr(call)(S((128, 16), jnp.float32)), devices=1)
    assert found.kernels == 2 * 2 * 16**3


def one(line, *others):
    text = "ENTRY %main () -> f32[] {\n" + "".join(f"  {x}\n" for x in (*others, line)) + "}\n"
    program = parse(text)
    return list(program.parts["main"].values())[-1], program.parts["main"], program.parts


def test_a_batched_product_written_as_a_convolution():
    """[6, 8, 4] x [6, 4, 5], with the batch as a window of which one tap meets."""
    line = (
        "%c = f32[6,8,5]{2,1,0} convolution(%a, %b), window={size=6 pad=0_0 stride=5 lhs_dilate=6},"
        " dim_labels=0bf_0io->0bf"
    )
    text = (
        "ENTRY %main () -> f32[] {\n  %a = f32[6,8,4]{2,1,0} parameter(0)\n"
        f"  %b = f32[6,4,5]{{2,1,0}} parameter(1)\n  {line}\n}}\n"
    )
    assert work(parse(text)).flops == 2 * 6 * 8 * 4 * 5


def test_bytes_of_what_lies_in_hbm():
    inside = "%v = f32[8,128]{1,0:T(8,128)S(1)} parameter(0)"
    outside = "%h = f32[8,128]{1,0:T(8,128)} parameter(1)"
    instruction, body, parts = one("%s = f32[8,128]{1,0} add(%v, %h)", inside, outside)
    assert moved(instruction, body, parts) == 2 * 8 * 128 * 4


def test_of_a_slice_only_the_slice_moves():
    whole = "%h = f32[64,128]{1,0} parameter(0)"
    instruction, body, parts = one("%s = f32[1,128]{1,0} dynamic-slice(%h, %i, %z)", whole)
    assert moved(instruction, body, parts) == 2 * 128 * 4


@pytest.mark.parametrize(
    "shape, size", [("bf16[2,3]{1,0}", 12), ("pred[8]", 8), ("(f32[2], s32[])", 12), ("s4[4]", 2)]
)
def test_bytes_of_shapes(shape, size):
    assert sum(piece.bytes for piece in pieces(shape)) == size
