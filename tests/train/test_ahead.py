"""The train step compiled for a slice: its memory, its collectives, and what a refusal says."""

import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.config.override import override
from jaxlin.config.presets import preset
from jaxlin.parallel.census import census
from jaxlin.parallel.program import parse
from jaxlin.parallel.topology import named
from jaxlin.train.ahead import compile_step, hbm_bytes
from jaxlin.train.forecast import forecast
from jaxlin.train.scheduling import needed_bytes
from jaxlin.train.verdict import verdict
from kernels_pallas.static import CompileError
from tests.kernels_pallas.aot import aot

GIB = 2**30


def tiny(*words, batch=8):
    return override(preset("tiny"), ["model.vocab=384", f"batch={batch}", *words])


@pytest.fixture(scope="module")
def found():
    """Four layers on eight chips, the sequence in two slices."""
    where = named("v5e:2x4")
    cfg = tiny("mesh.seq=2", "context=256")
    lines = []
    ahead = compile_step(cfg, where, lines.append)
    one = forecast(ahead, where)
    collectives = census(parse(ahead.schedule), one.mesh)
    return one, cfg, where, lines, collectives


@aot
def test_memory_is_that_of_the_program(found):
    memory = found[0].memory
    assert found[0].fits and memory.hbm == 16 * GIB
    assert memory.arguments > memory.parameters + memory.optimizer
    assert memory.optimizer == pytest.approx(2 * memory.parameters, rel=0.01)
    assert 0 < memory.temporaries < 64 * 2**20 and memory.code is None


@aot
def test_states_travel_as_the_planner_says(found):
    """Between two devices a ring sends one state each way in each of three layers."""
    plan, keys = found[0].exchange
    assert (plan.kind, plan.layers, plan.method) == ("gated_deltanet", 3, "ring")
    assert "2 ranks on v5e" in plan.reason
    sent = [
        one for one in found[4] if one.op.endswith("mixer/shard_map/while/body/eval_jaxpr/ppermute")
    ]
    assert sum(one.total for one in sent) == 3 * plan.bytes
    assert sorted(one.source for one in sent) == [
        "backward blocks_0/layer_0/mixer",
        "forward blocks_0/layer_0/mixer",
    ]
    assert (keys.kind, keys.method) == ("softmax", "all_gather")
    rows = [one for one in found[4] if one.axis == "seq" and "blocks_1" in one.op]
    # Keys may be rounded before they are sent, as the products that read them round them.
    assert 0.5 * keys.bytes < sum(one.total for one in rows) <= keys.bytes


@aot
def test_kernels_and_products_are_counted(found):
    """6 FLOPs a token and weight, and what attention and the delta rule add to that."""
    one = found[0]
    weights = 6 * one.multiplying * one.tokens / one.devices
    assert one.kernel_flops > 0
    assert one.work.flops > 0.9 * weights
    assert one.work.flops > 0.95 * one.ideal_flops


@aot
def test_the_prediction_is_of_the_counts(found):
    p, one = found[0].prediction, found[0]
    assert p.compute == pytest.approx(one.flops / 197e12)
    assert p.memory == pytest.approx(one.work.hbm / 819e9)
    assert 0 < p.mfu < p.hfu < 1


@aot
def test_the_verdict_and_the_progress(found):
    one, cfg, where, lines, _ = found
    text = verdict(one, cfg, where)
    assert text.startswith("Fits: 0.") and "bound by" in text
    assert lines == ["lowering for v5e:2x4: 8 devices ...", "compiling ... (takes about a minute)"]


@aot
def test_batch_and_context_that_do_not_divide():
    with pytest.raises(ConfigError) as error:
        compile_step(tiny("mesh.seq=2", "context=31", batch=6), named("v5e:2x4"))
    said = str(error.value)
    assert "batch: 6 is no multiple of 4" in said and "nearest: 4 or 8" in said
    assert "context: 31 is no multiple of mesh.seq=2" in said


@pytest.mark.parametrize(
    "words, batch, advice",
    [
        (["model.width=8192"], 8, "split them with mesh.fsdp=4"),
        (["model.remat=none"], 8, "model.remat=mixer"),
        (["model.remat=full"], 64, "try accumulate=2"),
        (["model.remat=full"], 8, "Take a larger slice"),
    ],
)
def test_a_program_that_does_not_fit_gets_advice(words, batch, advice):
    cfg, where = tiny(*words, batch=batch), named("v5e:4x4")
    heavy = 8 * GIB if "model.width=8192" in words else 2**20
    one = _refused(cfg, heavy)
    text = verdict(one, cfg, where)
    assert text.startswith(
        "Does not fit: a device would need at least 20.0 GiB of the 16 GiB of a v5e."
    )
    assert advice in text


def _refused(cfg, held):
    from jaxlin.train.forecast import Forecast, Memory

    mesh = {"data": 8, "fsdp": 1, "seq": 1, "tensor": 1}
    memory = Memory(16 * GIB, held, 2 * held, 3 * held, 20 * GIB - 3 * held, None)
    return Forecast("v5e:4x4", 16, mesh, False, memory, 1, 1, 1, [], 0.0, 0.0, 0, 0)


def test_the_compilers_report_of_its_memory_is_read():
    assert hbm_bytes("Memory Space: default (color=0)\nTotal bytes: 82 (82B)\n") == 82
    with pytest.raises(CompileError, match="no total for HBM"):
        hbm_bytes("Memory Space: vmem (color=1)\nTotal bytes: 82 (82B)\n")


def test_the_compilers_refusal_is_read():
    said = (
        "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space "
        "hbm. Used 20.50G of 15.75G hbm. Exceeded hbm capacity by 4.75G."
    )
    assert needed_bytes(said) == int(20.5 * GIB)
    alone = "total memory required for HLO temporaries (80.75G) exceeds available HBM (15.75G)"
    assert needed_bytes(alone) == int(80.75 * GIB)
    assert needed_bytes("INTERNAL: something else") is None
