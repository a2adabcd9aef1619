"""Kernels compiled for TPUs that are not there: counts against figures worked out by hand."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from kernels_pallas.static import CHIPS, Costs, LibtpuMissing, dump, static_cost, tracing_for
from kernels_pallas.static.calls import pallas_calls
from tests.kernels_pallas.aot import aot, compile_for, copies
from tests.kernels_pallas.small import product, summed

M, N, K, V, ROWS = 2, 256, 64, 128, 64
VMEM = 2 * ((ROWS * 128 + 128 * V) * 2 + ROWS * V * 4) + ROWS * V * 4  # of a product of specs(128)


def specs(k=K, dtype=jnp.bfloat16):
    return jax.ShapeDtypeStruct((M, N, k), dtype), jax.ShapeDtypeStruct((M, k, V), dtype)


@pytest.fixture(scope="module")
def costs():
    with Costs() as costs:
        yield costs


def test_block_copies_are_counted_over_the_grid():
    (call,) = pallas_calls(jax.make_jaxpr(product)(*specs()))
    x, y, out = call.blocks
    assert (call.name, call.grid) == ("product", (M, N // ROWS))
    assert (x.copies, y.copies, out.copies) == (8, 2, 8)
    assert (x.least, x.moved) == (M * N * K * 2, M * N * 128 * 2)  # k = 64 fills half the lanes
    assert (y.least, y.moved) == (M * K * V * 2, M * K * V * 2)
    assert (out.least, out.moved) == (M * N * V * 4, M * N * V * 4)


def test_calls_inside_of_control_flow_are_found():
    def f(x, y):
        step = lambda c, _: (c + jax.lax.cond(c[0, 0, 0] > 0, product, product, x, y), None)  # noqa: E731
        return jax.lax.scan(step, jnp.zeros((M, N, V)), None, length=2)[0]

    assert [c.name for c in pallas_calls(jax.make_jaxpr(f)(*specs()))] == ["product"] * 2


def test_a_trace_sees_the_chip():
    seen = []
    with tracing_for("v6e"):
        jax.make_jaxpr(lambda x: seen.append(jax.sharding.get_abstract_mesh()) or x)(0.0)
    assert seen[0].abstract_device.device_kind == CHIPS["v6e"].kind


def test_an_unknown_chip_is_named():
    with pytest.raises(ValueError, match="'v9' is not known; allowed: v5e, v5p, v6e, tpu7x"):
        tracing_for("v9")


def test_without_libtpu_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "libtpu", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    for call in (compile_for, static_cost):
        with pytest.raises(LibtpuMissing, match=r"pip install libtpu.*jaxlin\[tpu\]"):
            call(product, specs(), "v5e")


@aot
@pytest.mark.parametrize("chip", CHIPS)
def test_costs_of_a_product(costs, chip):
    (one,) = costs(product, specs(128), chip)
    assert one.hbm == one.hbm_least == (M * N * 128 + M * 128 * V) * 2 + M * N * V * 4
    assert one.vmem == VMEM
    assert 100 < one.bundles < 1000 and one.code == 64 * one.bundles
    assert all(0 <= share <= 1 for share in one.use.values())
    assert one.use["mxu"] > 0 and one.use["eup"] == 0 and one.spills == 0


@aot
@pytest.mark.parametrize("chip", CHIPS)
def test_what_one_kernel_leaves_to_another_stays_in_hbm(costs, chip):
    """In vector memory, where the compiler would put it, it needs no buffers and no copies."""
    found = costs(lambda x, y: product(product(x, y).astype(x.dtype), y), specs(128), chip)
    assert [c.vmem for c in found] == [VMEM, VMEM]


@aot
def test_more_work_a_step_takes_more_bundles(costs):
    small, large = (
        costs(lambda x, y, rows=rows: product(x, y, rows), specs(128), "v5e")[0].bundles
        for rows in (16, 128)
    )
    assert small < large < 4 * small


def test_an_empty_bundle_and_one_of_what_follows_leave_no_loop():
    """The former is printed without the marks of the loops around it, the latter stands among
    bundles of the loop."""
    marks = ["", "LB: >", ": >", None, ": >", "LB: >>", None, ": >", ": >>", ": >", ""]
    lines = [
        f" 0x{i:x} : {{}}" if mark is None else f" 0x{i:x} {mark or ':'} {{ %x = y }}"
        for i, mark in enumerate(marks)
    ]
    parts = dump.read_parts("\n".join(lines), [[0] * len(dump.SLOTS)] * len(lines))
    assert [(part["parent"], part["bundles"]) for part in parts] == [(None, 2), (0, 5), (1, 4)]


@aot
def test_a_loop_counts_as_often_as_it_runs(costs):
    def bundles(n, **options):
        x = jax.ShapeDtypeStruct((4, n, 128), jnp.float32)
        return costs(lambda x: summed(x, **options), (x,), "v5e")[0].bundles

    once, twice, four = bundles(512), bundles(1024), bundles(2048)
    assert 64 * 4 < twice - once < 64 * 40  # 64 more turns
    assert four - twice == 2 * (twice - once)
    assert bundles(512, unroll=8) < once
    with pytest.raises(RuntimeError, match="summed: its program has 1 loops, .* 0 of 1 run"):
        bundles(512, dynamic=True)


@aot
def test_kernels_are_told_apart_by_name_and_order(costs):
    def f(x, y):
        first = product(x, y, 64, "one").astype(x.dtype)
        return product(first, y, 16, "two") + product(first, y, 128, "one")

    found = costs(f, specs(128), "v5e")
    assert [(c.name, c.grid[1]) for c in found] == [("one", 4), ("two", 16), ("one", 2)]
    assert found[1].bundles < found[0].bundles < found[2].bundles
    assert costs(f, specs(128), "v5e", ["two"]) == [found[1]]
    with pytest.raises(ValueError, match="named three; kernels of the program: one, two"):
        costs(f, specs(128), "v5e", ["three"])


@aot
def test_kernels_of_a_gradient_keep_their_names(costs):
    @jax.custom_vjp
    def f(x, y):
        return product(x, y, name="forward")

    def backward(saved, d):
        x, y = saved
        d_x = product(d.astype(x.dtype), jnp.swapaxes(y, 1, 2), name="backward")
        return d_x.astype(x.dtype), y

    f.defvjp(lambda x, y: (f(x, y), (x, y)), backward)
    gradient = jax.grad(lambda x, y: jnp.sum(jnp.sin(f(x, y))))
    found = costs(gradient, specs(128), "v5e")
    assert [c.name for c in found] == ["forward", "backward"]


@aot
def test_a_refusal_of_the_compiler_is_told_and_the_next_program_compiles(costs):
    with pytest.raises(RuntimeError, match="v5e: .*Scoped allocation .* exceeded scoped vmem"):
        costs(lambda x, y: product(x, y, spare=2**16), specs(), "v5e")
    assert costs(product, specs(), "v5e")


@aot
def test_a_dead_compiler_is_told_and_replaced():
    with Costs() as costs:
        costs.compiler.start().kill()
        with pytest.raises(RuntimeError, match="v5e: the compiler died, exit code -9"):
            costs(product, specs(), "v5e")
        assert costs(product, specs(), "v5e")


@aot
def test_a_program_that_compiles_too_long_is_given_up():
    with Costs(timeout=0.01) as costs, pytest.raises(RuntimeError, match="more than 0.01 s"):
        costs(product, specs(), "v5e")


@aot
def test_static_cost_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert static_cost(product, specs(), "v5e")[0].name == "product"
    assert list(tmp_path.iterdir()) == []


@aot
@pytest.mark.parametrize("chip", CHIPS)
def test_compile_for_needs_no_tpu(chip):
    compiled = compile_for(product, specs(), chip)
    assert "tpu_custom_call" in compiled.as_text()
    assert compiled.memory_analysis().output_size_in_bytes == M * N * V * 4


@aot
def test_copies_around_a_kernel_are_listed():
    x, y = specs(128)
    turned = jax.ShapeDtypeStruct((N, M, 128), jnp.float32)
    turn = lambda x: jnp.swapaxes(x, 0, 1)  # noqa: E731
    assert copies(compile_for(product, (x, y), "v5e")) == []
    before = lambda x, y: jnp.exp(product(turn(x).astype(y.dtype), y))  # noqa: E731
    (copy,) = copies(compile_for(before, (turned, y), "v5e"))
    assert (copy.opcode, copy.shape.partition("{")[0]) == ("copy", f"bf16[{N},{M},128]")
    after = copies(compile_for(lambda x, y: turn(product(x, y)), (x, y), "v5e"))
    assert [c.shape.partition("{")[0] for c in after] == [f"f32[{N},{M},{V}]"]


@aot
def test_a_projection_that_writes_the_layout_costs_no_copy():
    def f(x, w, y):
        return product(jnp.einsum("nd,mdk->mnk", x, w), y)

    x = jax.ShapeDtypeStruct((N, 128), jnp.bfloat16)
    w = jax.ShapeDtypeStruct((M, 128, 128), jnp.bfloat16)
    assert copies(compile_for(f, (x, w, specs(128)[1]), "v5e")) == []


def test_importing_the_static_model_loads_no_compiler():
    code = "import sys; import kernels_pallas.static; print('libtpu' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
