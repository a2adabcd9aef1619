"""A low-rank weight delta: W + scale * A B (Hu et al. 2021, arXiv 2106.09685, eq. 3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from jaxtyping import Array, Float


@partial(jax.tree_util.register_dataclass, data_fields=["a", "b"], meta_fields=["scale"])
@dataclass(frozen=True)
class LowRank:
    """Leaves of one site; a leading layers axis where the site's kernel has one."""

    a: Any  # float32 [*layers, inputs, rank]
    b: Any  # float32 [*layers, rank, outputs]; Any, since trees of shapes use this node too
    scale: float = 1.0  # alpha / rank

    def output(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        """What the delta adds to x W: scale * (x A) B, in x's dtype."""
        return self.scale * ((x @ self.a.astype(x.dtype)) @ self.b.astype(x.dtype))

    def delta(self) -> Float[Array, "*layers inputs outputs"]:
        """What the delta adds to W: scale * A B, in the factors' dtype (float32)."""
        return self.scale * (self.a @ self.b)
