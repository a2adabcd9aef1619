"""Tuning with a kernel of its own: plan, ranking, tables, refusals, exit codes."""

import json
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from kernels_pallas import tables
from kernels_pallas.call import Call
from kernels_pallas.chip import Chip
from kernels_pallas.static.calls import Block
from kernels_pallas.static.costs import KernelCost
from kernels_pallas.tune import __main__ as command
from kernels_pallas.tune import trials
from kernels_pallas.tune.programs import draw, inputs_of, run_blocks, with_gradients
from tests.kernels_pallas.aot import aot

V5E = Chip("tpu", "TPU v5 lite")
CALL = Call("linear_attention", 1, 1024, 2, 128, 128, "bfloat16", "none", False)


def doubled(x, rows, name, interpret):
    """2 x for x [b, h, t, k], a step for `rows` tokens; an odd number takes all VMEM besides."""
    spare, rows = (2**16 if rows % 2 else 8), rows - rows % 2

    def body(x, out, scratch):
        scratch[:8] = x[0, 0, :8].astype(jnp.float32)
        out[0] = (2 * x[0].astype(jnp.float32) + 0 * scratch[0]).astype(out.dtype)

    b, h, t, k = x.shape
    spec = pl.BlockSpec((1, h, rows, k), lambda i, j: (i, 0, j, 0))
    return pl.pallas_call(
        body,
        grid=(b, t // rows),
        in_specs=[spec],
        out_specs=spec,
        out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
        scratch_shapes=[pltpu.VMEM((spare, 128), jnp.float32)],
        interpret=interpret,
        name=name,
    )(x)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def double(x, rows, interpret):
    return doubled(x, rows, "forward", interpret)


double.defvjp(
    lambda x, rows, interpret: (doubled(x, rows, "forward", interpret), None),
    lambda rows, interpret, _, d: (doubled(d, rows, "backward", interpret),),
)


def run(call, chip, tokens, state, scale, chunk_size, interpret):
    rows = (tables.lookup("pallas_tpu", call, chip) or {"chunk_size": 64})["chunk_size"]
    on_cpu = chip.platform == "cpu" or interpret
    turned = double(jnp.swapaxes(tokens.v, 1, 2), rows, on_cpu)
    return jnp.swapaxes(turned, 1, 2), state


def fake(rows=(16, 64, 32)):
    return SimpleNamespace(
        run=run,
        refusal=lambda call, chip: "" if call.decay == "none" else "no decay here",
        candidates=lambda call, chip: [{"chunk_size": n} for n in rows],
    )


@pytest.fixture
def kernel(monkeypatch):
    """Makes the fake the only implementation."""

    def use(module):
        monkeypatch.setattr(
            command, "load", lambda op, name: module if op == "linear_attention" else None
        )

    use(fake())
    return use


def tune(*argv):
    return command.main([*map(str, argv)])


@aot
def test_the_blocks_of_fewest_bundles_are_written(kernel, tmp_path, capsys):
    assert tune("--chip", "v5e", "v6e", "--heads", 1, "--tables", tmp_path) == 0
    said = capsys.readouterr().out
    assert said.startswith("pallas_tpu: 2 calls, 6 candidates\nranked by scheduled bundles")
    assert said.index("3/3 chunk_size=32") < said.index("best:")
    for file, kind in (("tpu_v5_lite", "TPU v5 lite"), ("tpu_v6_lite", "TPU v6 lite")):
        table = json.loads((tmp_path / f"{file}.json").read_text())
        key = "pallas_tpu linear_attention none 128x128 bfloat16"
        assert table == {"device": kind, "blocks": {key: {"chunk_size": 64}}}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tpu_v5_lite.json", "tpu_v6_lite.json"]


@aot
def test_blocks_beyond_vmem_are_refused_and_the_rest_is_tried(kernel, tmp_path, capsys):
    kernel(fake((65, 64)))
    assert tune("--chip", "v5e", "--heads", 1, "--tables", tmp_path) == 0
    said = capsys.readouterr().out
    assert "1/2 chunk_size=65: refused: Scoped allocation with size" in said
    assert (
        "2/2 chunk_size=64: bundles a token" in said
        and '{"chunk_size": 64}' in next(iter(tmp_path.iterdir())).read_text()
    )


@aot
def test_where_no_candidate_works_nothing_is_written(kernel, tmp_path, capsys):
    kernel(fake((65,)))
    assert tune("--chip", "v5e", "--heads", 1, "--tables", tmp_path) == 1
    assert "no candidate works" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@aot
def test_a_dry_run_only_tells(kernel, tmp_path, capsys):
    assert tune("--chip", "v5e", "--tables", tmp_path, "--dry-run") == 0
    assert f"{tmp_path}/tpu_v5_lite.json" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_without_the_compiler_it_says_what_to_install(kernel, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    assert tune("--chip", "v5e") == 2
    assert "pip install libtpu" in capsys.readouterr().err


@aot
def test_nothing_to_tune_is_an_error(kernel, capsys):
    assert tune("--chip", "v5e", "--decay", "key") == 2
    assert "no kernel takes these calls" in capsys.readouterr().err


def test_on_a_device_time_decides(kernel, monkeypatch, tmp_path, capsys):
    here = Chip("gpu", "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(command, "target", lambda: here)
    times = {16: 3.0, 64: 1.0, 32: 2.0}
    judge = lambda module, call, chip, blocks: trials.Trial(  # noqa: E731
        blocks, times[blocks["chunk_size"]], f"{times[blocks['chunk_size']]} ms"
    )
    monkeypatch.setattr(command, "by_time", lambda: judge)
    assert tune("--tables", tmp_path, "--decay", "none") == 0
    said = capsys.readouterr().out
    assert said.startswith("pallas_gpu: 1 calls, 3 candidates\nranked by median time")
    table = json.loads((tmp_path / "nvidia_h100_80gb_hbm3.json").read_text())
    assert list(table["blocks"].values()) == [{"chunk_size": 64}]


def test_time_is_measured_forward_and_backward():
    call = CALL._replace(t=128, dtype="float32")
    trial = trials.by_time(rounds=3)(fake(), call, Chip("cpu", "cpu"), {"chunk_size": 64})
    assert 0 < trial.score < 1e4 and trial.words == f"{trial.score:.3f} ms"
    refused = trials.by_time()(fake(), call, V5E, {"chunk_size": 64})
    assert refused.score == float("inf") and refused.words.startswith("refused: ")


def test_blocks_on_trial_are_found_before_those_of_the_table(tmp_path):
    tables.write(V5E, "pallas_tpu", {CALL: {"chunk_size": 64}}, tmp_path)
    with tables.trying({"chunk_size": 16}):
        assert tables.lookup("pallas_tpu", CALL, V5E, tmp_path) == {"chunk_size": 16}
    assert tables.lookup("pallas_tpu", CALL, V5E, tmp_path) == {"chunk_size": 64}


def test_an_older_table_keeps_its_other_rows(kernel, tmp_path):
    job = command.Job(V5E, CALL, fake(), [])
    command.write(job, "pallas_tpu", trials.Trial({"chunk_size": 64}, 1.0, ""), tmp_path)
    other = job._replace(call=CALL._replace(decay="head"))
    command.write(other, "pallas_tpu", trials.Trial({"chunk_size": 128}, 1.0, ""), tmp_path)
    command.write(job, "pallas_tpu", trials.Trial({"chunk_size": 32}, 1.0, ""), tmp_path)
    blocks = json.loads((tmp_path / "tpu_v5_lite.json").read_text())["blocks"]
    assert [tuple(b.values()) for b in blocks.values()] == [(128,), (32,)]


@pytest.mark.parametrize("op", ["linear_attention", "delta_rule", "linear_recurrence"])
@pytest.mark.parametrize("decay", ["none", "head", "key"])
@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_the_program_is_the_op_with_all_gradients(op, decay, platform):
    h = 1 if op == "linear_recurrence" else 2
    call = Call(op, 1, 32, h, 16, 16, "float32", decay, False)
    module = SimpleNamespace(run=reference(op))
    chip = Chip(platform, platform)
    f, specs = with_gradients(run_blocks(module, call, chip), inputs_of(call, chip))
    inputs, cotangents = draw(*specs)
    if op != "linear_recurrence":
        assert inputs["q"].shape == ((1, 2, 32, 16) if platform == "tpu" else (1, 32, 2, 16))
    (outputs, _), gradients = jax.jit(f)(inputs, cotangents)
    assert outputs.shape == cotangents[0].shape
    assert {n: x.shape for n, x in gradients.items()} == {n: x.shape for n, x in inputs.items()}
    assert all(jnp.isfinite(x).all() and jnp.any(x != 0) for x in gradients.values())


def reference(op):
    from kernels_pallas.delta_rule.reference import delta_rule_reference
    from kernels_pallas.linear_attention.reference import linear_attention_reference
    from kernels_pallas.linear_recurrence.reference import linear_recurrence_reference

    def run(call, chip, tokens, state, scale, chunk_size, interpret):
        if op == "linear_recurrence":
            return linear_recurrence_reference(*tokens, state)
        form = delta_rule_reference if op == "delta_rule" else linear_attention_reference
        return form(*tokens, state, scale)

    return run


def test_bundles_are_spread_over_the_tokens_of_a_step():
    block = lambda shape, array: Block(shape, array, jnp.dtype("bfloat16"), 1)  # noqa: E731
    blocks = (block((2, 64, 64), (2, 64, 64)), block((1, 4, 64, 128), (1, 8, 512, 128)))
    cost = KernelCost("kernel", "v5e", 2560, {}, 0, 0, 0, 0, 0, 0, (1, 2, 8), blocks)
    assert trials.bundles_per_token(cost) == 2560 / (4 * 64)


@pytest.mark.parametrize("argv", [["--chip", "v9"], ["--size", "128"], ["--decay", "some"]])
def test_bad_arguments_exit_with_2(argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        tune(*argv)
    assert stopped.value.code == 2
    assert argv[1] in capsys.readouterr().err
