"""What a compiled step says about a run on a slice: memory, work, collectives, time, a verdict."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxlin.parallel import table
from jaxlin.parallel.census import Row, census, summed
from jaxlin.parallel.paths import flatten
from jaxlin.parallel.planner import Planned, plan_exchange
from jaxlin.parallel.predict import Prediction, predict
from jaxlin.parallel.program import parse
from jaxlin.parallel.topology import Slice, spans
from jaxlin.parallel.work import Work, work
from jaxlin.train.ahead import Ahead


class Memory(NamedTuple):
    """Bytes of one device. None where the program was refused for want of memory."""

    hbm: int  # of the chip
    parameters: int
    optimizer: int
    peak: int  # arguments + outputs - reused arguments + temporaries + code
    arguments: int | None = None
    outputs: int | None = None
    reused: int | None = None
    temporaries: int | None = None
    code: int | None = None


class Forecast(NamedTuple):
    """Figures of one device and step, unless said."""

    topology: str
    devices: int
    mesh: dict[str, int]
    fits: bool
    memory: Memory
    parameters: int  # of the whole model
    multiplying: int  # of them those that activations are multiplied by
    tokens: int  # a step, all devices
    exchange: list[Planned]
    lowering_s: float
    compiling_s: float
    kernel_flops: int
    ideal_flops: int  # products outside of kernels, had every device its even share
    work: Work | None = None
    rows: list[Row] | None = None
    prediction: Prediction | None = None

    @property
    def flops(self) -> int | None:
        return None if self.work is None else self.work.flops + self.kernel_flops


def forecast(ahead: Ahead, where: Slice) -> Forecast:
    """Everything that the report shows."""
    plan, mesh = ahead.plan, dict(ahead.mesh.shape)
    multiplying = sum(row.count for row in plan.rows if multiplies(row))
    found = Forecast(
        topology=where.name,
        devices=where.devices,
        mesh=mesh,
        fits=ahead.compiled is not None,
        memory=_memory(ahead, where, mesh),
        parameters=sum(row.count for row in plan.rows),
        multiplying=multiplying,
        tokens=plan.cfg.batch * plan.cfg.context,
        exchange=plan_exchange(plan.cfg, mesh, where.chip.kind),
        lowering_s=ahead.lowering_s,
        compiling_s=ahead.compiling_s,
        kernel_flops=ahead.products.kernels,
        ideal_flops=ahead.products.plain // where.devices,
    )
    if ahead.compiled is None:
        return found
    program = parse(ahead.compiled.as_text() or "")
    done, collectives = work(program), census(program, mesh)
    useful = 6 * multiplying * found.tokens / where.devices
    prediction = predict(
        done.flops + found.kernel_flops,
        done.hbm,
        collectives,
        useful,
        where.chip,
        spans(ahead.mesh, where),
    )
    return found._replace(work=done, rows=summed(collectives), prediction=prediction)


def multiplies(row: table.Row) -> bool:
    """Whether activations are multiplied by the parameter: a matrix that is not looked up."""
    axes = [axis for axis in row.axes if axis not in ("layers", "conv")]
    return len(axes) >= 2 and not row.path.startswith("embed/")


def _memory(ahead: Ahead, where: Slice, mesh: dict[str, int]) -> Memory:
    held = {}
    for name in ("params", "opt_state"):
        leaves, specs = (flatten(getattr(t, name)) for t in (ahead.plan.shapes, ahead.plan.specs))
        held[name] = table.bytes_per_device(leaves, specs, mesh)
    start = Memory(where.chip.hbm, held["params"], held["opt_state"], ahead.needed or 0)
    stats: Any = None if ahead.compiled is None else ahead.compiled.memory_analysis()
    if stats is None:
        return start
    arguments, outputs = stats.argument_size_in_bytes, stats.output_size_in_bytes
    reused, temporaries = stats.alias_size_in_bytes, stats.temp_size_in_bytes
    code = stats.generated_code_size_in_bytes
    return start._replace(
        peak=arguments + outputs - reused + temporaries + code,
        arguments=arguments,
        outputs=outputs,
        reused=reused,
        temporaries=temporaries,
        code=code,
    )
