"""`jaxlin compile --points FILE`: the steps of a whole sweep, compiled one after the other.

`python -m jaxlin.cli._compile_points TOPOLOGY` does the same with [[name, config], ...] from
standard input, in a process of its own: what it sets for the compiler is not for training.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxlin.config.points import Resolved
    from jaxlin.config.run import RunConfig

GIB = 2**30
Row = dict[str, Any]


def points(
    file: Path, words: Sequence[str], only: Sequence[str] = ()
) -> list[tuple[str, RunConfig]]:
    """Names and configs of a sweep file's points (`only` some), of those that differ in their seed
    the first."""
    from jaxlin.config.points import resolve, with_overrides
    from jaxlin.config.sweepfile import load
    from jaxlin.study.sweep.plan import select

    return unlike(select(resolve(with_overrides(load(file), words)), only))


def unlike(found: Sequence[Resolved]) -> list[tuple[str, RunConfig]]:
    """Points that differ in their seed alone have one program."""
    first: dict[str, Resolved] = {}
    for one in found:
        first.setdefault(one.group, one)
    return [(one.point.name, one.cfg) for one in first.values()]


def apart(found: Sequence[Resolved], topology: str) -> bool:
    """Compiles in another process; whether every point compiles and fits."""
    from jaxlin.config.load import to_json

    asked = [[name, to_json(cfg)] for name, cfg in unlike(found)]
    done = subprocess.run(
        [sys.executable, "-m", "jaxlin.cli._compile_points", topology],
        input=json.dumps(asked),
        text=True,
        stdout=sys.stderr.fileno(),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return done.returncode == 0


def run(
    asked: Sequence[tuple[str, RunConfig]], topology: str, file: Path | None, code: bool = False
) -> int:
    """Compiles each in turn and prints a table; the exit code. `file`: rewritten after each."""
    from jaxlin.cli import compile as one
    from jaxlin.config.errors import CompilerError
    from jaxlin.parallel.topology import named

    one.prepare()
    where, rows = named(topology), []
    for number, (name, cfg) in enumerate(asked, 1):
        one.say(f"[{number}/{len(asked)}] {name}")
        rows.append(_row(name, cfg, where, code))
        if file is not None:
            one.write(file, {"topology": where.name, "points": rows})
    _show(where.name, rows)
    return 0 if all(row["status"] == "fits" for row in rows) else CompilerError.exit_code


def _row(name: str, cfg: RunConfig, where: Any, code: bool) -> Row:
    from jaxlin.cli import common
    from jaxlin.cli import compile as one
    from jaxlin.config.errors import JaxlinError
    from jaxlin.train.verdict import verdict

    try:
        vocab = common.vocab(cfg)
        cfg = dataclasses.replace(cfg, model=dataclasses.replace(cfg.model, vocab=vocab))
        found = one.forecast_of(cfg, where, code)
    except JaxlinError as error:
        return {"name": name, "status": "refused", "reason": str(error)}
    status = "fits" if found.fits else "does not fit"
    return {"name": name, "status": status, "reason": verdict(found, cfg, where)} | {
        "forecast": one.as_json(found)
    }


def _show(topology: str, rows: Sequence[Row]) -> None:
    from jaxlin.cli._tables import show

    header = ["point", "verdict", "GiB a device", "ms a step", "MFU %", "seconds to compile"]
    show(f"{topology}, {len(rows)} programs", header, [_cells(row) for row in rows])
    for row in rows:
        if row["status"] != "fits":
            print(f"{row['name']}: {row['reason']}\n")


def _cells(row: Row) -> list[str]:
    found = row.get("forecast")
    if found is None:
        return [row["name"], row["status"], "", "", "", ""]
    p = found["prediction"]
    return [
        row["name"],
        row["status"],
        f"{found['memory']['peak'] / GIB:.2f}",
        f"{1000 * p['step']:.1f}" if p else "",
        f"{100 * p['mfu']:.0f}" if p else "",
        f"{found['lowering_s'] + found['compiling_s']:.0f}",
    ]


def main() -> int:
    """From standard input."""
    from jaxlin.config.load import from_json

    asked = [(name, from_json(text, name)) for name, text in json.load(sys.stdin)]
    return run(asked, sys.argv[1], None)


if __name__ == "__main__":
    sys.exit(main())
