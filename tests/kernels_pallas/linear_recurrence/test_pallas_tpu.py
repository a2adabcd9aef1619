"""The recurrence's TPU kernels: blocks of every size, and the TPU compiler's consent."""

from importlib import import_module

import jax
import jax.numpy as jnp
import pytest

import kernels_pallas as kp
from kernels_pallas.call import Call
from kernels_pallas.chip import Chip
from tests.kernels_pallas.aot import CHIPS, aot, compile_for, copies

kernel = import_module("kernels_pallas.linear_recurrence.pallas_tpu")
CALL = Call("linear_recurrence", 1, 1000, 1, 640, 640, "float32", "key", False)
V5E = Chip("tpu", "TPU v5 lite")


def both(x: jax.Array, g: jax.Array, start: jax.Array) -> tuple:
    """Outputs, last state, and the gradients for cotangents that are the outputs themselves."""

    def run(x: jax.Array, g: jax.Array, start: jax.Array) -> tuple:
        return kp.linear_recurrence(x, g, initial_state=start)

    found, pull = jax.vjp(run, x, g, start)
    return *found, *pull(found)


def specs(b: int, t: int, d: int, dtype: str) -> tuple[jax.ShapeDtypeStruct, ...]:
    return (
        jax.ShapeDtypeStruct((b, t, d), dtype),
        jax.ShapeDtypeStruct((b, t, d), jnp.float32),
        jax.ShapeDtypeStruct((b, d), jnp.float32),
    )


@aot
@pytest.mark.parametrize("sizes", ((2, 1024, 1024), (1, 65, 20), (1, 520, 1300)))
@pytest.mark.parametrize("dtype", ("bfloat16", "float32"))
@pytest.mark.parametrize("chip", CHIPS)
def test_compiles(chip: str, dtype: str, sizes: tuple[int, int, int]) -> None:
    text = compile_for(both, specs(*sizes, dtype), chip).as_text()
    assert "recurrence_forward" in text and "recurrence_backward" in text


@aot
@pytest.mark.parametrize("dtype", ("bfloat16", "float32"))
def test_whole_blocks_are_read_where_they_are(dtype: str) -> None:
    """No copy of anything that runs along time."""
    compiled = compile_for(both, specs(2, 1024, 1024, dtype), "v5e")
    assert not [x for x in copies(compiled) if "1024,1024" in x.shape]


@pytest.mark.parametrize(
    ("t", "d", "rows", "lanes"),
    [
        (1, 8, 16, 8),
        (65, 512, 80, 512),
        (512, 640, 512, 128),
        (520, 768, 272, 384),
        (1000, 1024, 512, 512),
        (4096, 1300, 512, 128),
    ],
)
def test_blocks(t: int, d: int, rows: int, lanes: int) -> None:
    call = CALL._replace(t=t, k=d, v=d)
    words = kernel.plan_words(call, V5E, None)
    assert words == f"{rows} tokens x {lanes} channels (heuristic)"
    assert kernel.plan_words(call, V5E, 64) == f"64 tokens x {lanes} channels (argument)"


@pytest.mark.parametrize("size", (1, 4, 4096))
def test_a_chunk_that_does_not_fit(size: int) -> None:
    with pytest.raises(ValueError, match=f"chunk_size is {size}; wanted a power of two from 8 to"):
        kp.linear_recurrence(
            jnp.ones((1, 8, 640)),
            -jnp.ones((1, 8, 640)),
            chunk_size=size,
            implementation="pallas_tpu",
            interpret=True,
        )


@pytest.mark.parametrize(
    ("call", "chip", "why"),
    [
        (CALL, Chip("cpu", "cpu"), "TPU"),
        (CALL, Chip("tpu", "TPU v4"), "TPU v4"),
        (CALL._replace(dtype="float16"), V5E, "not float16"),
        (CALL._replace(dtype="float64"), V5E, "float64"),
    ],
)
def test_refusals(call: Call, chip: Chip, why: str) -> None:
    assert why in kernel.refusal(call, chip)
    assert not kernel.refusal(CALL, V5E)
