"""`jaxlin params`: every parameter of a model, how it is split and who trains it."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from jaxlin.cli import _family, common

if TYPE_CHECKING:
    from jaxlin.config.run import RunConfig

HELP = "print parameters, FLOPs and state sizes, of several presets beside each other; no array"
EXAMPLE = "jaxlin params --match parameters --knob ffn.hidden gla_340m hgrn_340m retnet_340m"


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    common.add(parser)
    parser.add_argument("--mesh", metavar="AXIS=N,...", help="mesh to split over, of any size")
    parser.add_argument(
        "--context", metavar="N", type=int, help="length whose cache is sized (the config's)"
    )
    _family.add(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the table."""
    import os

    from jaxlin.config.errors import ConfigError
    from jaxlin.config.override import override

    if args.context is not None and args.context < 1:
        raise ConfigError(f"--context: a length is at least 1, found {args.context}")
    os.environ["JAX_PLATFORMS"] = "cpu"  # counting needs no chip, which a training may hold
    if _family.asked(args):
        return _family.run(args)
    cfg = common.resolve(args)
    if args.mesh:
        cfg = override(cfg, [f"mesh.{word}" for word in args.mesh.split(",")])
    report = describe(cfg, args.context or cfg.context)
    if args.json:
        import json

        print(json.dumps(report, indent=2, default=dataclasses.asdict))
    else:
        print(render(report))
    return 0


def describe(cfg: RunConfig, context: int) -> dict[str, Any]:
    """Rows, totals and bytes."""
    import jax

    from jaxlin.analysis.accounting import accounting
    from jaxlin.models.lm import init_cache
    from jaxlin.parallel import table
    from jaxlin.parallel.mesh import check
    from jaxlin.parallel.paths import flatten
    from jaxlin.train.plan import make_plan

    cfg = dataclasses.replace(cfg, model=dataclasses.replace(cfg.model, vocab=common.vocab(cfg)))
    mesh = _sizes(cfg)
    check(cfg, mesh)
    plan = make_plan(cfg, mesh)
    cache = jax.eval_shape(lambda: init_cache(cfg.model, 1, context))
    leaves, specs = flatten(plan.shapes), flatten(plan.specs)
    return {
        "rows": plan.rows,
        **table.totals(plan.rows),
        "mesh": mesh,
        "training_state_bytes_per_device": table.bytes_per_device(leaves, specs, mesh),
        "context": context,
        "state_bytes_per_sequence": table.nbytes(jax.tree.leaves(cache)),
        "accounting": accounting(cfg, context),
    }


def render(report: dict[str, Any]) -> str:
    """The report as text."""
    from jaxlin.parallel import table

    mesh = ", ".join(f"{axis} {size}" for axis, size in report["mesh"].items() if size > 1)
    held = report["training_state_bytes_per_device"]
    state = report["state_bytes_per_sequence"]
    return "\n".join(
        [
            table.render(report["rows"]),
            "",
            f"parameters      {report['parameters']:,} ({report['bytes']:,} bytes)",
            f"trained         {report['trained']:,}",
            f"training state  {held:,} bytes a device on {mesh or 'one device'}",
            f"cache           {state:,} bytes a sequence at context {report['context']:,}",
            "",
            _family.render([("", report["accounting"])]),
        ]
    )


def _sizes(cfg: RunConfig) -> dict[str, int]:
    """The mesh of the config on as many devices as it names."""
    import math

    from jaxlin.parallel.mesh import sizes

    named = dataclasses.asdict(cfg.mesh)
    return sizes(
        cfg.mesh, math.prod(max(1, named[axis]) for axis in ("data", "fsdp", "seq", "tensor"))
    )
