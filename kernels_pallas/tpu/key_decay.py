"""Decay a key: blocks of rows meet in pairs at their border, the point both decay towards.

Each level of pairs is one product; the tensor [c, c, k] of the direct form is never made.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels_pallas.tpu.decay import LOG2_E, Weights
from kernels_pallas.tpu.ladder import climb, descend
from kernels_pallas.tpu.products import Products, total
from kernels_pallas.tpu.rows import (
    SMALL,
    earlier_blocks,
    from_tiles,
    in_corner,
    interleave,
    later_blocks,
    later_in_tile,
    meeting,
    split_rows,
    stack,
    tiles,
)


class KeyDecay(Weights):
    """One log decay a key and token: g [h, c, k].

    Blocks of m rows meet in pairs at their border, the point both decay towards; each level of
    pairs is one product, and the tensor [c, c, k] of the direct form is never made.
    """

    def __init__(
        self, prod: Products, g: Float[Array, "h c k"], within: list[Array] | None = None
    ) -> None:
        """within: of `patterns_within`, for `gradient`."""
        self.prod, self.within = prod, within
        levels, since, to_end = climb(g * LOG2_E)
        self.levels = [jnp.exp2(x) for x in levels]
        self.from_start, self.until_end = jnp.exp2(since), jnp.exp2(to_end)
        self.meeting = meeting((g.shape[0], g.shape[1], g.shape[1]))

    def products(self, lefts: list[Array], right: Array) -> tuple[list[Array], Any]:
        wide = right.astype(jnp.float32)
        own = [jnp.sum(x.astype(jnp.float32) * wide, axis=2, keepdims=True) for x in lefts]
        found = [jnp.where(self.meeting == 0, x, 0) for x in own]
        pairs = [self._pairs(level, lefts, right) for level in range(len(self.levels))]
        for pair in pairs:
            found = pair.add(found)
        return found, (lefts, right, pairs)

    def _pairs(self, level: int, lefts: list[Array], right: Array) -> _Pairs:
        kind = _Pairs if level < SMALL else _BlockPairs
        wide = [x.astype(jnp.float32) for x in (*lefts, right)]
        return kind(self.prod, level, self.meeting, self.levels[level], wide[:-1], wide[-1])

    def pull(self, cotangents: list[Array], kept: Any) -> tuple[list[Array], Array, Any]:
        lefts, right, pairs = kept
        own = [
            jnp.sum(jnp.where(self.meeting == 0, d, 0), axis=2, keepdims=True) for d in cotangents
        ]
        d_lefts = [d * right.astype(jnp.float32) for d in own]
        d_right = total([d * x.astype(jnp.float32) for d, x in zip(own, lefts, strict=True)])
        shares = []
        for pair in pairs:
            d_lefts, d_right, share = pair.pull(cotangents, d_lefts, d_right)
            shares.append(share)
        return d_lefts, d_right, shares

    def gradient(self, share: Any, since: Array, to_end: Array, keep: Array) -> Array:
        """[h, c, k]."""
        assert self.within is not None
        return descend(share, since, to_end, keep, self.prod.shares, self.within)


class KeyEnds(Weights):
    """What of `KeyDecay` takes a state from chunk to chunk: the decay to the end, and in all."""

    def __init__(self, prod: Products, g: Float[Array, "h c k"], after: Array) -> None:
        to_end = prod.sums(after, g * LOG2_E)
        self.until_end = jnp.exp2(to_end)
        self.from_start = jnp.exp2(to_end[:, :1] + g[:, :1] * LOG2_E)


class _Pairs:
    """One level: the product of later rows with the earlier rows of their pair."""

    def __init__(
        self,
        prod: Products,
        level: int,
        meeting: Array,
        weights: Array,
        lefts: list[Array],
        right: Array,
    ) -> None:
        self.prod, self.level, self.meeting, self.weights = prod, level, meeting, weights
        self.lefts, self.right = lefts, right
        self.weighted = stack([prod.operand(weights * x) for x in lefts])
        self.weighted_right = prod.operand(weights * right)

    def add(self, products: list[Array]) -> list[Array]:
        """Levels come in ascending order: each overwrites what is too much of the one before."""
        found = split_rows(self.prod.nt(self.weighted, self.weighted_right), len(self.lefts))
        m = 1 << self.level
        return [jnp.where(self.meeting >= m, x, o) for x, o in zip(found, products, strict=True)]

    def pull(
        self, cotangents: list[Array], d_lefts: list[Array], d_right: Array
    ) -> tuple[list[Array], Array, Array]:
        """The cotangents of lefts and right with this level's added, and the decay's share."""
        corner = in_corner(self.meeting, self.level)
        stacked = self.prod.operand(stack([jnp.where(corner, d, 0) for d in cotangents]))
        more = split_rows(self.prod.nn(stacked, self.weighted_right), len(self.lefts))
        more = [self.weights * x for x in more]
        right = self.weights * self.prod.tn(stacked, self.weighted)
        later = total([x * d for x, d in zip(self.lefts, more, strict=True)])
        mask = later_in_tile(tiles(later).shape, self.level)
        share = from_tiles(jnp.where(mask, tiles(later), tiles(self.right * right)))
        return [x + d for x, d in zip(d_lefts, more, strict=True)], d_right + right, share


class _BlockPairs(_Pairs):
    """The same where blocks fill registers: rows that play no part are left out."""

    def __init__(
        self,
        prod: Products,
        level: int,
        meeting: Array,
        weights: Array,
        lefts: list[Array],
        right: Array,
    ) -> None:
        self.prod, self.m, self.level = prod, 1 << level, level
        self.meeting = later_blocks(meeting, self.m)
        self.later, self.earlier = later_blocks(weights, self.m), earlier_blocks(weights, self.m)
        self.lefts = [later_blocks(x, self.m) for x in lefts]
        self.right = earlier_blocks(right, self.m)
        self.weighted = stack([prod.operand(self.later * x) for x in self.lefts])
        idle = prod.operand(later_blocks(right, self.m))
        weighted = prod.operand(self.earlier * self.right)
        self.weighted_right = interleave(weighted, idle, self.m)

    def add(self, products: list[Array]) -> list[Array]:
        found = split_rows(self.prod.nt(self.weighted, self.weighted_right), len(self.lefts))
        return [self._place(x, old) for x, old in zip(found, products, strict=True)]

    def _place(self, found: Array, old: Array) -> Array:
        later = jnp.where(self.meeting >= self.m, found, later_blocks(old, self.m))
        return interleave(earlier_blocks(old, self.m), later, self.m)

    def pull(
        self, cotangents: list[Array], d_lefts: list[Array], d_right: Array
    ) -> tuple[list[Array], Array, Array]:
        corner, m = in_corner(self.meeting, self.level), self.m
        masked = [jnp.where(corner, later_blocks(d, m), 0) for d in cotangents]
        stacked = self.prod.operand(stack(masked))
        more = split_rows(self.prod.nn(stacked, self.weighted_right), len(self.lefts))
        more = [self.later * x for x in more]
        right = self.earlier * earlier_blocks(self.prod.tn(stacked, self.weighted), m)
        later = total([x * d for x, d in zip(self.lefts, more, strict=True)])
        share = interleave(self.right * right, later, m)
        d_lefts = [
            interleave(earlier_blocks(x, m), later_blocks(x, m) + d, m)
            for x, d in zip(d_lefts, more, strict=True)
        ]
        d_right = interleave(earlier_blocks(d_right, m) + right, later_blocks(d_right, m), m)
        return d_lefts, d_right, share
