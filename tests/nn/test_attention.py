"""The TPU kernel for softmax attention, interpreted, equals the scores written out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from jaxlin.nn.attention import causal_attention
from tests.kernels_pallas.aot import CHIPS, aot, compile_for

B, T, H, G, K = 2, 384, 2, 1, 64
IDS = np.stack([np.searchsorted(s, np.arange(T), side="right") for s in ((5, 130, 256), (300,))])


def arrays(b=B, g=G):
    rng = np.random.default_rng(0)
    shapes = ((b, T, H, K), (b, T, g, K), (b, T, g, K), (b, T, H, K))
    return tuple(jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)


def outcome(attend, q, k, v, weights):
    """Outputs, and the gradients of q, k and v."""
    y, pull = jax.vjp(attend, q, k, v)
    return y, *pull(weights)


def assert_equal(found, wanted, bound=2e-6):
    for a, b in zip(found, wanted, strict=True):
        assert np.max(np.abs(a - b)) <= bound * np.max(np.abs(b))


@pytest.mark.parametrize(
    "documents, window",
    [
        (True, None),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((False, 70), (True, 70))),
    ],
)
def test_blocks_equal_all_scores_at_once(documents, window):
    ids = jnp.asarray(IDS[:1], jnp.int32) if documents else None
    attend = functools.partial(causal_attention, segment_ids=ids, window=window)
    given = arrays(b=1)
    found = jax.jit(functools.partial(outcome, functools.partial(attend, interpret=True)))(*given)
    assert_equal(found, outcome(attend, *given))


@pytest.mark.slow
def test_on_a_mesh_each_device_has_its_rows_and_heads():
    mesh = jax.make_mesh(
        (2, 2), ("data", "tensor"), (AxisType.Auto,) * 2, devices=jax.devices()[:4]
    )
    given = arrays(g=2)
    attend = functools.partial(causal_attention, segment_ids=jnp.asarray(IDS, jnp.int32))
    wanted = outcome(attend, *given)
    with jax.set_mesh(mesh):
        blocks = functools.partial(attend, interpret=True)
        assert_equal(jax.jit(functools.partial(outcome, blocks))(*given), wanted)


@aot
@pytest.mark.parametrize(
    "chip", [pytest.param(c, marks=() if c == "v5e" else pytest.mark.slow) for c in CHIPS]
)
def test_a_tpu_holds_no_scores(chip):
    """2048 tokens of 16 heads have 256 MiB of float32 scores."""
    x = jax.ShapeDtypeStruct((1, 2048, 16, 64), jnp.bfloat16)

    def gradients(q, k, v):
        return jax.grad(lambda *a: causal_attention(*a).astype(jnp.float32).sum(), (0, 1, 2))(
            q, k, v
        )

    program = compile_for(gradients, (x, x, x), chip)
    assert program.as_text().count('custom_call_target="tpu_custom_call"') == 3
    assert program.memory_analysis().temp_size_in_bytes < 64 * 2**20


@aot
def test_lengths_that_make_no_blocks_go_to_the_library():
    x = jax.ShapeDtypeStruct((1, 200, 2, 64), jnp.bfloat16)
    assert "tpu_custom_call" not in compile_for(causal_attention, (x, x, x), "v5e").as_text()
