"""A low-rank weight delta: W + scale * A B (Hu et al. 2021, arXiv 2106.09685, eq. 3)."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jaxtyping import Array, Float


class LowRank(NamedTuple):
    """Leaves of one site; a leading layers axis where the site's kernel has one."""

    a: Float[Array, "*layers inputs rank"]
    b: Float[Array, "*layers rank outputs"]
    scale: Float[Array, "*layers"]  # alpha / rank

    def output(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        """What the delta adds to x W: scale * (x A) B, in x's dtype."""
        y = (x @ self.a.astype(x.dtype)) @ self.b.astype(x.dtype)
        return jax.lax.stop_gradient(self.scale).astype(x.dtype) * y

    def delta(self) -> Float[Array, "*layers inputs outputs"]:
        """What the delta adds to W: scale * A B, in float32."""
        return self.scale[..., None, None] * (self.a @ self.b)
