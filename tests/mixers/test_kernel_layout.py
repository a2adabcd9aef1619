"""The projections write the layout that the TPU kernels read: no copy stands between them."""

import functools
import math
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

import kernels_pallas as kp
from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.gla import GLA
from jaxlin.mixers.base import build
from tests.kernels_pallas.aot import aot, compile_for, copies

B, T, D, HEADS = 2, 512, 512, 4
CONFIGS = {
    "gla": GLA(heads=HEADS, expand_k=1.0),
    "gated_deltanet": GatedDeltaNet(heads=HEADS),
}
X = jax.ShapeDtypeStruct((B, T, D), jnp.bfloat16)


@aot
@pytest.mark.parametrize("kind", CONFIGS)
def test_no_copies_around_the_kernels_of_a_mixer(kind: str) -> None:
    mixer = build(CONFIGS[kind], D, dtype=jnp.bfloat16)
    params = nn.meta.unbox(jax.eval_shape(mixer.init, jax.random.key(0), X))

    def loss(params: dict, x: jax.Array) -> jax.Array:
        return jnp.sum(mixer.apply(params, x)[0].astype(jnp.float32) ** 2)

    program = compile_for(jax.value_and_grad(loss, argnums=(0, 1)), (params, X), "v5e")
    assert program.as_text().count("tpu_custom_call") >= 2, "forward and backward are kernels"
    assert [copy for copy in copies(program) if size(copy.shape) > B * T * HEADS] == []


@aot
def test_the_measure_sees_the_copy_after_a_reshape() -> None:
    weight = jax.ShapeDtypeStruct((D, D), jnp.bfloat16)

    def run(x: jax.Array, weight: jax.Array) -> jax.Array:
        q = (x @ weight).reshape(B, T, HEADS, -1)
        return functools.partial(kp.linear_attention, q, q)(q)[0]

    found = copies(compile_for(run, (X, weight), "v5e"))
    assert [copy for copy in found if size(copy.shape) > B * T * HEADS]


def size(shape: str) -> int:
    """Numbers of an array such as "bf16[2,512,4,64]{3,1,2,0}"; one a token and head may move."""
    return math.prod(int(n) for n in re.findall(r"\d+", shape[: shape.index("]")].split("[")[1]))
