"""Compile time and size of the traced program of a training loss and its gradient, by depth.

    python benchmarks/compile.py
    python benchmarks/compile.py --depths 4 64 --remat full --mixer gla

The depth is one scan over the repeating unit, so neither should grow.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from machine import header

from jaxlin.config.model import LM, FeedForward
from jaxlin.config.override import variant
from jaxlin.config.registry import mixers
from jaxlin.models.lm import build
from jaxlin.parallel.table import align

VOCAB = 384


def main() -> None:
    args = parser().parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    print(header())
    columns = ["layers", "equations", "trace s", "compile s", "parameters"]
    rows = [columns, *(measure(args, depth) for depth in args.depths)]
    print(align(rows, right=range(len(columns))))


def parser() -> argparse.ArgumentParser:
    """The options; each has the default that the README quotes."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--depths", nargs="+", type=int, default=[4, 8, 16, 32, 64])
    p.add_argument("--pattern", default="3*mixer + attention")
    p.add_argument("--mixer", default="gated_deltanet(heads=2,head_dim=64)")
    p.add_argument("--attention", default="softmax(heads=4)")
    p.add_argument("--width", type=int, default=128)
    p.add_argument("--context", type=int, default=256)
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--remat", default="none")
    return p


def measure(args: argparse.Namespace, depth: int) -> list[str]:
    """A row of the table."""
    model = build(
        LM(
            vocab=VOCAB,
            width=args.width,
            layers=depth,
            pattern=args.pattern,
            mixer=variant(mixers, args.mixer, "--mixer"),
            attention=variant(mixers, args.attention, "--attention"),
            ffn=FeedForward(hidden=2 * args.width),
            remat=args.remat,
        )
    )

    def loss(variables: Any, tokens: jax.Array) -> jax.Array:
        hidden, _ = model.apply(variables, tokens[:, :-1])
        nll, _ = model.apply(variables, hidden, tokens[:, 1:], 1024, method="cross_entropy")
        return jnp.mean(nll)

    tokens = jax.ShapeDtypeStruct((args.batch, args.context + 1), jnp.int32)
    variables = jax.eval_shape(model.init, jax.random.key(0), tokens)
    begin = time.perf_counter()
    traced = jax.jit(jax.value_and_grad(loss)).trace(variables, tokens)
    traced_at = time.perf_counter()
    traced.lower().compile()
    compiled_at = time.perf_counter()
    count = sum(leaf.size for leaf in jax.tree.leaves(variables))
    return [
        str(depth),
        f"{equations(traced.jaxpr.jaxpr):,}",
        f"{traced_at - begin:.2f}",
        f"{compiled_at - traced_at:.2f}",
        f"{count:,}",
    ]


def equations(jaxpr: core.Jaxpr) -> int:
    """Equations of a program and of all that is nested in it."""
    return sum(1 + sum(map(equations, nested(eqn.params))) for eqn in jaxpr.eqns)


def nested(value: Any) -> Iterator[core.Jaxpr]:
    """The programs among an equation's parameters."""
    if isinstance(value, core.ClosedJaxpr):
        yield value.jaxpr
    elif isinstance(value, core.Jaxpr):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from nested(item)


if __name__ == "__main__":
    main()
