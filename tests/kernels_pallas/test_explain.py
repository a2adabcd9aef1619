"""explain tells what a call would do, and refuses what the call would refuse."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh

import kernels_pallas as kp

Q = jax.ShapeDtypeStruct((2, 6, 3, 4), jnp.bfloat16)
BETA = jax.ShapeDtypeStruct((2, 6, 3), jnp.bfloat16)
X = jax.ShapeDtypeStruct((2, 6, 3), jnp.float32)
IDS = jax.ShapeDtypeStruct((2, 6), jnp.int32)
CALLS: dict[str, tuple[Any, ...]] = {
    "linear_attention": (Q, Q, Q),
    "delta_rule": (Q, Q, Q, BETA),
    "linear_recurrence": (X, X),
}


@pytest.mark.parametrize("name", CALLS)
def test_by_name_or_op_from_shapes_or_arrays(name: str) -> None:
    shapes = CALLS[name]
    arrays = [jnp.zeros(x.shape, x.dtype) for x in shapes]
    found = kp.explain(name, *shapes)
    assert found == kp.explain(getattr(kp, name), *arrays)
    assert found.implementation == "xla" and found.chip.platform == "cpu"
    assert set(found.refused) == {"reference", "pallas_tpu", "pallas_gpu"}
    assert all(found.refused.values())
    text = str(found)
    assert text.startswith(f"{name}: xla (chunks of matrix products)")
    assert "not pallas_tpu: " in text and "b=2 t=6" in text


def test_the_call_is_the_ops() -> None:
    decay = jax.ShapeDtypeStruct((3,), jnp.float32)
    assert kp.explain("delta_rule", *CALLS["delta_rule"], decay).call.decay == "head"
    assert kp.explain("linear_attention", Q, Q, Q, Q).call.decay == "key"
    assert kp.explain("linear_attention", Q, Q, Q).call.decay == "none"
    cut = kp.explain("linear_attention", Q, Q, Q, segment_ids=IDS).call
    assert cut.decay == "head" and cut.segments
    channels = kp.explain("linear_recurrence", X, X).call
    assert (channels.h, channels.k, channels.v, channels.decay) == (1, 3, 3, "key")
    assert channels.dtype == "float32"


def test_one_token_and_a_request() -> None:
    one = jax.ShapeDtypeStruct((2, 1, 3, 4), jnp.float32)
    assert kp.explain("linear_attention", one, one, one).implementation == "reference"
    asked = kp.explain("linear_attention", Q, Q, Q, implementation="reference")
    assert asked.reason == "asked for" and asked.refused["xla"] == "reference was asked for"


def test_on_a_chip_that_is_not_here() -> None:
    device = AbstractDevice(device_kind="TPU v5 lite", platform="tpu", num_cores=1)
    with use_abstract_mesh(AbstractMesh((), (), abstract_device=device)):
        found = kp.explain("linear_recurrence", X, X)
    assert found.chip.kind == "TPU v5 lite" and "on TPU v5 lite" in str(found)


def test_what_the_call_refuses() -> None:
    with pytest.raises(kp.ImplementationError, match="did you mean 'pallas_tpu'"):
        kp.explain("linear_attention", Q, Q, Q, implementation="pallas_tpuu")
    with pytest.raises(kp.ImplementationError, match="'pallas_gpu' cannot run"):
        kp.explain("linear_recurrence", X, X, implementation="pallas_gpu")
    with pytest.raises(ValueError, match="log_decay .* reaches 1"):
        kp.explain("linear_attention", Q, Q, Q, jnp.ones(3))
    with pytest.raises(ValueError, match="chunk_size is 3"):
        kp.explain("linear_attention", Q, Q, Q, chunk_size=3)
    with pytest.raises(TypeError, match="missing a required argument: 'v'"):
        kp.explain("linear_attention", Q, Q)
    with pytest.raises(ValueError, match="'delta_rul' is no op; .*did you mean 'delta_rule'"):
        kp.explain("delta_rul", Q)
