"""Finds the best block sizes of the kernels and writes them into the tables of the package.

Without a TPU or GPU here: candidates are compiled for TPUs and ranked by scheduled bundles a token
(forward and backward together), a lower bound of cycles; those that do not fit VMEM drop out. Needs
the package libtpu. With a TPU or GPU as jax's default device: ranked by median time on it.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kernels_pallas import tables
from kernels_pallas.call import Call
from kernels_pallas.chip import Chip, target
from kernels_pallas.dispatch import load
from kernels_pallas.explain import OPS
from kernels_pallas.static import CHIPS, Costs, LibtpuMissing
from kernels_pallas.static.compiling import require_libtpu
from kernels_pallas.tune.trials import Judge, Trial, by_bundles, by_time

EPILOG = """examples:
  python -m kernels_pallas.tune --dry-run
  python -m kernels_pallas.tune --chip v5e v6e --op delta_rule --decay head
  python -m kernels_pallas.tune --size 64x64 128x128 256x256 --dtype bfloat16 float32
  python -m kernels_pallas.tune --tables /tmp/tables        (leaves the package as it is)

exit codes:
  0  every call has its blocks, and they are written
  1  for some call no candidate works; the others are written
  2  bad arguments, nothing to tune, or no compiler for TPUs
"""


class Job(NamedTuple):
    """One call on one chip, and the blocks that may do."""

    chip: Chip
    call: Call
    module: Any
    candidates: Sequence[dict[str, int]]


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        chips, implementation, timed = targets(args.chip)
        jobs, left_out = jobs_of(args, chips, implementation)
    except LibtpuMissing as error:
        print(f"tune: {error}", file=sys.stderr)
        return 2
    if not jobs:
        print("tune: no kernel takes these calls on these chips", *left_out, file=sys.stderr)
        return 2
    announce(args, jobs, left_out, implementation, timed)
    if args.dry_run:
        return 0
    with Costs() as costs:
        judge = by_time() if timed else by_bundles(costs)
        best = [tune(job, judge, implementation, args.tables) for job in jobs]
    print(summary(jobs, best))
    return 1 if any(one is None for one in best) else 0


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m kernels_pallas.tune",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = p.add_argument
    add(
        "--chip",
        nargs="+",
        choices=CHIPS,
        help="TPUs to compile for; default: all, or what is here",
    )
    add("--op", nargs="+", choices=OPS, default=list(OPS))
    add("--decay", nargs="+", choices=("none", "head", "key"), default=["none", "head", "key"])
    add("--size", nargs="+", type=size, default=[(128, 128)], help="k x v of a head, as 64x128")
    add("--channels", nargs="+", type=int, default=[1024], help="of the elementwise recurrence")
    add("--dtype", nargs="+", choices=("bfloat16", "float32"), default=["bfloat16"])
    add("--batch", type=int, default=1)
    add("--length", type=int, default=4096)
    add("--heads", type=int, default=8)
    add("--tables", type=Path, default=tables.FOLDER, help="folder of the tables to write")
    add("--dry-run", action="store_true", help="only say what would be done")
    return p


def size(text: str) -> tuple[int, int]:
    k, _, v = text.partition("x")
    return int(k), int(v)


def targets(names: Sequence[str] | None) -> tuple[list[Chip], str, bool]:
    """The chips, the implementation for them, and whether to measure time on the device here."""
    here = target() if names is None else Chip("cpu", "")
    if here.platform in ("tpu", "gpu"):
        return [here], f"pallas_{here.platform}", True
    require_libtpu()
    return [Chip("tpu", CHIPS[name].kind) for name in names or CHIPS], "pallas_tpu", False


def jobs_of(
    args: argparse.Namespace, chips: Sequence[Chip], implementation: str
) -> tuple[list[Job], list[str]]:
    """What there is to do, and a line for each call that is left out."""
    jobs, left_out = [], []
    for chip, call in itertools.product(chips, calls_of(args)):
        module: Any = load(call.op, implementation)
        if not hasattr(module, "candidates"):
            why = f"{implementation} of {call.op} offers no candidates"
        else:
            why = module.refusal(call, chip)
        if why:
            left_out.append(f"  left out on {chip.kind}: {name_of(call)}: {why}")
        else:
            jobs.append(Job(chip, call, module, module.candidates(call, chip)))
    return jobs, left_out


def calls_of(args: argparse.Namespace) -> Iterator[Call]:
    b, t, h = args.batch, args.length, args.heads
    for op, dtype in itertools.product(args.op, args.dtype):
        if op == "linear_recurrence":
            yield from (Call(op, b, t, 1, d, d, dtype, "key", False) for d in args.channels)
        else:
            for decay, (k, v) in itertools.product(args.decay, args.size):
                yield Call(op, b, t, h, k, v, dtype, decay, False)


def announce(
    args: argparse.Namespace,
    jobs: list[Job],
    left_out: list[str],
    implementation: str,
    timed: bool,
) -> None:
    how = "median time" if timed else "scheduled bundles a token (compiled, not run)"
    print(f"{implementation}: {len(jobs)} calls, {sum(len(j.candidates) for j in jobs)} candidates")
    print(f"ranked by {how}, forward and backward together")
    print(f"b={args.batch} t={args.length} h={args.heads}; best blocks go to:")
    for chip in dict.fromkeys(job.chip for job in jobs):
        print(f"  {tables.path_of(chip, args.tables)}")
    print(*left_out, sep="\n", end="\n" if left_out else "", flush=True)


def tune(job: Job, judge: Judge, implementation: str, folder: Path) -> Trial | None:
    """Tries every candidate and writes the best; None where none works."""
    print(f"\n{job.chip.kind}: {tables.key_of(implementation, job.call)}")
    best = None
    for i, blocks in enumerate(job.candidates, 1):
        trial = judge(job.module, job.call, job.chip, blocks)
        better = trial.score < (best.score if best else math.inf)
        mark = " *" if better else ""
        print(f"  {i}/{len(job.candidates)} {words(blocks)}: {trial.words}{mark}", flush=True)
        best = trial if better else best
    if best is None:
        print("  no candidate works", flush=True)
    else:
        write(job, implementation, best, folder)
    return best


def write(job: Job, implementation: str, best: Trial, folder: Path) -> None:
    """Adds the blocks to the table; whoever reads it sees the old file or the new one, whole."""
    path = tables.path_of(job.chip, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".tune-") as beside:
        if path.exists():
            shutil.copy(path, beside)
        made = tables.write(job.chip, implementation, {job.call: best.blocks}, Path(beside))
        os.replace(made, path)


def name_of(call: Call) -> str:
    return f"{call.op} {call.decay} {call.k}x{call.v} {call.dtype}"


def words(blocks: Mapping[str, int]) -> str:
    return " ".join(f"{name}={n}" for name, n in blocks.items())


def summary(jobs: list[Job], best: list[Trial | None]) -> str:
    lines = ["", "best:"]
    for job, one in zip(jobs, best, strict=True):
        found = f"{words(one.blocks)} ({one.words})" if one else "no candidate works"
        lines.append(f"  {job.chip.kind:12} {name_of(job.call)}: {found}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
