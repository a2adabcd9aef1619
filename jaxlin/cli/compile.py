"""`jaxlin compile`: the train step compiled for a TPU slice that is not here, and what it says."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxlin.cli import common

if TYPE_CHECKING:
    from jaxlin.config.run import RunConfig
    from jaxlin.parallel.topology import Slice
    from jaxlin.train.forecast import Forecast

HELP = "compile the train step for a TPU slice, without one: memory, collectives, predicted time"
EXAMPLE = """jaxlin compile hybrid_1b3 --topology v5p:8x8x8 mesh.fsdp=8
  jaxlin compile --points experiments/NAME/points.py --topology v5e:4x4 --json forecast.json"""
QUIET = {
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_STDERR_LOG_LEVEL": "3",
}
MIB = 2**20
SHOWN = 16  # rows of collectives on a terminal; the file has all


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    common.add(parser)
    parser.add_argument(
        "--points", type=Path, metavar="FILE", help="a sweep file in place of a preset: every point"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="of --points these only: 'gla-*', or a label, scale=340M (may be repeated)",
    )
    parser.add_argument(
        "--topology", required=True, metavar="NAME", help="a slice, such as v5e:16x16 or v5p:8x8x8"
    )
    parser.add_argument(
        "--code", action="store_true", help="also generate code, for its size: takes minutes"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything there")


def run(args: argparse.Namespace) -> int:
    """Compiles and prints the report."""
    from jaxlin.config.errors import CompilerError, ConfigError

    if args.json is not None:
        refuse_no_file(args.json)
    if args.points is not None:
        return _points(args)
    if args.only:
        raise ConfigError("--only: goes with --points, of whose file it chooses points")
    import dataclasses

    cfg = common.resolve(args)
    prepare()
    from jaxlin.parallel.topology import named
    from jaxlin.train.verdict import verdict

    where = named(args.topology)
    cfg = dataclasses.replace(cfg, model=dataclasses.replace(cfg.model, vocab=common.vocab(cfg)))
    found = forecast_of(cfg, where, args.code)
    text = verdict(found, cfg, where)
    if args.json:
        write(args.json, as_json(found) | {"config": cfg.name, "verdict": text})
    show(found)
    print(text)
    return 0 if found.fits else CompilerError.exit_code


def _points(args: argparse.Namespace) -> int:
    from jaxlin.cli import _compile_points
    from jaxlin.config.errors import ConfigError

    presets = [word for word in args.words if "=" not in word]
    if presets or args.config is not None:
        given = presets[0] if presets else f"--config {args.config}"
        raise ConfigError(f"--points: the file's points have presets of their own; found {given}")
    asked = _compile_points.points(args.points, args.words, args.only)
    return _compile_points.run(asked, args.topology, args.json, args.code)


def forecast_of(cfg: RunConfig, where: Slice, code: bool) -> Forecast:
    """The forecast of a config with model.vocab set. Raises CompilerError where the compiler
    refuses the step for another reason than memory."""
    from jaxlin.config.errors import CompilerError
    from jaxlin.train.ahead import compile_step
    from jaxlin.train.forecast import forecast
    from kernels_pallas.static import CompileError

    try:
        return forecast(compile_step(cfg, where, say, code=code), where)
    except CompileError as error:
        raise CompilerError(
            f"{where.name}: the compiler refused the step of {cfg.name}: {error}"
        ) from error


def prepare() -> None:
    """Before the compiler's library is loaded: it would look for a TPU, and say at length that
    there is none."""
    import os

    os.environ["JAX_PLATFORMS"] = "cpu"
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from kernels_pallas.static import ENVIRONMENT

    os.environ.update(ENVIRONMENT)


def say(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)


def as_json(found: Forecast) -> dict[str, Any]:
    """The forecast as JSON can hold it."""
    report = found._asdict() | {
        "memory": found.memory._asdict() | {"peak": found.memory.peak},
        "flops": found.flops,
    }
    report["exchange"] = [plan._asdict() for plan in found.exchange]
    report["work"] = found.work and found.work._asdict()
    report["collectives"] = [row._asdict() for row in report.pop("rows") or []]
    p = found.prediction
    report["prediction"] = p and p._asdict() | {"step": p.step, "busy": p.busy, "bound": p.bound}
    return report


def refuse_no_file(path: Path) -> None:
    """Raises ConfigError for a file of --json that could not be written after the work."""
    import os

    from jaxlin.config.errors import ConfigError

    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        reason = "is a folder" if path.is_dir() else "its folder is missing or cannot be written to"
        raise ConfigError(f"--json: {path} cannot be written ({reason}); nothing was compiled")


def write(path: Path, report: dict[str, Any]) -> None:
    """Writes the file of --json. Raises ConfigError."""
    import json

    from jaxlin.config.errors import ConfigError

    try:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--json: {path} cannot be written ({error.strerror})") from error


def show(found: Forecast) -> None:
    """Prints the tables."""
    from jaxlin.cli._tables import show as table

    mesh = ", ".join(f"{axis} {size}" for axis, size in found.mesh.items() if size > 1)
    table(
        f"{found.topology}, {found.devices} devices ({mesh or 'no axis is split'}); lowered in "
        f"{found.lowering_s:.0f} s, compiled in {found.compiling_s:.0f} s",
        ["a device", ""],
        [*_memory(found), *_work(found)],
    )
    table(
        "exchange along the sequence",
        ["layers", "method", "MiB a layer"],
        [
            [f"{plan.layers} {plan.kind}", plan.method, f"{plan.bytes / MIB:,.1f}"]
            for plan in found.exchange
        ],
    )
    for plan in found.exchange:
        print(f"{plan.kind}: {plan.reason}")
    print()
    if found.rows is not None:
        _collectives(found, table)


def _collectives(found: Forecast, table: Any) -> None:
    rows = found.rows or []
    lines = [
        [
            row.source,
            row.kind,
            row.axis,
            str(row.count),
            f"{row.bytes / MIB:,.2f}",
            "yes" if row.in_flight else "no",
        ]
        for row in rows[:SHOWN]
    ]
    if len(rows) > SHOWN:
        rest = rows[SHOWN:]
        received = f"{sum(row.bytes for row in rest) / MIB:,.2f}"
        lines.append(
            [f"{len(rest)} more rows", "", "", str(sum(r.count for r in rest)), received, ""]
        )
    header = ["collectives of a step", "kind", "axis", "count", "MiB received", "in flight"]
    table("", header, lines)


def _memory(found: Forecast) -> list[list[str]]:
    m = found.memory
    named = {
        "parameters": m.parameters,
        "optimizer state": m.optimizer,
        "arguments": m.arguments,
        "temporaries": m.temporaries,
        "generated code": m.code,
        "peak": m.peak,
        "HBM of the chip": m.hbm,
    }
    return [[name, f"{size / MIB:,.1f} MiB"] for name, size in named.items() if size is not None]


def _work(found: Forecast) -> list[list[str]]:
    p, done = found.prediction, found.work
    if p is None or done is None:
        return []
    return [
        ["FLOPs", f"{(found.flops or 0) / 1e12:,.2f} T"],
        ["of these in kernels", f"{found.kernel_flops / 1e12:,.2f} T"],
        ["to and from HBM", f"{done.hbm / 1e9:,.2f} GB"],
        ["step, at least", f"{p.step * 1e3:,.1f} ms"],
        ["MFU, at most", f"{100 * p.mfu:.1f} % (with recomputation {100 * p.hfu:.1f} %)"],
    ]
