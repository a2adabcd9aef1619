"""Our kernels on one GPU against named peers, in one run of at most --budget seconds.

    python benchmarks/gpu.py --out gpu.json
    python benchmarks/gpu.py --dry-run                 (tiny shapes on a CPU, whatever imports)

Peers: flash-linear-attention's Triton kernels, cuDNN attention through JAX, flash attention through
torch. To make the environment of all of them:

    python -m venv .venv-bench && .venv-bench/bin/python -m pip install -e '.[cuda]' torch \\
        flash-linear-attention 'fla-core[cuda]'

Every peer is a process of its own: one that fails loses its rows, and the table says why. Each op
of each peer is first checked at a small shape against the token scan in float64. The rows are
flash-linear-attention's published grid, then lengths from 1k to 1M at a fixed number of tokens, the
most important first. For a row all peers compile and warm up at the same time, then are timed one
after the other: the median of bundles of queued calls. Results are written after each row.

TFLOP/s count the operations of the token recurrence (of causal attention for softmax), GB/s the
inputs and outputs moved once; "roof" is the least time that either needs by the measured time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import roofline
from cases import OPS, Shape
from workers import Lost, Worker

LINEAR = ("gated_delta", "gla", "retention", "delta", "simple_gla", "kda")
PEERS = {"pallas_gpu": LINEAR, "xla": LINEAR, "fla": LINEAR}
PEERS |= {"cudnn": ("softmax",), "torch flash": ("softmax",)}
FIRST = "fla"  # what ours are set against
# Relative errors (root mean squares) that the checks allow.
BOUNDS = {"bfloat16": 2e-2, "float32": 2e-3}
GRID = [  # b, t, h, k, v as published by flash-linear-attention
    Shape(4, 4096, 64, 128, 128),
    Shape(1, 8192, 96, 128, 128),
    Shape(2, 16384, 16, 128, 128),
    Shape(4, 2048, 16, 128, 128),
    Shape(8, 1024, 8, 64, 64),
    Shape(8, 2048, 32, 256, 256),
]
WIDTHS = (12, 26, 12, 9, 9, 8, 8, 7, 7)
COLUMNS = ("op", "shape", "form", "fwd ms", "fwd+bwd", "TFLOP/s", "GB/s", "roof", "x fla")


class Row(NamedTuple):
    """An op at a shape, for all peers that have it."""

    table: str  # "grid" or "lengths"
    op: str
    shape: Shape


def main() -> None:
    args = parser().parse_args()
    stop = time.monotonic() + args.budget
    device = "cpu" if args.dry_run else "cuda"
    command = [sys.executable, str(Path(__file__).with_name("gpu_worker.py"))]
    environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if args.dry_run:
        environment["JAX_PLATFORMS"] = "cpu"
    workers = {name: Worker([*command, name, device], environment) for name in args.peers}
    result: dict[str, Any] = {"dtype": args.dtype, "devices": {}, "checks": [], "rows": []}
    try:
        result["devices"] = ask_all(workers, {"do": "device_name"}, stop)
        for name, answer in result["devices"].items():
            print(f"# {name}: {answer}")
        able = check(args, workers, result["checks"], [*command, "oracle", "cpu"], stop)
        line(COLUMNS)
        for row in plan(args):
            for found in measure(args, row, workers, able, result, stop):
                result["rows"].append(found)
                line(cells(found))
            if args.out:
                args.out.write_text(json.dumps(result, indent=1) + "\n")
    finally:
        for worker in workers.values():
            worker.stop()


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--budget", type=float, default=570, help="seconds in all")
    p.add_argument("--patience", type=float, default=120, help="seconds for one answer")
    p.add_argument("--seconds", type=float, default=0.3, help="of timing a call")
    p.add_argument(
        "--ops", nargs="+", choices=OPS, default=["gated_delta", "gla", "retention", "delta"]
    )
    p.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    p.add_argument("--dtype", choices=BOUNDS, default="bfloat16")
    p.add_argument("--tokens", type=int, default=4**10, help="of a call where lengths vary")
    p.add_argument(
        "--softmax-up-to", type=int, default=4**8, help="tokens; its time grows with t^2"
    )
    p.add_argument("--dry-run", action="store_true", help="tiny shapes on a CPU")
    p.add_argument("--out", type=Path, help="JSON file, written after each row")
    return p


def plan(args: argparse.Namespace) -> Iterator[Row]:
    """The most important first: the first shape for all ops, lengths of the first op, the rest."""
    tokens = 256 if args.dry_run else args.tokens
    grid = [Shape(1, 64, 2, 16, 16)] if args.dry_run else GRID
    h, width = (1, 16) if args.dry_run else (16, 64)
    lengths = [Shape(tokens // t, t, h, width, width) for t in _lengths(tokens)]
    first, *rest = grid
    ops = [*args.ops, "softmax"]
    yield from (Row("grid", op, first) for op in ops)
    yield from (Row("lengths", args.ops[0], shape) for shape in lengths)
    yield from (Row("grid", op, shape) for shape in rest for op in ops)
    for shape in lengths:
        for op in ops[1:]:
            if op != "softmax" or shape.t <= args.softmax_up_to:
                yield Row("lengths", op, shape)


def _lengths(tokens: int) -> list[int]:
    """Powers of four times 1024 up to `tokens`; of few tokens, a quarter and all of them."""
    return [tokens // 4**i for i in range(8) if tokens // 4**i >= min(1024, tokens // 4)][::-1]


def check(
    args: argparse.Namespace, workers: dict, said: list, oracle: list[str], stop: float
) -> set[tuple[str, str]]:
    """(peer, op) of all that are right at a small shape; a line for each."""
    able = set()
    shape = (1, 64, 2, 16, 16) if args.dry_run else (2, 192, 2, 64, 64)
    asks = [{"op": op, "shape": shape, "dtype": args.dtype} for op in [*args.ops, "softmax"]]
    with tempfile.TemporaryDirectory() as folder:
        scan = Worker(oracle, {"JAX_PLATFORMS": "cpu"}, lives=1)
        answer = ask_all({"oracle": scan}, {"do": "oracle", "folder": folder, "asks": asks}, stop)
        scan.stop()
        if "problem" in answer["oracle"]:
            raise SystemExit(f"The float64 token scan failed: {answer['oracle']['problem']}")
        for ask in asks:
            ask |= {"do": "check", "right": str(Path(folder) / f"{ask['op']}.npz")}
            some = {name: w for name, w in workers.items() if ask["op"] in PEERS[name]}
            until = min(stop, time.monotonic() + args.patience)
            for name, answer in ask_all(some, ask, until).items():
                right = answer.get("error", float("inf")) <= BOUNDS[args.dtype]
                if right:
                    able.add((name, ask["op"]))
                told = answer.get("problem") or f"error {answer['error']:.1e} ({answer['where']})"
                print(f"# {ask['op']}, {name}: {told}{'' if right else ' -- left out'}", flush=True)
                said.append({"op": ask["op"], "form": name, "right": right, "told": told})
    return able


def measure(
    args: argparse.Namespace,
    row: Row,
    workers: dict[str, Worker],
    able: set[tuple[str, str]],
    result: dict[str, Any],
    stop: float,
) -> list[dict[str, Any]]:
    """What each peer has to say of a row: times, or the problem."""
    some = {name: w for name, w in workers.items() if (name, row.op) in able}
    base = {"table": row.table, "op": row.op, **row.shape._asdict()}
    if time.monotonic() >= stop:
        return [base | {"form": name, "problem": "the budget was used up"} for name in some]
    ask = {"do": "prepare", "op": row.op, "shape": row.shape, "dtype": args.dtype}
    until = min(stop, time.monotonic() + args.patience)
    answers = ask_all(some, ask, until)
    for name in some:
        if "problem" not in answers[name]:
            answers |= ask_all({name: some[name]}, {"do": "time", "seconds": args.seconds}, stop)
    peer = answers.get(FIRST, {}).get("both_ms")
    return [
        base | {"form": name} | answer | figures(args, row, result, name, answer, peer)
        for name, answer in answers.items()
    ]


def figures(
    args: argparse.Namespace,
    row: Row,
    result: dict[str, Any],
    name: str,
    answer: dict[str, Any],
    peer: float | None,
) -> dict[str, Any]:
    """What follows from the times, for the call with all gradients."""
    if "problem" in answer:
        return {}
    ms, itemsize = answer["both_ms"], 2 if args.dtype == "bfloat16" else 4
    flops = roofline.flops(row.op, row.shape, both=True)
    moved = roofline.moved(row.op, row.shape, True, itemsize)
    chip = roofline.chip(result["devices"][name].get("device", ""))
    return {
        "tflops": flops / ms / 1e9,
        "gbytes": moved / ms / 1e6,
        "roof": roofline.share(chip, flops, moved, ms, args.dtype),
        "time_to_fla": ms / peer if peer else None,
    }


def ask_all(workers: dict[str, Worker], ask: dict[str, Any], until: float) -> dict[str, Any]:
    """All at the same time; the answer of one that is lost is its problem."""
    answers: dict[str, Any] = {}
    for name, worker in workers.items():
        try:
            worker.send(ask)
        except Lost as lost:
            answers[name] = {"problem": str(lost)}
    for name, worker in workers.items():
        if name not in answers:
            try:
                answers[name] = worker.receive(until)
            except Lost as lost:
                answers[name] = {"problem": str(lost)}
    return answers


def cells(found: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table under COLUMNS."""
    shape = "b{b} t{t} h{h} k{k}".format(**found)
    if "problem" in found:
        return found["op"], shape, found["form"], found["problem"]
    share = lambda x, form: "-" if x is None else format(x, form)  # noqa: E731
    return (
        found["op"],
        shape,
        found["form"],
        f"{found['forward_ms']:.3f}",
        f"{found['both_ms']:.3f}",
        f"{found['tflops']:.1f}",
        f"{found['gbytes']:,.0f}",
        share(found["roof"], ".0%"),
        share(found["time_to_fla"], ".2f"),
    )


def line(cells: tuple[str, ...]) -> None:
    """Printed at once, so that nothing is lost with the process."""
    if len(cells) < len(WIDTHS):  # a problem instead of figures
        widths = WIDTHS[:3]
        print(
            "  ".join([*(c.ljust(w) for c, w in zip(cells, widths, strict=False)), cells[3]]),
            flush=True,
        )
        return
    padded = [
        cell.ljust(width) if i < 3 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, WIDTHS, strict=True))
    ]
    print("  ".join(padded), flush=True)


if __name__ == "__main__":
    main()
