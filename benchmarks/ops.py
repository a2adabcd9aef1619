"""Time of the ops, forward and with all gradients, by length and implementation.

    python benchmarks/ops.py
    python benchmarks/ops.py --op gated_delta --lengths 2048 8192 --implementation xla

Beside them stand the token scan ("reference"), plain chunked forms that JAX differentiates itself,
and softmax attention. Figures are the best of several rounds, in which the forms take turns, so
that a busy machine disturbs all alike.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from machine import header
from plain_forms import CHANNELS, PER_HEAD, PER_KEY

import kernels_pallas as kp
from jaxlin.parallel.table import align

Form = Callable[..., jax.Array]


class Op(NamedTuple):
    """A call of an op: which inputs it takes, and plain forms that compute the same."""

    run: Callable[..., tuple[jax.Array, jax.Array]]
    inputs: tuple[str, ...]
    decay: str | None = None
    plain: Mapping[str, Form] = {}


HEADS = ("q", "k", "v")
OPS = {
    "linear": Op(kp.linear_attention, HEADS),
    "retnet": Op(kp.linear_attention, HEADS, "h"),
    "scalar": Op(kp.linear_attention, HEADS, "bth", PER_HEAD),
    "gla": Op(kp.linear_attention, HEADS, "bthk", PER_KEY),
    "delta": Op(kp.delta_rule, (*HEADS, "beta")),
    "gated_delta": Op(kp.delta_rule, (*HEADS, "beta"), "bth"),
    "kda": Op(kp.delta_rule, (*HEADS, "beta"), "bthk"),
    "hgrn": Op(kp.linear_recurrence, ("x",), "btd", CHANNELS),
}
SOFTMAX = "softmax"


def main() -> None:
    args = parser().parse_args()
    print(header())
    print(
        f"# ms; b={args.batch} h={args.heads} k=v={args.width} {args.dtype}; best of {args.rounds}"
    )
    columns = ["op", "form", "t", "fwd", "fwd+bwd", "x token scan", "x softmax"]
    rows = [columns]
    for t in args.lengths:
        rows += measure(args, t)
    print(align(rows, right=range(2, len(columns))))


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--op", nargs="+", choices=OPS, default=list(OPS))
    p.add_argument("--lengths", nargs="+", type=int, default=[1024, 2048, 4096, 8192, 16384, 32768])
    p.add_argument("--implementation", nargs="+", default=["reference", "xla"])
    p.add_argument("--chunk-size", type=int)
    p.add_argument("--no-plain", action="store_true", help="leave the plain forms out")
    p.add_argument("--softmax-up-to", type=int, default=4096, help="its time grows with t^2")
    p.add_argument("--state-limit", type=float, default=1.0, help="GiB of states of a token scan")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--width", type=int, default=64)
    p.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    return p


def measure(args: argparse.Namespace, t: int) -> Iterator[list[str]]:
    """The rows of one length; the last two columns are ratios of fwd+bwd (more is better)."""
    calls = compiled(args, t)
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(args.rounds):
        for key, (call, inputs) in calls.items():
            jax.block_until_ready(call(inputs))  # the one before may still be giving memory back
            begin = time.perf_counter()
            jax.block_until_ready(call(inputs))
            best[key] = min(best[key], 1e3 * (time.perf_counter() - begin))
    for op, form, way in best:
        if way == "fwd":
            both, forward = best.get((op, form, "both")), best[op, form, way]
            token, soft = best.get((op, "reference", "both")), best.get((SOFTMAX, SOFTMAX, "both"))
            yield [
                op,
                form,
                str(t),
                f"{forward:.1f}",
                show(both),
                ratio(token, both),
                ratio(soft, both),
            ]


def show(ms: float | None) -> str:
    return "-" if ms is None else f"{ms:.1f}"


def ratio(other: float | None, own: float | None) -> str:
    return "-" if other is None or own is None else f"{other / own:.1f}"


def compiled(args: argparse.Namespace, t: int) -> dict[tuple[str, str, str], tuple[Any, Any]]:
    """(op, form, fwd | both) -> compiled call and its inputs, run once."""
    found = {}
    for op, form, run, inputs in forms(args, t):
        weight = jnp.asarray(
            np.random.default_rng(1).standard_normal(inputs["v" if "v" in inputs else "x"].shape)
        )
        found[op, form, "fwd"] = (jax.jit(lambda x, run=run: run(**x)), inputs)
        states = 4 * t * args.batch * args.heads * args.width * (1 if "x" in inputs else args.width)
        if form != "reference" or states <= args.state_limit * 2**30:
            loss = lambda x, run=run, weight=weight: jnp.sum(run(**x) * weight)  # noqa: E731
            found[op, form, "both"] = (jax.jit(jax.value_and_grad(loss)), inputs)
    for call, inputs in found.values():
        jax.block_until_ready(call(inputs))
    return found


def forms(args: argparse.Namespace, t: int) -> Iterator[tuple[str, str, Form, dict]]:
    """(op, form, function of the inputs, inputs)."""
    for name in args.op:
        op = OPS[name]
        inputs = draw(op, args, t)
        for implementation in args.implementation:
            options = {"implementation": implementation, "chunk_size": args.chunk_size}
            yield name, implementation, lambda op=op, o=options, **x: op.run(**x, **o)[0], inputs
        for form, run in ({} if args.no_plain else op.plain).items():
            yield name, form, run, inputs
    if t <= args.softmax_up_to:
        run = lambda q, k, v: jax.nn.dot_product_attention(q, k, v, is_causal=True)  # noqa: E731
        yield SOFTMAX, SOFTMAX, run, draw(Op(kp.linear_attention, HEADS), args, t)


def draw(op: Op, args: argparse.Namespace, t: int) -> dict[str, jax.Array]:
    """Unit keys, write strengths of (0, 1), log decays of about -0.05 a token."""
    rng, dtype = np.random.default_rng(0), jnp.dtype(args.dtype)
    b, h, k = args.batch, args.heads, args.width
    sizes = {"b": b, "t": t, "h": h, "k": k, "d": h * k}
    shapes = {"q": "bthk", "k": "bthk", "v": "bthk", "beta": "bth", "x": "btd"}
    inputs = {n: rng.standard_normal([sizes[a] for a in shapes[n]]) for n in op.inputs}
    if "k" in inputs:
        inputs["k"] /= np.linalg.norm(inputs["k"], axis=-1, keepdims=True)
    if "beta" in inputs:
        inputs["beta"] = 1 / (1 + np.exp(-inputs["beta"]))
    found = {n: jnp.asarray(x, dtype) for n, x in inputs.items()}
    if op.decay:
        gate = -np.logaddexp(0, rng.standard_normal([sizes[a] for a in op.decay])) / 16
        found["log_decay"] = jnp.asarray(gate, jnp.float32)
    return found


if __name__ == "__main__":
    main()
