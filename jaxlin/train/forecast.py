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
    """Bytes of one device."""

    hbm: int  # of the chip
    parameters: int
    optimizer: int
    arguments: int  # parameters, optimizer state, averages, guard and batch
    temporaries: int  # what else the step needs, outputs that reuse no argument among it
    code: int | None  # None: not generated

    @property
    def peak(self) -> int:
        return self.arguments + self.temporaries + (self.code or 0)


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
        fits=ahead.schedule is not None,
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
    if ahead.schedule is None:
        return found
    program = parse(ahead.schedule)
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
    plan = ahead.plan

    def held(state: Any, specs: Any) -> int:
        return table.bytes_per_device(flatten(state), flatten(specs), mesh)

    # Five arrays of 4 bytes a token.
    batch = 5 * 4 * plan.cfg.batch * plan.cfg.context
    batch //= mesh["data"] * mesh["fsdp"] * mesh["seq"]
    arguments = held(plan.shapes, plan.specs) + batch
    return Memory(
        hbm=where.chip.hbm,
        parameters=held(plan.shapes.params, plan.specs.params),
        optimizer=held(plan.shapes.opt_state, plan.specs.opt_state),
        arguments=arguments,
        temporaries=max(0, ahead.memory - arguments),
        code=ahead.code,
    )
