"""What the chunked forms keep for the backward pass: inputs, outputs, one state a chunk."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conformance.ops import KERNELS, Dims, device_arrays, each, make_case
from tests.conformance.test_ops import FORMS, WAYS

CHUNK = 16


def saved_bytes(name: str, form: str, t: int, implementation: str) -> tuple[int, int]:
    """Bytes held by the pullback, and those allowed: inputs, outputs, a state for each chunk."""
    dims = Dims(k=64, v=128) if implementation in KERNELS else Dims(k=6, v=7)  # lanes are filled
    case = make_case(name, form, t, dims=dims)
    arrays, _ = device_arrays(case, np.float32)
    ids = jnp.zeros(arrays["v" if "v" in arrays else "x"].shape[:2], jnp.int32)

    def run(arrays: dict) -> tuple:
        options = {"implementation": implementation, "chunk_size": CHUNK, "segment_ids": ids}
        return case.op.run(**arrays, **options, interpret=True)

    (outputs, state), saved = jax.eval_shape(lambda arrays: kept(run, arrays), arrays)
    held = sum(size(x) for x in saved)
    inputs = sum(size(x) for x in arrays.values()) + size(ids)
    return held, inputs + size(outputs) + (1 + -(-t // CHUNK)) * size(state)


def kept(run, arrays: dict) -> tuple:
    outputs, pull = jax.vjp(run, arrays)
    return outputs, list({id(x): x for x in jax.tree.leaves(pull)}.values())


def size(x: jax.ShapeDtypeStruct | jax.Array) -> int:
    return x.size * x.dtype.itemsize


@pytest.mark.parametrize("t", (64, 100))
@pytest.mark.parametrize(("name", "form", "implementation"), each(FORMS, "xla", *KERNELS))
def test_chunked_forms_keep_inputs_outputs_and_a_state_a_chunk(
    name: str, form: str, implementation: str, t: int
) -> None:
    held, allowed = saved_bytes(name, form, t, implementation)
    assert 0 < held <= allowed


@pytest.mark.parametrize(("name", "form"), [way for way in WAYS if way[1] != "channel"])
def test_the_measure_sees_a_state_a_token(name: str, form: str) -> None:
    held, allowed = saved_bytes(name, form, 64, "reference")
    assert held > allowed
