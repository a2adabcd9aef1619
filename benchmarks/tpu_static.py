"""What the TPU kernels cost, counted in their compiled programs; no TPU is needed.

    pip install libtpu
    python benchmarks/tpu_static.py
    python benchmarks/tpu_static.py --chip v5e --op delta_rule --decay head
    python benchmarks/tpu_static.py --write docs/tpu_static.md

A kernel's program is a sequence of bundles, each of a cycle at least: bundles a token-head are a
lower bound of its cycles. --write keeps the table, and the figures as JSON beside it; rows of the
same versions that were not counted anew stay.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import math
import os
import shlex
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402

from kernels_pallas.call import Call  # noqa: E402
from kernels_pallas.chip import Chip  # noqa: E402
from kernels_pallas.dispatch import load  # noqa: E402
from kernels_pallas.static import CHIPS, CompileError, Costs, KernelCost  # noqa: E402
from kernels_pallas.tune.programs import inputs_of, run_blocks, with_gradients  # noqa: E402
from kernels_pallas.tune.trials import bundles_per_token, tokens_per_step  # noqa: E402

OPS = {
    "linear_attention": ("none", "head", "key"),
    "delta_rule": ("none", "head", "key"),
    "linear_recurrence": ("key",),
}
B, T, H, CHANNELS = 1, 4096, 8, 1024
IDENTITY = ("chip", "op", "decay", "width", "pass")

Row = dict[str, Any]


def main() -> None:
    args = parser().parse_args()
    print(f"$ {shlex.join(['python', *sys.argv])}\n# {versions()}; {sizes()}", flush=True)
    with Costs(timeout=1800) as costs:
        for chip, call in cases(args):
            begin = time.perf_counter()
            try:
                found = count(costs, chip, call)
            except (CompileError, ValueError, NotImplementedError) as error:
                print(f"{chip} {call.op} {call.decay} {call.k}: {error}", flush=True)
                continue
            print("\n".join(line(row) for row in found), end="")
            print(f"   ({time.perf_counter() - begin:.0f} s)", flush=True)
            if args.write:
                write(args.write, found)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--chip", nargs="+", choices=CHIPS, default=list(CHIPS))
    p.add_argument("--op", nargs="+", choices=OPS, default=list(OPS))
    p.add_argument("--decay", nargs="+", choices=("none", "head", "key"))
    p.add_argument("--all", action="store_true", help="k = v = 64 and 256 too, not 128 alone")
    p.add_argument("--write", type=Path, metavar="FILE.md", help="keep the table here")
    return p


def cases(args: argparse.Namespace) -> Iterator[tuple[str, Call]]:
    widths = (128, 64, 256) if args.all else (128,)
    for width, chip, op in itertools.product(widths, args.chip, args.op):
        for decay in OPS[op]:
            if args.decay and decay not in args.decay:
                continue
            if op == "linear_recurrence" and width != widths[0]:
                continue
            call = Call(op, B, T, H, width, width, "bfloat16", decay, False)
            if op == "linear_recurrence":
                call = call._replace(h=1, k=CHANNELS, v=CHANNELS)
            if load(op, "pallas_tpu") is not None:
                yield chip, call


def count(costs: Costs, chip: str, call: Call) -> list[Row]:
    """A row for the forward kernel and one for the backward kernel."""
    device = Chip("tpu", CHIPS[chip].kind)
    run = run_blocks(load(call.op, "pallas_tpu"), call, device)
    return rows_of(chip, call, costs(*with_gradients(run, inputs_of(call, device)), chip))


def rows_of(chip: str, call: Call, kernels: list[KernelCost]) -> list[Row]:
    forward = kernels[0]
    return [row(chip, call, cost, None if cost is forward else forward) for cost in kernels]


def row(chip: str, call: Call, cost: KernelCost, forward: KernelCost | None) -> Row:
    """forward: the kernel whose gradient this one computes."""
    token_heads = call.b * call.t * call.h * (call.k // 128 if call.h == 1 else 1)
    return {
        "chip": chip,
        "op": call.op,
        "decay": call.decay,
        "width": call.k,
        "pass": "forward" if forward is None else "backward",
        "kernel": cost.name,
        "step": [int(n) for n in largest_block(cost)],
        "bundles": cost.bundles,
        "bundles_per_token": round(per_token(cost, call), 2),
        "times_forward": round(cost.bundles / steps(cost, forward), 2) if forward else None,
        "use": {name: round(share, 3) for name, share in cost.use.items()},
        "spills": cost.spills,
        "vmem": cost.vmem,
        "hbm_per_token": round(cost.hbm / token_heads, 1),
        "hbm_over_least": round(cost.hbm / cost.hbm_least, 2),
        "code": cost.code,
    }


def per_token(cost: KernelCost, call: Call) -> float:
    """Bundles a token and head; of the elementwise recurrence, a token and 128 channels."""
    return bundles_per_token(cost) / (call.k / 128 if call.h == 1 else 1)


def steps(cost: KernelCost, forward: KernelCost) -> float:
    """Bundles of the forward kernel for as many tokens as a step of `cost` has."""
    return forward.bundles * tokens_per_step(cost) / tokens_per_step(forward)


def largest_block(cost: KernelCost) -> tuple[int, ...]:
    return max(cost.blocks, key=lambda block: math.prod(block.array)).shape


COLUMNS = ("chip", "op", "decay", "width", "pass", "step", "bundles a token", "x fwd", "MXU")
COLUMNS += ("VALU", "XLU", "EUP", "load", "store", "spills", "VMEM KiB", "HBM B", "x least", "code")


def cells(row: Row) -> list[str]:
    percent = [f"{100 * share:.0f}" for share in row["use"].values()]
    ratio = "" if row["times_forward"] is None else f"{row['times_forward']:.2f}"
    return [
        *(str(row[name]) for name in IDENTITY),
        "x".join(str(n) for n in row["step"] if n > 1),
        f"{row['bundles_per_token']:.2f}",
        ratio,
        *percent,
        str(row["spills"]),
        str(row["vmem"] >> 10),
        f"{row['hbm_per_token']:.0f}",
        f"{row['hbm_over_least']:.2f}",
        f"{row['code'] >> 10}",
    ]


def line(row: Row) -> str:
    named = zip(COLUMNS[5:], cells(row)[5:], strict=True)
    figures = ", ".join(f"{name} {cell}" for name, cell in named if cell)
    return f"{' '.join(cells(row)[:5])}: {figures}"


def versions() -> str:
    try:
        libtpu = importlib.metadata.version("libtpu")
    except importlib.metadata.PackageNotFoundError:
        libtpu = f"at {os.environ.get('TPU_LIBRARY_PATH')}"
    return f"jax {jax.__version__}, libtpu {libtpu}"


def sizes() -> str:
    return f"b={B} t={T} h={H} bfloat16; elementwise recurrence: {CHANNELS} channels"


def write(file: Path, rows: list[Row]) -> None:
    data = file.with_suffix(".json")
    kept = json.loads(data.read_text()) if data.exists() else {"versions": versions(), "rows": []}
    old = kept["rows"] if kept["versions"] == versions() else []
    merged = {identity(row): row for row in (*old, *rows)}
    ordered = sorted(merged.values(), key=order)
    lines = ",\n".join(json.dumps(row) for row in ordered)
    data.write_text(f'{{"versions": {json.dumps(versions())}, "rows": [\n{lines}\n]}}\n')
    file.write_text(page(ordered))


def identity(row: Row) -> tuple:
    return tuple(row[name] for name in IDENTITY)


def order(row: Row) -> tuple:
    chip, op, decay, width, direction = identity(row)
    return (
        list(CHIPS).index(chip),
        width,
        list(OPS).index(op),
        OPS[op].index(decay),
        -ord(direction[0]),
    )


def page(rows: Iterable[Row]) -> str:
    """The kept table."""
    parts = [HEAD.format(versions=versions(), sizes=sizes())]
    for chip, group in itertools.groupby(rows, key=lambda row: row["chip"]):
        parts.append(f"## {chip} ({CHIPS[chip].kind})\n\n{table(list(group))}\n")
    return "\n".join(parts)


def table(rows: list[Row]) -> str:
    head = [f"| {' | '.join(COLUMNS[1:])} |", "|" + "---|" * (len(COLUMNS) - 1)]
    return "\n".join(head + [f"| {' | '.join(cells(row)[1:])} |" for row in rows])


HEAD = """# TPU kernels, counted without a TPU

    pip install libtpu
    python benchmarks/tpu_static.py --write docs/tpu_static.md

{versions}; {sizes}; blocks as the kernels choose them.

The kernels are compiled ahead of time for one core of each chip, and the instruction bundles of
their programs are counted. A bundle takes a cycle at least, so that bundles a token (and head; of
the elementwise recurrence, and 128 channels) are a lower bound of cycles: waits for memory and
stalls are not in it. A backward kernel visits each chunk twice; both visits are counted.

- step: the block of one grid step, such as heads x tokens x width.
- x fwd: bundles a token over those of the forward kernel.
- MXU (matrix products), VALU, XLU (across lanes), EUP (exp), load, store: % of slots taken.
- spills: registers put aside to vector memory, in the program.
- VMEM: blocks with their double buffers, scratch, spills.
- HBM B: bytes to and from memory, a token and head; x least: over every operand and result once.
- code: KiB of the program.
"""


if __name__ == "__main__":
    main()
