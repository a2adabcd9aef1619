"""Our chunked forms on a CPU against named peers, in one run: time, rate, memory.

    python benchmarks/cpu.py
    python benchmarks/cpu.py --ops gated_delta --heads 4 --width 128 --lengths 2048 --out cpu.json

Peers: the token scan ("reference"), softmax attention in XLA and in torch, and the chunked gated
delta rule that transformers runs on CPUs. torch and transformers live in an environment of their
own; without them their rows say that they are absent. To make it:

    python -m venv .venv-bench && .venv-bench/bin/python -m pip install -e . torch transformers

All forms are first checked against the token scan in float64. Then they take turns, round by round;
a ratio is the median over rounds of a peer's time by ours. The second table holds the number of
tokens fixed while sequences grow: rate, and memory against inputs, outputs and gradients alone.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import lengths
from cases import Calls, Peer, Shape, draw, largest_error
from machine import header, len_affinity
from peers_jax import oracle, ours, softmax
from peers_torch import sdpa, transformers_fallback
from rounds import alternate, ratio

from jaxlin.parallel.table import align

OURS, SCAN = "xla", "reference"
BOUND = 1e-5  # of the relative error; measured: 4e-7
WITH = "pip install torch transformers in the benchmark's own environment (see --help)"
COLUMNS = [
    "op",
    "form",
    "rounds",
    "fwd ms",
    "best",
    "fwd+bwd ms",
    "best",
    "ktokens/s",
    "x fwd",
    "x fwd+bwd",
]


def main() -> None:
    args = parser().parse_args()
    torch_threads = use_threads(args.threads)
    print(header())
    print(f"# threads: JAX {len_affinity()}, torch {torch_threads}; float32")
    peers = [ours(OURS), ours(SCAN), softmax("softmax XLA", "xla"), sdpa("cpu")]
    peers.append(transformers_fallback())
    result: dict[str, Any] = {"header": header(), "threads": len_affinity()}
    able, result["checks"] = check(peers, args.ops)
    result["rows"] = [row for shape in shapes(args) for row in measure(args, able, shape)]
    result["lengths"] = sweep(args) if args.sweep else []
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument(
        "--ops", nargs="+", choices=ours(OURS).ops, default=["gated_delta", "gla", "retention"]
    )
    p.add_argument("--heads", nargs="+", type=int, default=[4])
    p.add_argument("--width", nargs="+", type=int, default=[64, 128])
    p.add_argument("--lengths", nargs="*", type=int, default=[2048, 4096, 8192])
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=10, help="of a form; it sits out later rounds")
    p.add_argument(
        "--limit", type=float, default=2.0, help="GiB of a token scan's states or scores"
    )
    p.add_argument("--threads", type=int, default=len_affinity(), help="cores for both frameworks")
    p.add_argument("--sweep-ops", nargs="+", choices=ours(OURS).ops, default=["gated_delta"])
    p.add_argument("--sweep", nargs="*", type=int, default=[4**i for i in range(5, 11)])
    p.add_argument("--sweep-heads", type=int, default=2)
    p.add_argument("--sweep-rounds", type=int, default=3)
    p.add_argument("--tokens", type=int, default=4**10, help="of a call of the second table")
    p.add_argument("--out", type=Path, help="JSON file")
    return p


def use_threads(count: int) -> str:
    """The same number of cores for both frameworks; says torch's number. Before JAX's first use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    try:
        import torch
    except ImportError:
        return "absent"
    torch.set_num_threads(count)
    return str(torch.get_num_threads())


def shapes(args: argparse.Namespace) -> Iterator[Shape]:
    for width in args.width:
        for h in args.heads:
            for t in args.lengths:
                yield Shape(args.batch, t, h, width, width)


def check(peers: list[Peer], ops: list[str]) -> tuple[list[tuple[Peer, str]], list[dict]]:
    """Who computes what to BOUND of the float64 token scan; prints a line for each."""
    able, said = [], []
    for op in [*ops, "softmax"]:
        small = Shape(2, 200, 2, 16, 16 if op == "softmax" else 24)
        arrays = draw(op, small)
        right = oracle(op, arrays)
        for peer in (p for p in peers if op in p.ops):
            try:
                error, where = largest_error(peer.build(op, arrays, "float32"), right)
                verdict = f"error {error:.1e} ({where})"
            except ImportError as problem:
                error, verdict = float("inf"), f"absent: {problem}; {WITH}"
            except Exception as problem:  # one that fails loses its own rows alone
                error, verdict = float("inf"), f"{type(problem).__name__}: {problem}"
            if error < BOUND:
                able.append((peer, op))
            print(f"# {op}, {peer.name}: {verdict}{'' if error < BOUND else ' -- left out'}")
            said.append({"op": op, "form": peer.name, "error": error, "verdict": verdict})
    return able, said


def measure(
    args: argparse.Namespace, able: list[tuple[Peer, str]], shape: Shape
) -> list[dict[str, Any]]:
    """The rows of one shape, printed as a table; every op is set against softmax too."""
    print(f"\n{shape}")
    built: dict[tuple[str, str], Calls] = {}
    for peer, op in able:
        if (gib := scratch_gib(peer.name, shape)) <= args.limit:
            built[op, peer.name] = peer.build(op, draw(op, shape), "float32")
        else:
            print(f"# {op}, {peer.name}: left out, keeps {gib:.1f} GiB (--limit)")
    forward = {key: _blocking(c, c.forward) for key, c in built.items()}
    both = {key: _blocking(c, c.both) for key, c in built.items()}
    each = {(*key, "fwd"): call for key, call in forward.items()}
    each |= {(*key, "both"): call for key, call in both.items()}
    times = alternate(each, args.rounds, args.seconds)
    rows = [
        _row(shape, op, form, times, home)
        for op in args.ops
        for home, form in built
        if home in (op, "softmax")
    ]
    print(align([COLUMNS, *map(_cells, rows)], right=range(2, len(COLUMNS))), flush=True)
    return rows


def scratch_gib(form: str, shape: Shape) -> float:
    """What a form's gradient must hold that grows faster than its inputs do."""
    b, t, h, k, v = shape
    numbers = {SCAN: b * t * h * k * v, "softmax XLA": 2 * b * h * t * t}.get(form, 0)
    return 4 * numbers / 2**30


def _blocking(calls: Calls, call: Any) -> Any:
    return lambda: calls.wait(call())


def _row(shape: Shape, op: str, form: str, times: dict, home: str) -> dict[str, Any]:
    forward, both = times[home, form, "fwd"].wall, times[home, form, "both"].wall
    return {
        **shape._asdict(),
        "op": op,
        "form": form,
        "rounds": len(both),
        "forward_ms": median(forward),
        "forward_best_ms": min(forward),
        "both_ms": median(both),
        "both_best_ms": min(both),
        "tokens_per_s": 1e3 * shape.b * shape.t / median(both),
        "forward_to_ours": ratio(forward, times[op, OURS, "fwd"].wall),
        "both_to_ours": ratio(both, times[op, OURS, "both"].wall),
    }


def _cells(row: dict[str, Any]) -> list[str]:
    times = ["forward_ms", "forward_best_ms", "both_ms", "both_best_ms"]
    return [
        row["op"],
        row["form"],
        str(row["rounds"]),
        *(f"{row[name]:,.1f}" for name in times),
        f"{row['tokens_per_s'] / 1e3:,.1f}",
        f"{row['forward_to_ours']:.2f}",
        f"{row['both_to_ours']:.2f}",
    ]


def sweep(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The second table, op by op."""
    print(f"\nfwd+bwd of {args.tokens:,} tokens, h={args.sweep_heads} k=v=64; {lengths.MEANING}")
    rows = []
    for op in args.sweep_ops:
        rows += lengths.measure(args, op)
        table = [lengths.COLUMNS, *map(lengths.cells, rows[-len(args.sweep) :])]
        print(align(table, right=range(1, len(lengths.COLUMNS))), flush=True)
    return rows


if __name__ == "__main__":
    main()
