"""Collectives counted in compiled programs: of eight CPU devices, and of schedules by hand."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import topologies
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxlin.parallel.census import census, source, summed
from jaxlin.parallel.groups import Group, group, iota
from jaxlin.parallel.program import parse, runs
from kernels_pallas.exchange import Exchange, exchange
from kernels_pallas.exchange.all_scan_cut import of_state
from kernels_pallas.exchange.traffic import State, traffic
from kernels_pallas.hardware import CHIPS
from kernels_pallas.monoid import Summary
from kernels_pallas.static.compiling import unkept
from tests.kernels_pallas.aot import aot

MESH = {"data": 2, "fsdp": 1, "seq": 4, "tensor": 1}


@functools.cache
def mesh():
    return jax.make_mesh(tuple(MESH.values()), tuple(MESH), axis_types=(AxisType.Auto,) * 4)


def compiled(body, *shapes):
    """The census of `body` inside shard_map on eight devices."""
    spec = PartitionSpec("seq")
    where = NamedSharding(mesh(), spec)
    args = [jax.ShapeDtypeStruct(s, jnp.float32, sharding=where) for s in shapes]
    f = jax.shard_map(body, mesh=mesh(), in_specs=spec, out_specs=spec, check_vma=False)
    return census(parse(jax.jit(f).lower(*args).compile().as_text()), MESH)


KINDS = {
    "all-gather": (lambda x: jax.lax.all_gather(x, "seq").sum(0), 3 * 8 * 16 * 4),
    "all-reduce": (lambda x: jax.lax.psum(x, "seq"), 2 * 3 * 8 * 16 * 4 // 4),
    "reduce-scatter": (
        lambda x: jnp.tile(jax.lax.psum_scatter(x, "seq", tiled=True), (4, 1)),
        3 * 2 * 16 * 4,
    ),
    "all-to-all": (
        lambda x: jax.lax.all_to_all(x.reshape(4, 2, 16), "seq", 0, 0).reshape(8, 16),
        3 * 2 * 16 * 4,
    ),
    "collective-permute": (
        lambda x: jax.lax.ppermute(x, "seq", [(i, (i + 1) % 4) for i in range(4)]),
        8 * 16 * 4,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kind_axis_and_received_bytes(kind):
    body, received = KINDS[kind]
    (one,) = [c for c in compiled(body, (32, 16)) if c.kind == kind]
    assert (one.axis, one.ranks, one.count, one.bytes) == ("seq", 4, 1, received)
    assert one.places == (1 if kind == "collective-permute" else 0)


def test_loops_multiply():
    def body(x):
        step = lambda c, _: (jax.lax.psum(jnp.sin(c), "seq"), None)  # noqa: E731
        return jax.lax.scan(step, x, None, length=5)[0]

    (one,) = compiled(body, (32, 16))
    assert (one.count, one.total) == (5, 5 * one.bytes)


METHODS = [
    Exchange("all_gather"),
    Exchange("hierarchical"),
    Exchange("log_step"),
    Exchange("ring"),
]
B, H, K, V = 1, 2, 4, 8


@pytest.mark.parametrize("transition", ["shared", "head", "key", "dense"])
@pytest.mark.parametrize("how", METHODS, ids=lambda how: how.method)
def test_an_exchange_receives_what_the_formula_says(how, transition):
    eight = jax.make_mesh((8,), ("seq",), axis_types=(AxisType.Auto,))
    shapes = {"head": (B, H), "key": (B, H, K), "dense": (B, H, K, K), "shared": (H,)}

    def body(m, e):
        m, e = (m, e[0]) if transition == "shared" else (m[0], e[0])
        total = lambda m, e: jnp.sum(jnp.sin(exchange(Summary(m, e), "seq", how)))  # noqa: E731
        d_m, d_e = jax.grad(total, argnums=(0, 1))(m, e)
        return d_m[None], d_e[None]

    split, whole = PartitionSpec("seq"), PartitionSpec()
    first = whole if transition == "shared" else split
    shape = shapes[transition] if transition == "shared" else (8, *shapes[transition])
    f = jax.shard_map(body, mesh=eight, in_specs=(first, split), out_specs=split, check_vma=False)
    args = (
        jax.ShapeDtypeStruct(shape, jnp.float32),
        jax.ShapeDtypeStruct((8, B, H, K, V), jnp.float32),
    )
    text = jax.jit(f).lower(*args).compile().as_text()
    found = [c for c in census(parse(text), {"seq": 8}) if c.ranks > 1]
    expected = traffic(how, 8, State(B * H, K, V, transition))
    assert sum(c.total for c in found) == expected.total
    assert sum(c.count for c in found) == expected.steps


FUSED = """HloModule jit_step, is_scheduled=true

%started (p: bf16[4,8]) -> (bf16[4,8], bf16[16,8]) {
  %p = bf16[4,8]{1,0} parameter(0)
  %all-gather.1 = bf16[16,8]{1,0} all-gather(%p), channel_id=7, replica_groups=mesh['data'=2,'seq'=4] {'seq'}, dimensions={0}, metadata={op_name="jit(step)/jvp(LanguageModel)/while/body/eval_jaxpr/blocks_0/layer_1/mixer/all_gather"}
  ROOT %c = (bf16[4,8]{1,0}, bf16[16,8]{1,0}) custom-call(%all-gather.1), custom_call_target="AsyncCollectiveStart"
}

%carried (q: bf16[16,8]) -> bf16[16,8] {
  %q = bf16[16,8]{1,0} parameter(0)
  ROOT %all-gather.2 = bf16[16,8]{1,0} all-gather(%q), channel_id=7, replica_groups=mesh['data'=2,'seq'=4] {'seq'}, dimensions={0}
}

%condition (s: (s32[], bf16[4,8])) -> pred[] {
  %limit = s32[] constant(6)
  %s = (s32[], bf16[4,8]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%s), index=0
  ROOT %lt = pred[] compare(%i, %limit), direction=LT
}

%body (s.1: (s32[], bf16[4,8])) -> (s32[], bf16[4,8]) {
  %s.1 = (s32[], bf16[4,8]{1,0}) parameter(0)
  %x = bf16[4,8]{1,0} get-tuple-element(%s.1), index=1
  %async-collective-start = (bf16[4,8]{1,0}, bf16[16,8]{1,0}) fusion(%x), kind=kCustom, calls=%started
  %fusion.3 = bf16[16,8]{1,0} fusion(%async-collective-start), kind=kOutput, calls=%carried, backend_config={"estimated_cycles":"500"}
  %async-collective-done = bf16[16,8]{1,0} fusion(%fusion.3), kind=kCustom, calls=%carried
  %i.1 = s32[] get-tuple-element(%s.1), index=0
  ROOT %t = (s32[], bf16[4,8]{1,0}) tuple(%i.1, %x)
}

ENTRY %main (a: bf16[4,8]) -> bf16[4,8] {
  %a = bf16[4,8]{1,0} parameter(0)
  %zero = s32[] constant(0)
  %start = (s32[], bf16[4,8]{1,0}) tuple(%zero, %a)
  %loop = (s32[], bf16[4,8]{1,0}) while(%start), condition=%condition, body=%body
  %b = bf16[4,8]{1,0} get-tuple-element(%loop), index=1
  %all-reduce.9 = bf16[4,8]{1,0} all-reduce(%b), channel_id=1, replica_groups=[4,2]<=[2,4]T(1,0), metadata={op_name="jit(step)/transpose(jvp(LanguageModel))/unembed/dot"}
  ROOT %r = bf16[4,8]{1,0} copy(%all-reduce.9)
}
"""  # noqa: E501


def test_a_loop_may_carry_a_gather_along():
    """Steps of it in the body of a loop are no gathers of their own."""
    inside = "%z = bf16[16,8]{1,0} fusion(%x), kind=kOutput, calls=%carried\n  %i.1 = "
    text = FUSED.replace("%i.1 = ", inside, 1)
    assert [one.kind for one in census(parse(text), {"data": 2, "seq": 4})] == [
        "all-reduce",
        "all-gather",
    ]


def test_a_gather_that_fused_computations_carry_is_one_and_in_flight():
    reduction, gather = census(parse(FUSED), {"data": 2, "seq": 4})
    assert (gather.kind, gather.axis, gather.count, gather.in_flight) == (
        "all-gather",
        "seq",
        6,
        True,
    )
    assert gather.cycles == 500
    assert gather.source == "forward blocks_0/layer_1/mixer"
    assert (reduction.axis, reduction.in_flight) == ("data", False)
    assert reduction.source == "backward unembed"


OFFLOADED = """HloModule f, is_scheduled=true

%offloaded (p: f32[4]) -> f32[16] {
  %p = f32[4]{0} parameter(0)
  ROOT %all-gather.6 = f32[16]{0} all-gather(%p), channel_id=2, replica_groups={{0,1,2,3},{4,5,6,7}}, dimensions={0}
}, execution_thread="sparsecore"

ENTRY %main (a: f32[4]) -> f32[16] {
  %a = f32[4]{0} parameter(0)
  %g.call-start = ((), s32[8]{0}) custom-call-start(), async_execution_thread="sparsecore", called_computations={%offloaded}
  %g.call-update = ((f32[4]{0}), f32[16]{0}) custom-call-update(%g.call-start, %a)
  %WORK
  %g.call-done = f32[16]{0} custom-call-done(%g.call-update)
  ROOT %r = f32[16]{0} copy(%g.call-done)
}
"""  # noqa: E501


@pytest.mark.parametrize(
    "work, busy",
    [
        ("k = f32[4]{0} custom-call(%a), custom_call_target=\"tpu_custom_call\"", True),
        ("k = f32[4]{0} copy(%a)", False),
    ],
)  # fmt: skip
def test_a_gather_on_the_sparsecore_overlaps_if_something_computes(work, busy):
    (one,) = census(parse(OFFLOADED.replace("WORK", work)), {"data": 2, "seq": 4})
    assert (one.axis, one.bytes, one.in_flight) == ("seq", 3 * 4 * 4, busy)


SCATTERED = """HloModule jit_step, is_scheduled=true

%all-reduce-scatter.1 (p: f32[32,8]) -> f32[8,8] {
  %p = f32[32,8]{1,0} parameter(0)
  %all-reduce.1 = f32[32,8]{1,0} all-reduce(%p), channel_id=7, replica_groups={{0,1,2,3},{4,5,6,7}}
  ROOT %d = f32[8,8]{1,0} dynamic-slice(%all-reduce.1, %i, %z), dynamic_slice_sizes={8,8}
}

ENTRY %main (a: f32[32,8]) -> f32[8,8] {
  %a = f32[32,8]{1,0} parameter(0)
  ROOT %fusion.1 = f32[8,8]{1,0} fusion(%a), kind=kCustom, calls=%all-reduce-scatter.1
}
"""


def test_a_fused_reduction_that_keeps_a_part_is_a_reduce_scatter():
    (one,) = census(parse(SCATTERED), {"data": 2, "seq": 4})
    assert (one.kind, one.axis, one.bytes) == ("reduce-scatter", "seq", 3 * 8 * 8 * 4)


KERNELS = """HloModule jit_step, is_scheduled=true

ENTRY %main (a: f32[4,8]) -> f32[4,8] {
  %a = f32[4,8]{1,0} parameter(0)
  %jvp_all_scan_16_seq_.1 = f32[16,128,128]{2,1,0:T(8,128)} custom-call(%a), custom_call_target="tpu_custom_call", metadata={op_name="jit(step)/jvp(LanguageModel)/blocks_0/layer_1/mixer/jvp(all_scan_16_seq)/pallas_call"}
  %other.1 = f32[4,8]{1,0} custom-call(%a), custom_call_target="tpu_custom_call", metadata={op_name="jit(step)/jvp(delta_forward)/pallas_call"}
  ROOT %r = f32[4,8]{1,0} copy(%other.1)
}
"""  # noqa: E501


def test_a_kernel_that_sends_is_known_by_its_name():
    (one,) = census(parse(KERNELS), {"data": 2, "seq": 4})
    assert (one.kind, one.axis, one.ranks, one.blocks) == ("all-scan", "seq", 4, 16)
    assert (one.bytes, one.count, one.in_flight) == (16 * 128 * 128 * 4, 1, False)
    assert one.source == "forward blocks_0/layer_1/mixer"


@pytest.mark.parametrize(("name", "busy"), [("all_scan_2_seq", False), ("delta_forward", True)])
def test_a_kernel_that_waits_for_others_hides_no_gather(name, busy):
    kernel = (
        f'custom_call_target="tpu_custom_call", metadata={{op_name="jit(f)/{name}/pallas_call"}}'
    )
    text = OFFLOADED.replace("WORK", f"k = f32[4]{{0}} custom-call(%a), {kernel}")
    found = census(parse(text), {"data": 2, "seq": 4})
    assert [one.in_flight for one in found if one.kind == "all-gather"] == [busy]


@aot
@pytest.mark.parametrize("transition", ["head", "dense"])
def test_a_compiled_scan_receives_what_the_formula_says(transition):
    devices = topologies.get_topology_desc(platform="tpu", topology_name="v5p:2x2x2").devices
    line = jax.make_mesh((8,), ("seq",), axis_types=(AxisType.Auto,), devices=devices)
    how, state, split = Exchange("all_scan"), State(4, 128, 128, transition), PartitionSpec("seq")

    def body(m, e):
        total = lambda m, e: jnp.sum(jnp.sin(exchange(Summary(m[0], e[0]), "seq", how)))  # noqa: E731
        return jax.grad(total, argnums=(0, 1))(m, e)

    shapes = [(8, 1, 4, *((128, 128) if transition == "dense" else ())), (8, 1, 4, 128, 128)]
    where = NamedSharding(line, split)
    args = [jax.ShapeDtypeStruct(s, jnp.float32, sharding=where) for s in shapes]
    f = jax.shard_map(body, mesh=line, in_specs=split, out_specs=split)
    with unkept():
        found = census(parse(jax.jit(f).lower(*args).compile().as_text()), {"seq": 8})
    expected = traffic(how, 8, state)
    assert {c.kind for c in found} == {"all-scan"}
    assert sum(c.total for c in found) == expected.total
    assert sum(c.count for c in found) == expected.steps
    assert {c.blocks for c in found} == {of_state(state, 8, CHIPS["TPU v5"], None)[0]}


def test_rows_add_up():
    (row, other) = summed(census(parse(FUSED), {"data": 2, "seq": 4}))
    assert (row.kind, row.count, row.bytes) == ("all-gather", 6, 6 * 16 * 8 * 2 * 3 // 4)
    assert other.bytes == 4 * 8 * 2


def test_trips_of_the_schedule():
    assert [run.times for run in runs(parse(FUSED))] == [1, 6]


@pytest.mark.parametrize(
    "text, found",
    [
        ("replica_groups={{0,4},{1,5},{2,6},{3,7}}", Group("data", 2)),
        ("replica_groups=[2,4]<=[8]", Group("seq", 4)),
        ("replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_0','axis_1'}", Group("data+seq", 8)),
        ("source_target_pairs={{0,2},{1,3},{4,6},{5,7}}", Group("seq", 4, 2)),
        ("dimensions={0}", Group("data+seq", 8)),
    ],
)
def test_axes_of_groups(text, found):
    assert group(text, MESH) == found


def test_iota_groups():
    assert iota("[4,2]<=[2,4]T(1,0)") == [(0, 4), (1, 5), (2, 6), (3, 7)]


def test_where_a_collective_comes_from():
    assert source("jit(step)/add") == "optimizer and metrics"
    assert source("jit(step)/jvp(LanguageModel.cross_entropy)/while") == "forward cross_entropy"
    assert source("jit(step)/jvp(LanguageModel)/while/body/squeeze") == "forward layers' weights"


def test_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="no HLO module"):
        parse("nothing")
