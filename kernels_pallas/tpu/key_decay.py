"""Decay a key: blocks of rows meet in pairs at their border, the point both decay towards.

Each level of pairs is one product; the tensor [c, c, k] of the direct form is never made. Rows of
the left factor count only in later blocks, rows of the right one only in earlier blocks: one matrix
holds both, and one product with the symmetric cotangent gives both their cotangents.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels_pallas.tpu.decay import LOG2_E, Weights
from kernels_pallas.tpu.ladder import climb, gradient, part
from kernels_pallas.tpu.products import Products, total
from kernels_pallas.tpu.rows import (
    SMALL,
    add_earlier,
    add_later,
    column,
    earlier_blocks,
    in_corner,
    interleave,
    later_blocks,
    meeting,
    mixed,
    row,
)


class KeyDecay(Weights):
    """One log decay a key and token: g [h, c, k]."""

    def __init__(
        self, prod: Products, g: Float[Array, "h c k"], within: list[Array] | None = None
    ) -> None:
        """within: of `patterns_within`, for `pull`."""
        self.prod, self.within = prod, within
        levels, since, to_end = climb(g * LOG2_E)
        self.levels = [jnp.exp2(x) for x in levels]
        self.from_start, self.until_end = jnp.exp2(since), jnp.exp2(to_end)
        self.meeting = meeting((g.shape[0], g.shape[1], g.shape[1]))

    def products(self, lefts: list[Array], right: Array) -> tuple[list[Array], Any]:
        wide = [x.astype(jnp.float32) for x in (*lefts, right)]
        found = [self._products(x, wide[-1]) for x in wide[:-1]]
        return [x for x, _ in found], (wide[:-1], wide[-1], [pairs for _, pairs in found])

    def _products(self, left: Array, right: Array) -> tuple[Array, list[_Pairs]]:
        """Levels come in ascending order: each overwrites what is too much of the one before."""
        own = jnp.sum(left * right, axis=2, keepdims=True)
        found = jnp.where(self.meeting == 0, own, 0)
        pairs = [_Pairs(self.prod, i, x, left, right) for i, x in enumerate(self.levels)]
        for pair in pairs:
            found = pair.add(found, self.meeting)
        return found, pairs

    def pull(
        self,
        cotangents: list[Array],
        kept: Any,
        d_lefts: list[Array],
        d_right: Array,
        d_keep: Array,
    ) -> tuple[list[Array], Array, Array]:
        """Levels come in descending order: what a row's sums since the start and to the end of its
        block add to the loss is the row times its cotangent of all levels above."""
        assert self.within is not None
        lefts, right, pairs = kept
        both = [x + jnp.swapaxes(x, 1, 2) for x in cotangents]
        totals, small = [d_keep], []

        def shares() -> tuple[Array, Array]:
            since = total([x * d for x, d in zip(lefts, d_lefts, strict=True)])
            return since, right * d_right

        for level in reversed(range(len(self.levels))):
            if level >= SMALL:
                totals = part(totals, *shares(), 1 << level)
            elif not small:
                small = [*shares()]
            found = [x[level].pull(d) for x, d in zip(pairs, both, strict=True)]
            if level < SMALL:
                rows = [x[level].rows * d for x, d in zip(pairs, found, strict=True)]
                small.insert(2, total(rows))
            d_lefts = [add_later(x, d, level) for x, d in zip(d_lefts, found, strict=True)]
            d_right = add_earlier(d_right, total(found), level)
        own = [
            jnp.sum(jnp.where(self.meeting == 0, d, 0), axis=2, keepdims=True) for d in cotangents
        ]
        d_lefts = [x + d * right for x, d in zip(d_lefts, own, strict=True)]
        d_right = d_right + total([d * x for d, x in zip(own, lefts, strict=True)])
        return d_lefts, d_right, gradient(totals, small, self.within, self.prod.shares)


class KeyEnds(Weights):
    """What of `KeyDecay` takes a state from chunk to chunk: the decay to the end, and in all."""

    def __init__(self, prod: Products, g: Float[Array, "h c k"], after: Array) -> None:
        to_end = prod.sums(after, g * LOG2_E)
        self.until_end = jnp.exp2(to_end)
        self.from_start = jnp.exp2(to_end[:, :1] + g[:, :1] * LOG2_E)


class _Pairs:
    """One level of one product: later rows of the left with earlier rows of the right."""

    def __init__(
        self, prod: Products, level: int, weights: Array, left: Array, right: Array
    ) -> None:
        self.prod, self.level, self.weights = prod, level, weights
        self.rows = mixed(right, left, level)
        self.weighted = weights * self.rows

    def add(self, old: Array, meeting: Array) -> Array:
        m = 1 << self.level
        if self.level < SMALL:
            return jnp.where(meeting >= m, self.prod.nt(self.weighted, self.weighted), old)
        found = self.prod.nt(later_blocks(self.weighted, m), self.weighted)
        later = jnp.where(later_blocks(meeting, m) >= m, found, later_blocks(old, m))
        return interleave(earlier_blocks(old, m), later, m)

    def pull(self, both: Array) -> Array:
        """The cotangent of `rows`. both: cotangents, symmetric: a later row meets all earlier rows
        of its pair, an earlier row all later ones."""
        apart = row(both.shape) ^ column(both.shape)
        masked = jnp.where(in_corner(apart, self.level), both, 0)
        return self.weights * self.prod.nn(masked, self.weighted)
