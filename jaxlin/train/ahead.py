"""The train step compiled for a slice that is not here: the same function that training runs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxlin.config.run import RunConfig
from jaxlin.data.batch import Batch
from jaxlin.parallel.mesh import check
from jaxlin.parallel.options import compiler_options
from jaxlin.parallel.products import Products, products
from jaxlin.parallel.rules import batch_sharding
from jaxlin.parallel.topology import Slice, mesh_on
from jaxlin.train.plan import Plan, make_plan
from jaxlin.train.step import make_step
from kernels_pallas.static.compiling import unkept

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Ahead:
    """A step that was traced, and compiled if its memory suffices."""

    plan: Plan
    mesh: jax.sharding.Mesh
    products: Products
    compiled: jax.stages.Compiled | None
    needed: int | None  # bytes of HBM, where they are more than there are
    lowering_s: float
    compiling_s: float


def compile_step(
    cfg: RunConfig, where: Slice, say: Callable[[str], None] = lambda line: None
) -> Ahead:
    """Traces, lowers and compiles the step of a config (with model.vocab set); makes no array.

    Raises ConfigError for a mesh, batch or context that does not fit the slice.
    """
    start = time.perf_counter()
    mesh = mesh_on(cfg.mesh, where)
    check(cfg, mesh.shape)
    say(f"lowering for {where.name}: {where.devices} devices ...")
    plan = make_plan(cfg, mesh.shape)
    traced = make_step(plan, mesh).trace(*arguments(plan, mesh))
    counted = products(traced.jaxpr, where.devices)
    lowered = traced.lower(lowering_platforms=("tpu",))
    middle = time.perf_counter()
    say("compiling ... (takes about a minute)")
    compiled, needed = _compile(lowered, compiler_options(where.chip.kind))
    end = time.perf_counter()
    return Ahead(plan, mesh, counted, compiled, needed, middle - start, end - middle)


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


def _compile(
    lowered: jax.stages.Lowered, options: dict[str, str]
) -> tuple[jax.stages.Compiled | None, int | None]:
    with unkept():
        try:
            return lowered.compile(compiler_options=dict(options)), None
        except jax.errors.JaxRuntimeError as error:
            needed = needed_bytes(str(error))
            if needed is None:
                raise
            return None, needed


def needed_bytes(message: str) -> int | None:
    """What a program would need, from the compiler's refusal; None: it refused something else."""
    found = re.search(r"Used ([\d.]+)([KMGT]?) of [\d.]+[KMGT]? hbm", message)
    return int(float(found[1]) * UNITS[found[2]]) if found else None
