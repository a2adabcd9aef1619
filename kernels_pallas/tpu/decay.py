"""Products of rows within a chunk, weighted by the decay between them, and their gradients.

All exponents are sums of log decays over the stretch that is wanted: none is positive, and none
is a difference of two cumulative sums, which after a gate of -1e4 has lost every digit of a gate
of -1e-6. The gradient of a gate is likewise the sum over the pairs of tokens that it separates.
A reset is a gate of -1e5: every weight across it is exactly zero, and so is every gradient.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels_pallas.tpu.products import Products, total
from kernels_pallas.tpu.rows import column, row, split_rows, stack

LOG2_E = 1.4426950408889634  # the unit computes powers of two


class Weights:
    """The decay of one chunk of h heads and c rows."""

    from_start: Array  # [h, c, 1] or [h, c, k]: since the chunk's start
    until_end: Array  # to its end

    def since(self, x: Array) -> Array:
        """Rows of x [h, c, k] times the decay since the chunk's start."""
        return self.from_start * x

    def to_end(self, x: Array) -> Array:
        """Rows of x times the decay to the chunk's end."""
        return self.until_end * x

    def keep(self, state: Float[Array, "h v k"]) -> Float[Array, "h v k"]:
        """The state times the decay over the chunk."""
        return self.from_start[:, -1:] * state

    def products(self, lefts: list[Array], right: Array) -> tuple[list[Array], Any]:
        """sum_k left_ik right_jk exp(decay from j to i) for i >= j, else 0, for each left; and
        what `pull` needs."""
        raise NotImplementedError

    def pull(
        self,
        cotangents: list[Array],
        kept: Any,
        d_since: list[Array],
        d_to_end: Array,
        d_keep: Float[Array, "h r k"],
    ) -> tuple[list[Array], Array, Array | None]:
        """From cotangents of the products (zero above the diagonal): those of lefts, right and the
        log decay. The state adds to them by cotangents of `since(left)` and `to_end(right)`, and
        d_keep: the state after `keep` times its cotangent, as rows to be summed."""
        raise NotImplementedError

    def through(
        self,
        left: Array,
        right: Array,
        cotangent: Array,
        d_since: Array,
        d_to_end: Array,
        d_keep: Array,
    ) -> tuple[Array, Array, Array, Array | None]:
        """`products` of one left and `pull`, where the cotangent is known before the products."""
        (found,), kept = self.products([left], right)
        (d_left,), d_right, d_decay = self.pull([cotangent], kept, [d_since], d_to_end, d_keep)
        return found, d_left, d_right, d_decay


class NoDecay(Weights):
    """Every weight is one."""

    def __init__(self, prod: Products) -> None:
        self.prod = prod

    def since(self, x: Array) -> Array:
        return x

    def to_end(self, x: Array) -> Array:
        return x

    def keep(self, state: Float[Array, "h v k"]) -> Float[Array, "h v k"]:
        return state

    def products(self, lefts: list[Array], right: Array) -> tuple[list[Array], Any]:
        found = split_rows(self.prod.nt(stack(lefts), right), len(lefts))
        causal = row(found[0].shape) >= column(found[0].shape)
        return [jnp.where(causal, x, 0) for x in found], (lefts, right)

    def pull(
        self,
        cotangents: list[Array],
        kept: Any,
        d_since: list[Array],
        d_to_end: Array,
        d_keep: Array,
    ) -> tuple[list[Array], Array, None]:
        lefts, right = kept
        stacked = stack(cotangents)
        more = split_rows(self.prod.nn(stacked, right), len(lefts))
        d_lefts = [d + x for d, x in zip(d_since, more, strict=True)]
        return d_lefts, d_to_end + self.prod.tn(stacked, stack(lefts)), None


class HeadDecay(Weights):
    """One log decay a token: g [h, 1, c], along the lanes; upto, after [c, c]: `patterns`."""

    def __init__(self, prod: Products, g: Float[Array, "h 1 c"], upto: Array, after: Array) -> None:
        self.prod, self.upto, self.after = prod, upto, after
        h, _, c = g.shape
        self.shape = (h, c, c)
        upto, after = (x.astype(jnp.float32)[None] * g * LOG2_E for x in (upto, after))
        between = prod.sums_of_rows(self.upto, after)
        causal = row(self.shape) >= column(self.shape)
        self.weights = jnp.where(causal, jnp.exp2(between), 0)
        self.from_start = jnp.exp2(jnp.sum(upto, axis=2, keepdims=True))
        self.until_end = jnp.exp2(jnp.sum(after, axis=2, keepdims=True))

    def products(self, lefts: list[Array], right: Array) -> tuple[list[Array], Any]:
        found = split_rows(self.prod.nt(stack(lefts), right), len(lefts))
        found = [self.weights * x for x in found]
        return found, (lefts, right, found)

    def pull(
        self,
        cotangents: list[Array],
        kept: Any,
        d_since: list[Array],
        d_to_end: Array,
        d_keep: Array,
    ) -> tuple[list[Array], Array, Array]:
        lefts, right, products = kept
        d_lefts, d_right = [self.since(d) for d in d_since], self.to_end(d_to_end)
        share = total([d * x for d, x in zip(cotangents, products, strict=True)])
        since = total([_sum(d * x) for d, x in zip(d_lefts, lefts, strict=True)])
        d_decay = self._gradient(share, since, _sum(d_right * right), d_keep)
        stacked = stack([self.weights * d for d in cotangents])
        more = split_rows(self.prod.nn(stacked, right), len(lefts))
        d_lefts = [d + x for d, x in zip(d_lefts, more, strict=True)]
        return d_lefts, d_right + self.prod.tn(stacked, stack(lefts)), d_decay

    def _gradient(self, share: Array, since: Array, to_end: Array, keep: Array) -> Array:
        """[h, 1, c]: for gate l the share of pairs i >= l > j, of rows from l on, of rows before
        l, and of the state."""
        before = self.prod.shares_of_columns(share, self.after)
        rows = jnp.where(self.upto[None] > 0, before + since, to_end)
        whole = _sum(jnp.sum(keep, axis=1, keepdims=True))
        return jnp.sum(rows, axis=1, keepdims=True) + whole


def _sum(x: Array) -> Array:
    return jnp.sum(x, axis=2, keepdims=True)
