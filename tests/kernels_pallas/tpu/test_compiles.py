"""The TPU compiler takes every kernel, for every chip, forward and backward."""

import jax
import jax.numpy as jnp
import pytest

import kernels_pallas as kp
from tests.kernels_pallas.aot import CHIPS, aot, compile_for

OPS = {"linear_attention": kp.linear_attention, "delta_rule": kp.delta_rule}
DECAYS = ("none", "constant", "head", "key")
SIZES = {"64": (64, 64), "128x64": (128, 64), "256": (256, 256), "256x512": (256, 512)}
slow = pytest.mark.slow


def compiled(op: str, decay: str, chip: str, k: int, v: int, dtype, h: int = 4) -> str:
    """HLO of outputs, state and the gradients of everything, from t = 1000 (padded)."""
    b, t = 1, 1000
    spec = jax.ShapeDtypeStruct
    shapes = {"constant": (h,), "head": (b, t, h), "key": (b, t, h, k)}
    arrays = {
        "q": spec((b, t, h, k), dtype),
        "k": spec((b, t, h, k), dtype),
        "v": spec((b, t, h, v), dtype),
        "initial_state": spec((b, h, k, v), jnp.float32),
    }
    if decay != "none":
        arrays["log_decay"] = spec(shapes[decay], jnp.float32)
    if op == "delta_rule":
        arrays["beta"] = spec((b, t, h), jnp.float32)

    def loss(arrays: dict) -> jax.Array:
        out, state = OPS[op](**arrays, implementation="pallas_tpu")
        return jnp.sum(out.astype(jnp.float32)) + jnp.sum(state)

    return compile_for(jax.value_and_grad(loss), (arrays,), chip).as_text()


def kernels(text: str) -> int:
    return text.count('custom_call_target="tpu_custom_call"')


@aot
@pytest.mark.parametrize("chip", [pytest.param(c, marks=() if c == "v5e" else slow) for c in CHIPS])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("op", OPS)
def test_for_each_chip(op: str, decay: str, chip: str) -> None:
    assert kernels(compiled(op, decay, chip, 128, 128, jnp.bfloat16)) == 2


@aot
@slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("op", "decay"), [("linear_attention", "key"), ("delta_rule", "head")])
def test_for_each_size(op: str, decay: str, size: str) -> None:
    assert kernels(compiled(op, decay, "tpu7x", *SIZES[size], jnp.bfloat16)) == 2


@aot
@slow
@pytest.mark.parametrize("decay", ("head", "key"))
@pytest.mark.parametrize("op", OPS)
def test_float32_in_the_smallest_memory(op: str, decay: str) -> None:
    """Fewer heads a step where four do not fit; an odd number of heads."""
    assert kernels(compiled(op, decay, "tpu7x", 256, 256, jnp.float32, h=3)) == 2
