"""The ops under JAX's transformations, and the same bits on every run."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec
from jax.test_util import check_grads

from tests.conformance.ops import (
    KERNELS,
    OPS,
    PLAIN,
    Case,
    Dims,
    assert_close,
    device_arrays,
    each,
    evaluate,
    exact,
    kernels_later,
    make_case,
)
from tests.conformance.test_ops import (
    BOUND32,
    BOUND64,
    CHUNK,
    EVERYTHING,
    LAST,
    STARTS,
    WAYS,
)

T, OPTIONS = 20, {"implementation": "xla", "chunk_size": 8}
# Kernels under the transformations: one form of decay for each op.
CONSTANT = ("linear_attention", "constant")
TRANSFORMED = each(WAYS, "xla") + each(LAST, *KERNELS)


def setting(implementation: str) -> tuple[Any, float, dict[str, Any]]:
    """The dtype to test in, its bound, and the op's options, with two chunks or more in T."""
    if implementation in KERNELS:
        return (
            np.float32,
            BOUND32,
            dict(implementation=implementation, chunk_size=16, interpret=True),
        )
    return np.float64, BOUND64, OPTIONS | {"implementation": implementation}


def loss(case: Case, arrays: dict, weights: tuple, **options) -> jax.Array:
    found = case.op.run(**arrays, **options)
    return sum(jnp.sum(w * x) for w, x in zip(weights, found, strict=True))


@pytest.mark.parametrize(("name", "form", "implementation"), kernels_later(EVERYTHING))
def test_two_runs_give_the_same_bits(name: str, form: str, implementation: str) -> None:
    case = make_case(name, form, 65, starts=STARTS)
    options = {"implementation": implementation, "chunk_size": CHUNK}
    first, again = (evaluate(case, np.float32, **options) for _ in range(2))
    for key, x in first.items():
        assert x.tobytes() == again[key].tobytes(), key


@pytest.mark.parametrize(("name", "form", "implementation"), kernels_later(TRANSFORMED))
def test_vmap(name: str, form: str, implementation: str) -> None:
    """Over all inputs but the initial state, which is shared."""
    dtype, bound, options = setting(implementation)
    cases = [make_case(name, form, T), make_case(name, form, T, dims=Dims())]
    shifted = {n: np.roll(x, 1, axis=1) for n, x in cases[1].arrays.items()}
    shifted["initial_state"] = cases[0].arrays["initial_state"]
    cases[1] = cases[1]._replace(arrays=shifted)
    stacked = {n: np.stack([c.arrays[n] for c in cases]) for n in shifted}
    stacked["initial_state"] = shifted["initial_state"]
    axes = {n: None if n == "initial_state" else 0 for n in stacked}

    @jax.jit
    def gradients(arrays: dict, weights: tuple) -> dict:
        def total(arrays: dict) -> jax.Array:
            each = jax.vmap(lambda a: loss(cases[0], a, weights, **options), (axes,))(arrays)
            return jnp.sum(each)

        return jax.grad(total)(arrays)

    with jax.enable_x64(dtype == np.float64):
        weights = tuple(jnp.asarray(x, dtype) for x in cases[0].cotangents)
        found = gradients({n: jnp.asarray(x, dtype) for n, x in stacked.items()}, weights)
        found = {n: np.asarray(x) for n, x in found.items()}
    wanted = [exact(case) for case in cases]
    together = {n: np.stack([w[f"d_{n}"] for w in wanted]) for n in stacked}
    together["initial_state"] = together["initial_state"].sum(0)
    assert_close(found, together, bound)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "form", "implementation"), TRANSFORMED)
def test_without_jit_under_remat_and_in_a_scan(name: str, form: str, implementation: str) -> None:
    """Twice the op, its outputs fed back as its written input, as two layers would."""
    dtype, bound, options = setting(implementation)
    case = make_case(name, form, T, dims=Dims(k=3))
    written = "v" if "v" in case.arrays else "x"

    def layer(arrays: dict, _: None, options: dict) -> tuple[dict, None]:
        return arrays | {written: case.op.run(**arrays, **options)[0]}, None

    def scanned(arrays: dict) -> jax.Array:
        body = jax.checkpoint(functools.partial(layer, options=options))
        return jnp.sum(jax.lax.scan(body, arrays, None, length=2)[0][written] ** 2)

    def unrolled(arrays: dict) -> jax.Array:
        for _ in range(2):
            arrays, _ = layer(arrays, None, {"implementation": "reference"})
        return jnp.sum(arrays[written] ** 2)

    with jax.enable_x64(True):
        wanted = jax.jit(jax.grad(unrolled))(device_arrays(case, np.float64)[0])
    with jax.enable_x64(dtype == np.float64):
        arrays, _ = device_arrays(case, dtype)
        for gradient in (jax.grad(scanned), jax.jit(jax.grad(scanned))):
            found = gradient(arrays)
            assert_close(
                {n: np.asarray(x) for n, x in found.items()},
                {n: np.asarray(x) for n, x in wanted.items()},
                bound,
            )


@pytest.mark.parametrize(
    ("name", "form", "implementation"),
    kernels_later(each([CONSTANT, *WAYS], *PLAIN) + each([CONSTANT, *LAST], *KERNELS)),
)
def test_shard_map_over_the_batch(name: str, form: str, implementation: str) -> None:
    """A constant decay is held once, everything else per device."""
    case = make_case(name, form, T, dims=Dims(b=8), starts=(6,))
    mesh = Mesh(np.array(jax.devices()[:8]), ("data",))
    split, once = PartitionSpec("data"), PartitionSpec()
    specs = {n: once if x.shape[0] != 8 else split for n, x in case.arrays.items()}
    _, _, options = setting(implementation)

    def run(arrays: dict, ids: jax.Array) -> tuple:
        return case.op.run(**arrays, segment_ids=ids, **options)

    @jax.jit
    def gradients(arrays: dict, ids: jax.Array, weights: tuple) -> dict:
        sharded = jax.shard_map(
            run,
            mesh=mesh,
            in_specs=(specs, split),
            out_specs=(split, split),
            check_vma=implementation not in KERNELS,  # Pallas' interpreter knows no varying axes
        )
        found, pull = jax.vjp(lambda arrays: sharded(arrays, ids), arrays)
        (d_arrays,) = pull(weights)
        return dict(zip(("outputs", "state"), found, strict=True)) | {
            f"d_{n}": x for n, x in d_arrays.items()
        }

    arrays, weights = device_arrays(case, np.float32)
    found = gradients(arrays, jnp.asarray(case.segment_ids), weights)
    assert_close({n: np.asarray(x) for n, x in found.items()}, exact(case), BOUND32)


@pytest.mark.parametrize(("name", "form"), WAYS)
def test_reference_in_forward_mode_and_to_second_order(name: str, form: str) -> None:
    case = make_case(name, form, 3, dims=Dims(b=1, h=1, k=2, v=2), starts=(2,))
    with jax.enable_x64(True):
        arrays, _ = device_arrays(case, np.float64)
        ids = jnp.asarray(case.segment_ids)

        def run(arrays: dict) -> tuple:
            return case.op.run(**arrays, segment_ids=ids, implementation="reference")

        # Central differences of step 1e-4 err by its square; measured 4e-8.
        check_grads(jax.jit(run), (arrays,), order=2, modes=("fwd", "rev"), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", OPS)
def test_gradients_are_asked_for_one_at_a_time(name: str) -> None:
    """No gradient depends on which others are wanted."""
    case = make_case(name, OPS[name].forms[-1], T)
    wanted = exact(case)
    with jax.enable_x64(True):
        arrays, weights = device_arrays(case, np.float64)
        for key in arrays:
            alone = jax.jit(
                jax.grad(lambda x, key=key: loss(case, arrays | {key: x}, weights, **OPTIONS))
            )(arrays[key])
            assert_close({"d": np.asarray(alone)}, {"d": wanted[f"d_{key}"]}, BOUND64)
