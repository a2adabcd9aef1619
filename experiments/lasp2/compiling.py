"""The process that compiles one point: `python -m experiments.lasp2.compiling FOLDER`.

Reads FOLDER/job.json, a point. FOLDER/lowered.json tells the torus and the bytes of inputs and
outputs; FOLDER/dump gets the schedule and the memory report within seconds, and the same program
with the compiler's estimates of cycles when its code is there; FOLDER/result.json is {} then, or
tells why it was refused.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jax

from experiments.lasp2.layer import SEQ, held, lower
from experiments.lasp2.points import Point
from jaxlin.config.run import Mesh
from jaxlin.parallel.options import compiler_options
from jaxlin.parallel.topology import mesh_on, named, spans
from jaxlin.train.scheduling import needed_bytes, put
from kernels_pallas.static.compiling import unkept

JOB, LOWERED, RESULT, DUMP = "job.json", "lowered.json", "result.json", "dump"


def main() -> None:
    folder = Path(sys.argv[1])
    put(folder / RESULT, compile_point(folder, point_of(json.loads((folder / JOB).read_text()))))


def point_of(fields: dict[str, Any]) -> Point:
    """A point from JSON."""
    point = Point(**fields)
    return point._replace(factors=tuple(point.factors) if point.factors else None)


def compile_point(folder: Path, point: Point) -> dict[str, Any]:
    """Lowers and compiles; why it was refused, if it was."""
    where = named(point.topology)
    mesh = mesh_on(Mesh(data=1, seq=where.devices), where)
    torus = spans(mesh, where)[SEQ].torus
    try:
        lowered = lower(point, mesh, torus)
    except ValueError as error:  # the op refuses so many devices
        return {"refused": str(error), "needed": None}
    told = {"torus": torus, "ranks": where.devices, "held": held(lowered, where.devices)}
    put(folder / LOWERED, told | {"hbm": where.chip.hbm, "mesh": dict(mesh.shape)})
    options: dict[str, Any] = dict(compiler_options(where.chip.kind))
    options |= {"xla_dump_to": str(folder / DUMP), "xla_dump_hlo_as_text": True}
    with unkept():
        try:
            lowered.compile(compiler_options=options)
            return {}
        except jax.errors.JaxRuntimeError as error:
            needed = needed_bytes(str(error))
            return {"refused": " ".join(str(error).split())[:400], "needed": needed}


if __name__ == "__main__":
    main()
