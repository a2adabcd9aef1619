"""Ops over a sequence that eight devices hold, against the token scan of the whole of it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import kernels_pallas as kp
from kernels_pallas.exchange import Exchange
from tests.conformance.ops import Case, Dims, assert_close, device_arrays, each, exact, make_case
from tests.conformance.test_ops import FORMS, LAST
from tests.kernels_pallas.exchange.lines import collectives, mesh_of

METHODS = ("all_gather", "hierarchical", "log_step", "ring")
T, DIMS = 64, Dims(b=2)
# Measured: 6e-7 of the largest entry.
BOUND = 1e-6
# Of the first row: documents that end inside a slice, on a border, and after several slices.
STARTS = (5, 16, 17, 40)


def gradients(case: Case, how: Exchange, **options) -> Callable[..., dict]:
    op = kp.per_device(case.op.run, time=("seq",), how=how)

    def run(arrays: dict, ids: jax.Array | None, weights: tuple) -> dict:
        found, pull = jax.vjp(lambda arrays: op(**arrays, segment_ids=ids, **options), arrays)
        (d_arrays,) = pull(weights)
        return dict(zip(("outputs", "state"), found, strict=True)) | {
            f"d_{n}": x for n, x in d_arrays.items()
        }

    return run


def check(case: Case, methods: tuple[str, ...], ranks: int = 8, **options) -> None:
    check_ways(case, tuple(map(Exchange, methods)), ranks, **options)


def check_ways(case: Case, ways: tuple[Exchange, ...], ranks: int, **options) -> None:
    arrays, weights = device_arrays(case, np.float32)
    ids = None if case.segment_ids is None else jnp.asarray(case.segment_ids)
    wanted = exact(case)
    for how in ways:  # one program each: many collectives at once can starve two cores
        run = jax.jit(gradients(case, how, **options))
        with jax.set_mesh(mesh_of(("seq",), ranks)):
            found = jax.block_until_ready(run(arrays, ids, weights))
        assert_close({n: np.asarray(x) for n, x in found.items()}, wanted, BOUND)


@pytest.mark.parametrize("starts", [pytest.param((), marks=pytest.mark.slow), STARTS])
@pytest.mark.parametrize(
    ("name", "form"),
    [pytest.param(*way, marks=[] if way in LAST else [pytest.mark.slow]) for way in FORMS],
)
def test_it_is_the_op(name: str, form: str, starts: tuple[int, ...]) -> None:
    check(make_case(name, form, T, dims=DIMS, starts=starts), ("hierarchical",))


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [pytest.param(4, marks=pytest.mark.long), 8])
@pytest.mark.parametrize(
    ("name", "form"),
    [
        pytest.param(*way, marks=[pytest.mark.long] if way[1] not in ("key", "channel") else [])
        for way in FORMS
    ],
)
def test_every_method(name: str, form: str, ranks: int) -> None:
    check(make_case(name, form, T, dims=DIMS, starts=STARTS), METHODS, ranks)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "form"), FORMS)
def test_one_state_by_remote_dma(name: str, form: str) -> None:
    how = Exchange("all_scan", interpret=True)
    check_ways(make_case(name, form, T, dims=DIMS, starts=STARTS), (how,), ranks=4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "form", "implementation"), each(LAST, "pallas_tpu"))
def test_kernels(name: str, form: str, implementation: str) -> None:
    case = make_case(name, form, 32, dims=Dims(b=2, h=2, k=64, v=64), starts=(6, 16))
    arrays, weights = device_arrays(case, np.float32)
    how = Exchange("all_gather")
    with jax.set_mesh(mesh_of(("seq",), 2)):
        way = gradients(case, how, implementation=implementation, interpret=True, chunk_size=16)
        found = jax.jit(way)(arrays, jnp.asarray(case.segment_ids), weights)
    assert_close({n: np.asarray(x) for n, x in found.items()}, exact(case), 1e-5)


@pytest.mark.parametrize(("name", "form"), LAST)
def test_one_collective_there_and_one_back(name: str, form: str) -> None:
    """What else the final state costs is left out where nobody reads it; bytes do not grow with
    the sequence."""

    def text(t: int) -> str:
        case = make_case(name, form, t)
        arrays, weights = device_arrays(case, np.float32)
        arrays.pop("initial_state")
        mesh = mesh_of(("seq",), 8)
        op = kp.per_device(case.op.run, time=("seq",), how=Exchange("all_gather"))

        def run(arrays: dict, weights: jax.Array) -> dict:
            return jax.vjp(lambda arrays: op(**arrays)[0], arrays)[1](weights)[0]

        split = NamedSharding(mesh, P(None, "seq"))
        with jax.set_mesh(mesh):
            lowered = jax.jit(run, in_shardings=(split, split)).lower(arrays, weights[0])
            return lowered.compile().as_text()

    assert collectives(text(16)) == {"all-gather": 2} == collectives(text(64))
    assert gathered(text(16)) == gathered(text(64))


def gathered(text: str) -> list[str]:
    """The shapes of what all-gathers give."""
    return sorted(line.split("=")[1].split(" all-gather")[0].strip().split("{")[0]
                  for line in text.splitlines() if " all-gather(" in line)  # fmt: skip


def test_a_length_that_cannot_be_split_is_refused() -> None:
    q = jnp.ones((1, 12, 1, 2))
    with jax.set_mesh(mesh_of(("seq",), 8)), pytest.raises(ValueError, match="12.*8|8.*12"):
        kp.per_device(kp.linear_attention, time=("seq",))(q, q, q)
