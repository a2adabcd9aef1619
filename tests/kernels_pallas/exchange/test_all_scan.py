"""All-Scan in the TPU interpreter: states and gradients, races, a fault; and compiled for chips."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from kernels_pallas.exchange import Exchange, all_scan_kernel, exchange
from kernels_pallas.exchange.all_scan_cut import Blocks, cut, of_state, seconds
from kernels_pallas.exchange.choose import choose, estimates
from kernels_pallas.exchange.traffic import State, traffic
from kernels_pallas.hardware import CHIPS
from kernels_pallas.monoid import Summary
from kernels_pallas.static.compiling import unkept
from tests.kernels_pallas.aot import aot
from tests.kernels_pallas.exchange.census import collectives
from tests.kernels_pallas.exchange.lines import LINE, TWO, mesh_of
from tests.kernels_pallas.exchange.test_exchange import FAMILIES, close, one_by_one, slices

slow = pytest.mark.slow
Outcome = tuple[jax.Array, tuple[Any, jax.Array]]


def interpreted(blocks: int | None = None, wire: str | None = None, **params: Any) -> Exchange:
    return Exchange("all_scan", None, wire, blocks, pltpu.InterpretParams(**params))


def across(family: str, mesh: Mesh, how: Exchange, checked: bool = False) -> Any:
    """`exchange` on the slices that the devices hold; Pallas' interpreter knows no varying axes."""
    shared, axes = family in ("none", "constant"), mesh.axis_names

    def body(m: Any, e: jax.Array) -> jax.Array:
        return exchange(Summary(m if shared else m[0], e[0]), axes, how)[None]

    return jax.shard_map(
        body,
        mesh=mesh,
        in_specs=(P() if shared else P(axes), P(axes)),
        out_specs=P(axes),
        check_vma=checked,
    )


def outcome(function: Any, m: Any, e: jax.Array, weights: jax.Array) -> Outcome:
    found, pull = jax.vjp(function, m, e)
    return found, pull(weights)


def check(family: str, axes: tuple[str, ...], ranks: int, how: Exchange, bound: float) -> None:
    m, e, weights = slices(family, ranks)
    run = jax.jit(partial(outcome, across(family, mesh_of(axes, ranks), how)))
    found = jax.block_until_ready(run(m, e, weights))
    close(found, outcome(partial(one_by_one, family), m, e, weights), bound)


LINES = [(LINE, 4)] + [
    pytest.param(axes, ranks, marks=pytest.mark.long)
    for axes, ranks in ((LINE, 2), (LINE, 8), (TWO, 8))
]


@slow
@pytest.mark.parametrize("blocks", [1, 6])
@pytest.mark.parametrize(("axes", "ranks"), LINES)
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_a_walk_over_the_slices(
    family: str, axes: tuple[str, ...], ranks: int, blocks: int
) -> None:
    check(family, axes, ranks, interpreted(1 if family == "elementwise" else blocks), 1e-6)


def test_no_races_and_nothing_read_before_it_is_there() -> None:
    """Memory that nobody wrote is NaN; races raise."""
    check("key", LINE, 3, interpreted(3, detect_races=True, uninitialized_memory="nan"), 1e-6)


def test_a_block_that_leaves_before_it_is_put_together_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    combine = all_scan_kernel._put_together

    def too_early(scan: Any, step: Any, memory: Any, m: Any, e: Any) -> None:
        all_scan_kernel._pass_on(scan, step, memory)
        combine(scan, step, memory, m, e)

    monkeypatch.setattr(all_scan_kernel, "_send", too_early)
    m, e, _ = slices("key", 2)
    run = across("key", mesh_of(LINE, 2), interpreted(1, dma_execution_mode="eager"))
    with pytest.raises(AssertionError):
        close(jax.block_until_ready(jax.jit(run)(m, e)), one_by_one("key", m, e))


@pytest.mark.parametrize("ranks", [2, pytest.param(8, marks=slow)])
def test_a_rounded_wire(ranks: int) -> None:
    """Rounded once a hop, as on a ring, by 2^-8 at most: eight significant bits."""
    m, e, _ = slices("key", ranks)
    run = across("key", mesh_of(LINE, ranks), interpreted(1, "bfloat16"))
    found = jax.block_until_ready(jax.jit(run)(m, e))
    wanted = one_by_one("key", m, e)
    close(found, wanted, (ranks - 1) * 2**-8)
    assert np.any(found != wanted)


@slow
def test_columns_are_cut_where_heads_are_few() -> None:
    """Six heads of 256 columns in twelve blocks, matrices with them."""
    _, e, _ = slices("key", 2)
    e = jnp.tile(e[..., :1], 256) * jnp.linspace(0.5, 1.5, 256)
    for family in ("key", "matrix"):
        m = slices(family, 2)[0]
        run = across(family, mesh_of(LINE, 2), interpreted(12))
        close(jax.block_until_ready(jax.jit(run)(m, e)), one_by_one(family, m, e))


def test_elsewhere_than_on_a_tpu_it_is_refused() -> None:
    m, e, _ = slices("key", 2)
    with pytest.raises(ValueError, match=r"'all_scan' sends by remote DMA .* found .*'cpu'; use"):
        across("key", mesh_of(LINE, 2), Exchange("all_scan"))(m, e)


def test_blocks_that_a_state_does_not_have() -> None:
    m, e, _ = slices("key", 2)
    with pytest.raises(ValueError, match=r"6 x 4 x 5 .* in 5 blocks; possible are 1, 2, 3, 6, for"):
        across("key", mesh_of(LINE, 2), interpreted(5))(m, e)


V5P = CHIPS["TPU v5"]
ONE = State(16, 128, 128, "head")  # a mebibyte


def test_one_state_each_way() -> None:
    assert traffic(Exchange("all_scan"), 64, ONE) == (2**20, 2**20, 2)
    assert traffic(Exchange("all_scan", None, "bfloat16"), 64, ONE).total == 2**20
    assert traffic(Exchange("all_scan"), 1, ONE).total == 0


def test_more_devices_want_more_blocks_and_heads_are_cut_first() -> None:
    counts = [of_state(ONE, ranks, V5P, None)[0] for ranks in (2, 4, 64)]
    assert counts == sorted(counts) and counts[0] == 1 and counts[-1] == 16
    shape = (2, 128, 512)
    assert cut(shape, True, 64, V5P, 4, 2) == Blocks(2, 1)
    assert cut(shape, True, 64, V5P, 4, 8) == Blocks(2, 4)
    whole, pipelined = (seconds((16, 128, 128), False, 64, V5P, 4, n) for n in (1, 16))
    assert pipelined < whole / 5


def test_large_states_are_cut_so_that_blocks_fit_the_chip() -> None:
    assert cut((64, 256, 512), False, 2, V5P, 4).rows >= 16


def test_auto_does_not_take_what_nobody_measured() -> None:
    assert "all_scan" not in {e.how.method for e in estimates(512, ONE, V5P)}
    assert choose(512, ONE, V5P.kind).how.method != "all_scan"


@aot
@pytest.mark.parametrize(
    ("topology", "family", "wire"),
    [("v5p:2x2x4", "key", None), ("v5p:2x2x4", "scalar", "bfloat16"), ("v5e:4x4", "matrix", None)],
)
def test_compiled_for_chips_nothing_but_two_kernels_sends(
    topology: str, family: str, wire: str | None
) -> None:
    devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    axes = ("data", "seq")
    mesh = Mesh(np.array(devices).reshape(1, 16), axes, axis_types=(AxisType.Auto,) * 2)
    shapes = {"key": (1, 4, 128), "scalar": (1, 4), "matrix": (1, 4, 128, 128)}

    def spec(*shape: int) -> jax.ShapeDtypeStruct:
        sharding = NamedSharding(mesh, P("seq"))
        return jax.ShapeDtypeStruct((16, *shape), jnp.float32, sharding=sharding)

    def body(m: jax.Array, e: jax.Array) -> jax.Array:
        return exchange(Summary(m[0], e[0]), "seq", Exchange("all_scan", wire=wire))[None]

    run = jax.shard_map(body, mesh=mesh, in_specs=P("seq"), out_specs=P("seq"))
    state = spec(1, 4, 128, 128)
    with unkept():
        lowered = jax.jit(partial(outcome, run)).lower(spec(*shapes[family]), state, state)
        text = lowered.compile().as_text()
    assert collectives(text, 16) == []
    assert text.count('custom_call_target="tpu_custom_call"') == 2
    assert text.count("all_scan_4_seq") >= 2
