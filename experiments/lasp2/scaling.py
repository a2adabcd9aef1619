"""Weak scaling of LASP-2 by compiling: `python -m experiments.lasp2.scaling`.

Compiles what is missing in OUT/results.jsonl, a process a point, and writes the tables, the plots
and the page from all of them. Stop it whenever; the same command goes on.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from experiments.lasp2 import results
from experiments.lasp2.card import write
from experiments.lasp2.measure import measure, versions
from experiments.lasp2.points import Point, points
from jaxlin.config.errors import ConfigError
from kernels_pallas.static.compiling import LibtpuMissing, require_libtpu

HERE = Path(__file__).parent
TIMEOUT = 900.0  # seconds that a point may take


def main(words: list[str] | None = None) -> int:
    """The command: 2 where something was wrong with it, 130 where it was stopped."""
    asked = _parser().parse_args(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # no compiler is left behind
    try:
        run(select(asked.points), asked.out)
    except (ConfigError, LibtpuMissing) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.lasp2.scaling", description=__doc__
    )
    parser.add_argument(
        "--points", nargs="*", default=[], metavar="WORD", help="only points whose id has a WORD"
    )
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the results")
    return parser


def select(words: list[str]) -> list[Point]:
    """Points whose id contains one of the words. Raises ConfigError where one fits no point."""
    every = points()
    for word in words:
        if not any(word in point.id for point in every):
            raise ConfigError(
                f"--points: {word!r} is in the id of no point; ids are such as {every[0].id!r} and "
                f"{every[-1].id!r}"
            )
    return [p for p in every if not words or any(word in p.id for word in words)]


def run(chosen: list[Point], out: Path) -> None:
    """Compiles what is not done yet, then writes what is shown; also when it is interrupted."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.jsonl"
    found = results.load(path)
    missing = [p for p in chosen if not results.done(found.get(p.id, {}), p.cycles)]
    if missing:
        require_libtpu()
        results.check_versions(found, versions(), path)
    try:
        _compile(missing, path)
    finally:
        write(out)


def _compile(missing: list[Point], path: Path) -> None:
    start = time.perf_counter()
    for number, point in enumerate(missing, 1):
        record = measure(point, TIMEOUT)
        results.append(path, record)
        passed = (time.perf_counter() - start) / 60
        print(
            f"{number}/{len(missing)}  {passed:.1f} min  {point.id}: {_words(record)}", flush=True
        )


def _words(record: results.Record) -> str:
    if "census" not in record:
        return f"{'refused' if 'refused' in record else 'failed'} in {record['seconds']} s"
    cycles = f", {record['cycles'] / 1e6:.1f} M cycles" if record["cycles"] else ""
    return f"{record['census'] / 2**20:.1f} MiB{cycles} in {record['seconds']} s"


if __name__ == "__main__":
    sys.exit(main())
