"""Rate and memory of our own form by length, with the number of tokens held fixed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
from cases import COTANGENT, OPS, Shape, draw
from rounds import alternate, ratio

import kernels_pallas as kp

COLUMNS = ["op", "b", "t", "rounds", "ms", "best", "ktokens/s", "x first", "cpu x first"]
COLUMNS += ["MiB", "ends", "MiB at b=1", "x ends"]
MEANING = (
    "x first: rate against the first length, on the clock and in CPU time; "
    "ends: inputs, outputs and gradients alone"
)


def compiled(op: str, shape: Shape) -> Any:
    """Outputs and all gradients of the chunked form, compiled for float32."""
    run = kp.delta_rule if "beta" in OPS[op] else kp.linear_attention

    def both(inputs: dict[str, jax.Array], cotangent: jax.Array) -> tuple[jax.Array, Any]:
        call = lambda inputs: run(**inputs, implementation="xla")[0]  # noqa: E731
        outputs, pull = jax.vjp(call, inputs)
        return outputs, pull(cotangent)[0]

    sizes = shape._asdict()
    axes = {"q": "bthk", "k": "bthk", "v": "bthv"} | OPS[op]
    spec = lambda axes: jax.ShapeDtypeStruct([sizes[a] for a in axes], jnp.float32)  # noqa: E731
    given = {name: spec(axes) for name, axes in axes.items()}
    return jax.jit(both).lower(given, spec("bthv")).compile()


def memory(program: Any) -> tuple[int, int]:
    """Bytes of a program while it runs, and of its inputs and outputs alone."""
    found = program.memory_analysis()
    ends = found.argument_size_in_bytes + found.output_size_in_bytes
    return ends + found.temp_size_in_bytes, ends


def measure(args: argparse.Namespace, op: str) -> Iterator[dict[str, Any]]:
    """One row a length. The lengths take turns; "x first" is the rate against the first's."""
    shapes = [Shape(args.tokens // t, t, args.sweep_heads, 64, 64) for t in args.sweep]
    programs = {shape: compiled(op, shape) for shape in shapes}
    calls = {shape: _call(programs[shape], op, shape) for shape in shapes}
    times = alternate(calls, args.sweep_rounds, args.seconds)
    for shape in shapes:
        peak, ends = memory(programs[shape])
        alone, alone_ends = memory(compiled(op, shape._replace(b=1)))
        wall, cpu = times[shape]
        yield {
            "op": op,
            "b": shape.b,
            "t": shape.t,
            "rounds": len(wall),
            "ms": median(wall),
            "best": min(wall),
            "tokens_per_s": 1e3 * shape.b * shape.t / median(wall),
            "rate_to_first": ratio(times[shapes[0]].wall, wall),
            "cpu_rate_to_first": ratio(times[shapes[0]].cpu, cpu),
            "peak_bytes": peak,
            "ends_bytes": ends,
            "peak_bytes_b1": alone,
            "ends_bytes_b1": alone_ends,
        }


def _call(program: Any, op: str, shape: Shape) -> Any:
    arrays = {name: jnp.asarray(x) for name, x in draw(op, shape).items()}
    cotangent = arrays.pop(COTANGENT)
    return lambda: jax.block_until_ready(program(arrays, cotangent))


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table under COLUMNS."""
    mib = lambda size: f"{size / 2**20:,.1f}"  # noqa: E731
    return [
        row["op"],
        str(row["b"]),
        f"{row['t']:,}",
        str(row["rounds"]),
        f"{row['ms']:,.0f}",
        f"{row['best']:,.0f}",
        f"{row['tokens_per_s'] / 1e3:,.1f}",
        f"{row['rate_to_first']:.2f}",
        f"{row['cpu_rate_to_first']:.2f}",
        mib(row["peak_bytes"]),
        mib(row["ends_bytes"]),
        mib(row["peak_bytes_b1"]),
        f"{row['peak_bytes_b1'] / row['ends_bytes_b1']:.2f}",
    ]
