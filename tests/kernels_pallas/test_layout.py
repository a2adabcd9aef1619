"""Around the TPU kernels XLA moves nothing: projections write what they read and read what they
write. Numbers a token (gates of a head, write strengths) may be put into rows."""

import jax
import jax.numpy as jnp
import pytest

from kernels_pallas import delta_rule, linear_attention
from tests.kernels_pallas.aot import aot, compile_for, copies

B, T, D, H, K = 2, 1024, 512, 4, 128
A_TOKEN = f"f32[{B},{H},"  # [b, h, n, 1, c]


def layer(kind, x, w):
    """x [b, t, d] through projections and the op, and back to [b, t, d]."""
    q, k, v = (jnp.einsum("btd,dhk->bthk", x, w[name]) for name in "qkv")
    options = {"implementation": "pallas_tpu"}
    if kind == "key":
        gate = jnp.einsum("btd,dhk->bthk", x, w["q"]).astype(jnp.float32)
        out, _ = linear_attention(q, k, v, jax.nn.log_sigmoid(gate), **options)
    elif kind == "none":
        out, _ = linear_attention(q, k, v, **options)
    else:
        gate = jnp.einsum("btd,dh->bth", x, w["gate"]).astype(jnp.float32)
        write = jax.nn.sigmoid(jnp.einsum("btd,dh->bth", x, w["beta"]))
        out, _ = delta_rule(q, k, v, write, jax.nn.log_sigmoid(gate), **options)
    return jnp.einsum("bthv,hvd->btd", out, w["out"])


@aot
@pytest.mark.parametrize(
    "kind",
    ["none", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("key", "delta"))],
)
@pytest.mark.parametrize("pass_", ["forward", "gradient"])
def test_no_copy_or_transpose_stands_around_the_kernels(kind, pass_):
    shapes = {"q": (D, H, K), "k": (D, H, K), "v": (D, H, K), "out": (H, K, D)}
    shapes |= {"gate": (D, H), "beta": (D, H)}
    w = {name: jax.ShapeDtypeStruct(shape, jnp.bfloat16) for name, shape in shapes.items()}
    x = jax.ShapeDtypeStruct((B, T, D), jnp.bfloat16)

    def loss(x, w):
        return jnp.sum(layer(kind, x, w).astype(jnp.float32) ** 2)

    f = jax.grad(loss, (0, 1)) if pass_ == "gradient" else lambda x, w: layer(kind, x, w)
    compiled = compile_for(f, (x, w), "v5e")
    assert "tpu_custom_call" in compiled.as_text()
    found = copies(compiled)
    if kind == "delta":
        found = [copy for copy in found if not copy.shape.startswith(A_TOKEN)]
    assert found == []


@aot
def test_a_transpose_around_a_kernel_is_seen():
    def f(x):
        return linear_attention(x, x, x, implementation="pallas_tpu")[0]

    x = jax.ShapeDtypeStruct((B, T, H, K), jnp.bfloat16)
    assert len(copies(compile_for(f, (x,), "v5e"))) >= 2  # nobody writes it heads first
