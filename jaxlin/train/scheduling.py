"""The process that compiles: `python -m jaxlin.train.scheduling FOLDER`.

Reads FOLDER/job.json {"config", "topology", "code"}. The compiler writes its schedule into
FOLDER/dump before it generates code, which takes most of its time: whoever waits for the schedule
ends this process then. Otherwise FOLDER/result.json holds what the whole program needs, or why it
was refused; FOLDER/traced.json the products of the step, from when it was lowered.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxlin.config.load import from_json
from jaxlin.data.batch import Batch
from jaxlin.parallel.options import compiler_options
from jaxlin.parallel.products import products
from jaxlin.parallel.rules import batch_sharding
from jaxlin.parallel.topology import mesh_on, named
from jaxlin.train.plan import Plan, make_plan
from jaxlin.train.step import make_step
from kernels_pallas.static.compiling import unkept

JOB, TRACED, RESULT, DUMP = "job.json", "traced.json", "result.json", "dump"
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def main() -> None:
    folder = Path(sys.argv[1])
    job = json.loads((folder / JOB).read_text())
    put(folder / RESULT, compile_job(folder, job))


def compile_job(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Traces, lowers and compiles; what came of it."""
    cfg, where = from_json(job["config"], JOB), named(job["topology"])
    mesh = mesh_on(cfg.mesh, where)
    plan = make_plan(cfg, mesh.shape)
    traced = make_step(plan, mesh).trace(*arguments(plan, mesh))
    lowered = traced.lower(lowering_platforms=("tpu",))
    put(folder / TRACED, products(traced.jaxpr, where.devices)._asdict())
    options: dict[str, Any] = dict(compiler_options(where.chip.kind))
    options |= {"xla_dump_to": str(folder / DUMP), "xla_dump_hlo_as_text": True}
    with unkept():
        try:
            stats: Any = lowered.compile(compiler_options=options).memory_analysis()
            return {"code": stats.generated_code_size_in_bytes}
        except jax.errors.JaxRuntimeError as error:
            return {"needed": needed_bytes(str(error)), "error": str(error)}


def put(path: Path, value: dict[str, Any]) -> None:
    """Appears whole."""
    path.with_suffix(".tmp").write_text(json.dumps(value))
    path.with_suffix(".tmp").rename(path)


def arguments(plan: Plan, mesh: jax.sharding.Mesh) -> tuple[Any, Batch]:
    """State and batch of a step as shapes with their places."""
    state = jax.tree.map(
        lambda leaf, to: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=to),
        plan.shapes,
        plan.shardings(mesh),
    )
    shape, to = (plan.cfg.batch, plan.cfg.context), batch_sharding(mesh)
    dtypes = {name: jnp.float32 if name == "weights" else jnp.int32 for name in Batch._fields}
    fields: Any = {n: jax.ShapeDtypeStruct(shape, d, sharding=to) for n, d in dtypes.items()}
    return state, Batch(**fields)


def needed_bytes(message: str) -> int | None:
    """What a program would need at least, from the compiler's refusal; None: it refused something
    else. It names the whole, or the temporaries alone where they are too much already."""
    for text in (r"Used SIZE of \S+ hbm", r"HLO temporaries \(SIZE\) exceeds available HBM"):
        found = re.search(text.replace("SIZE", r"([\d.]+)([KMGT]?)"), message)
        if found:
            return int(float(found[1]) * UNITS[found[2]])
    return None


if __name__ == "__main__":
    main()
