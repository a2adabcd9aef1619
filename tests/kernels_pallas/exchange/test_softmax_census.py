"""What softmax attention over split sequences sends and holds, read from compiled programs."""

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from kernels_pallas.exchange import softmax_local
from kernels_pallas.exchange.softmax import SOFTMAX_RESIDUALS
from kernels_pallas.exchange.softmax_traffic import softmax_traffic
from kernels_pallas.static.compiling import unkept
from tests.kernels_pallas.aot import aot
from tests.kernels_pallas.exchange.census import Sent, collectives, counts, received
from tests.kernels_pallas.exchange.softmax import Case, across, line_of, with_gradients

METHODS = ("all_gather", "ring", "ulysses", "off")
slow = pytest.mark.slow
Run = Callable[..., jax.Array]


def sent(case: Case, run: Run, gradients: bool) -> list[Sent]:
    arrays, cotangent = case.arrays()
    given = (*arrays.values(), cotangent) if gradients else tuple(arrays.values())
    compiled = jax.jit(with_gradients(run) if gradients else run).lower(*given, case.ids())
    return collectives(compiled.compile().as_text(), case.ranks)


def expected(case: Case, gradients: bool) -> dict[str, int]:
    """How often each collective runs."""
    passes = 2 if gradients else 1
    if case.method == "off":
        return {}
    if case.window is not None:
        slices = -(-(case.window - 1) // case.slice)
        return {"collective-permute": slices * (passes + case.segments)}
    gathers = int(case.segments)
    if case.method == "all_gather":
        back = {"reduce-scatter": 1} if gradients else {}
        return {"all-gather": gathers + 1} | back
    by_method = {
        "ring": {"collective-permute": (case.ranks - 1) * (3 if gradients else 1)},
        "ulysses": {"all-to-all": 2 * passes},
    }
    return by_method[case.method] | ({"all-gather": gathers} if gathers else {})


def traffic(case: Case) -> tuple[int, int]:
    return softmax_traffic(
        case.method,
        ranks=case.ranks,
        b=case.b,
        t=case.slice,
        h=case.h,
        g=case.g,
        k=case.k,
        v=case.v,
        itemsize=4,
        window=case.window,
        segments=case.segments,
    )


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize(
    "case",
    [
        *(Case(method, 4, True, k=3, v=5) for method in METHODS),
        *(pytest.param(Case(method, 2), marks=slow) for method in METHODS),
        pytest.param(Case("all_gather", 8), marks=slow),
        pytest.param(Case("ring", 8, True), marks=slow),
        pytest.param(Case("off", 4, True, 4), marks=slow),
        Case("ring", 4, True, 4),
        pytest.param(Case("all_gather", 4, False, 9), marks=slow),
        Case("all_gather", 4, True, 14),
    ],
)
def test_collectives_and_their_bytes(case: Case, gradients: bool) -> None:
    found = sent(case, across(case, line_of(case.ranks)), gradients)
    assert counts(found) == expected(case, gradients)
    forward, backward = traffic(case)
    assert received(found) == forward + (backward if gradients else 0)


def test_bytes_of_a_window_do_not_grow_with_the_sequence() -> None:
    short, long = (traffic(Case("all_gather", 8, True, 5, slice=n)) for n in (6, 6000))
    assert short == long
    everything = [traffic(Case(m, 8, True, slice=n)) for m in METHODS[:3] for n in (6, 6000)]
    assert all(a[0] * 1000 == b[0] for a, b in zip(everything[::2], everything[1::2], strict=True))


def test_an_unknown_method_has_no_traffic() -> None:
    with pytest.raises(ValueError, match="method is 'psum'; wanted all_gather, ring, ulysses"):
        traffic(Case("psum", 2))


@pytest.mark.parametrize("method", ["all_gather", "ring"])
def test_a_layer_that_is_computed_again_sends_nothing_again(method: str) -> None:
    case = Case(method, 4)
    run = across(case, line_of(4))
    kept = jax.checkpoint_policies.save_only_these_names(*SOFTMAX_RESIDUALS)
    found = counts(sent(case, jax.checkpoint(run, policy=kept), gradients=True))
    assert found == expected(case, gradients=True)
    again = counts(sent(case, jax.checkpoint(run), gradients=True))
    assert sum(again.values()) > sum(found.values())


@slow
@pytest.mark.parametrize(
    ("method", "window"), [("all_gather", None), ("ring", None), ("ulysses", None), ("ring", 300)]
)
def test_scores_are_held_some_rows_at_a_time(
    method: str, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(method, 4, True, window, b=1, slice=1024, h=8, g=4, k=16, v=16)
    monkeypatch.setattr(softmax_local, "SCORES_AT_ONCE", 2**19)

    def spec(*shape: int, dtype: str = "float32") -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, case.t, *shape), dtype)

    wide, narrow = spec(case.h, case.k), spec(case.g, case.k)
    run = jax.jit(with_gradients(across(case, line_of(4))))
    compiled = run.lower(wide, narrow, narrow, wide, spec(dtype="int32")).compile()
    # Five blocks of scores, and ten arrays as large as all keys or queries.
    room = 5 * 4 * 2**19 + 10 * 4 * case.h * case.k * case.t
    held = compiled.memory_analysis().temp_size_in_bytes
    assert held < room < 4 * case.h * case.slice * case.t


@aot
@slow
def test_a_ring_on_chips_computes_while_keys_and_gradients_travel() -> None:
    case = Case("ring", 8, b=1, slice=512, h=8, g=4, k=128, v=128)
    topology = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x4")
    mesh = Mesh(np.array(topology.devices), ("seq",))

    def spec(heads: int) -> jax.ShapeDtypeStruct:
        sharding = NamedSharding(mesh, P(None, "seq"))
        return jax.ShapeDtypeStruct((1, case.t, heads, case.k), jnp.bfloat16, sharding=sharding)

    with unkept():
        run = jax.jit(with_gradients(across(case, mesh)))
        text = run.lower(spec(8), spec(4), spec(4), spec(8), None).compile().as_text()
    starts = re.findall(r"%(collective-permute-start[\w.]*) = ", text)
    assert len(starts) == 5  # keys in both loops and before the second; gradients in it and after
    for start in starts:
        flight = text.partition(f"%{start} = ")[2].partition(f"done(%{start})")[0]
        assert " conditional(" in flight
