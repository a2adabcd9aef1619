"""Walks through a jaxpr and all that it calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax


def equations(jaxpr: Any) -> Iterator[Any]:
    """Every equation, also those of inner jaxprs (each once per place it is called)."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def largest(jaxpr: Any, last_axis: int) -> int:
    """The most elements of any array whose last axis is `last_axis`; 0 if there is none."""
    shapes = [getattr(v.aval, "shape", ()) for e in equations(jaxpr) for v in e.outvars]
    return max(
        (int(jax.numpy.prod(jax.numpy.array(s))) for s in shapes if s[-1:] == (last_axis,)),
        default=0,
    )
