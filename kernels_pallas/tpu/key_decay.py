"""Decay a key: blocks of rows meet in pairs at their border, the point both decay towards.

Each level of pairs is one product; the tensor [c, c, k] of the direct form is never made. Rows of
the left factor count only in later blocks, rows of the right one only in earlier blocks: one matrix
holds both, and one product with the symmetric cotangent gives both their cotangents.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels_pallas.tpu.decay import LOG2_E, Weights
from kernels_pallas.tpu.key_weights import KeptWeights, KeyWeights
from kernels_pallas.tpu.ladder import gradient, over_tiles, part
from kernels_pallas.tpu.patterns import DIAGONAL, KeyPatterns
from kernels_pallas.tpu.products import Products, total
from kernels_pallas.tpu.rows import (
    SMALL,
    add_earlier,
    add_later,
    earlier_blocks,
    interleave,
    later_blocks,
    mixed,
    stack,
)


class KeyDecay(Weights):
    """One log decay a key and token, by the weights that it gives."""

    def __init__(
        self, prod: Products, weights: KeyWeights | KeptWeights, patterns: KeyPatterns
    ) -> None:
        self.prod, self.weights, self.patterns = prod, weights, patterns
        self.meets, self.meets_below = patterns.meets[0][None], patterns.meets[1][None]
        self.levels = patterns.meets.shape[1].bit_length() - 1

    def since(self, x: Array) -> Array:
        return self.weights.before * (self.weights.in_tile * x)

    def to_end(self, x: Array) -> Array:
        return self.weights.after * (self.weights.to_border * x)

    def keep(self, state: Float[Array, "h v k"]) -> Float[Array, "h v k"]:
        return self.weights.whole * state

    def products(self, lefts: list[Array], right: Array) -> tuple[list[Array], Any]:
        wide = [x.astype(jnp.float32) for x in (*lefts, right)]
        scores = [_Scores(self, x, wide[-1]) for x in wide[:-1]]
        kept = []
        for level in range(self.levels):
            kept.append([_Pairs(self, level, x, wide[-1]) for x in wide[:-1]])
            for score, pairs in zip(scores, kept[-1], strict=True):
                score.add(pairs)
        return [x.found for x in scores], (wide[:-1], wide[-1], kept)

    def pull(
        self,
        cotangents: list[Array],
        kept: Any,
        d_since: list[Array],
        d_to_end: Array,
        d_keep: Array,
    ) -> tuple[list[Array], Array, Array]:
        lefts, right, levels = kept
        found = _Cotangents(self, lefts, right, cotangents, d_since, d_to_end, d_keep)
        for pairs in reversed(levels):
            found.add(pairs)
        return found.done()

    def through(
        self,
        left: Array,
        right: Array,
        cotangent: Array,
        d_since: Array,
        d_to_end: Array,
        d_keep: Array,
    ) -> tuple[Array, Array, Array, Array]:
        """One pass over the levels: what a level makes is used up before the next comes."""
        left, right = left.astype(jnp.float32), right.astype(jnp.float32)
        scores = _Scores(self, left, right)
        found = _Cotangents(self, [left], right, [cotangent], [d_since], d_to_end, d_keep)
        for level in alternating(self.levels):
            pairs = _Pairs(self, level, left, right)
            scores.add(pairs)
            found.add([pairs])
        (d_left,), d_right, d_decay = found.done()
        return scores.found, d_left, d_right, d_decay


def alternating(levels: int) -> list[int]:
    """Levels above a tile in descending order, each but the first before one within a tile: they
    load different units, and the compiler keeps near to the order that it is given. Which of those
    within a tile come first was chosen by static counts."""
    first, *above = reversed(range(SMALL, levels))
    pairs = itertools.zip_longest(above, (1, 2, 0))
    return [first, *(level for pair in pairs for level in pair if level is not None)]


class KeyEnds(Weights):
    """What of `KeyDecay` takes a state from chunk to chunk: the decay to the end, and in all."""

    def __init__(self, prod: Products, g: Float[Array, "h c k"], after: Array) -> None:
        g, c = g * LOG2_E, g.shape[1]
        rows = after.shape[0]
        ends, rest = [], jnp.zeros_like(g[:, :1])
        for s in reversed(range(0, c, rows)):
            part = prod.sums(after, g[:, s : s + rows])
            ends.insert(0, jnp.exp2(part + rest))
            rest = rest + part[:, :1] + g[:, s : s + 1]
        self.until_end, self.from_start = stack(ends), jnp.exp2(rest)


class _Pairs:
    """One level of one product: later rows of the left with earlier rows of the right."""

    def __init__(self, decay: KeyDecay, level: int, left: Array, right: Array) -> None:
        self.prod, self.level, self.weights = decay.prod, level, decay.weights
        self.meets = decay.meets
        if level >= SMALL:
            left, right = decay.weights.in_tile * left, decay.weights.to_border * right
        weight = self.weights.level(level)
        if level == 0:  # earlier rows are at the border: they weigh 1, and count for no gate
            self.rows, self.weighted = left, mixed(right, weight * left, level)
        else:
            self.rows = mixed(right, left, level)
            self.weighted = weight * self.rows

    def pull(self, both: Array) -> tuple[Array, Array]:
        """The cotangents of rows, of the later and of the earlier ones. both: cotangents,
        symmetric: a later row meets all earlier rows of its pair, an earlier row all later ones.
        """
        masked = jnp.where(self.meets == self.level, both, 0)
        found = self.prod.nn(masked, self.weighted)
        later = self.weights.level(self.level) * found
        return later, found if self.level == 0 else later


class _Scores:
    """The products of one left, a level after the other."""

    def __init__(self, decay: KeyDecay, left: Array, right: Array) -> None:
        self.prod, self.meets = decay.prod, decay.meets_below
        own = jnp.sum(left * right, axis=2, keepdims=True)
        self.found = jnp.where(self.meets == DIAGONAL, own, 0)

    def add(self, pairs: _Pairs) -> None:
        level, m = pairs.level, 1 << pairs.level
        if level < SMALL:
            found = self.prod.nt(pairs.weighted, pairs.weighted)
            self.found = jnp.where(self.meets == level, found, self.found)
        else:
            found = self.prod.nt(later_blocks(pairs.weighted, m), pairs.weighted)
            corner = later_blocks(self.meets, m) == level
            later = jnp.where(corner, found, later_blocks(self.found, m))
            self.found = interleave(earlier_blocks(self.found, m), later, m)


class _Cotangents:
    """The cotangents of lefts, right and log decay. Levels above a tile come in descending order:
    what a row's sums since the start and to the end of its block add to the loss is the row times
    its cotangent of all levels above."""

    def __init__(
        self,
        decay: KeyDecay,
        lefts: list[Array],
        right: Array,
        cotangents: list[Array],
        d_since: list[Array],
        d_to_end: Array,
        d_keep: Array,
    ) -> None:
        self.decay = decay
        self.both = [x + jnp.swapaxes(x, 1, 2) for x in cotangents]
        own = [
            jnp.sum(jnp.where(decay.meets == DIAGONAL, x, 0), axis=2, keepdims=True)
            for x in cotangents
        ]
        self.d_lefts = [d * right for d in own]
        self.d_right = total([d * x for d, x in zip(own, lefts, strict=True)])
        self.within = {}
        self.lefts, self.right = (
            [decay.weights.in_tile * x for x in lefts],
            decay.weights.to_border * right,
        )
        self.above = [decay.weights.before * x for x in d_since], decay.weights.after * d_to_end
        self.totals = [over_tiles(d_keep)]

    def sums(self) -> tuple[Array, Array]:
        d_lefts, d_right = self.above
        since = total([x * d for x, d in zip(self.lefts, d_lefts, strict=True)])
        return since, self.right * d_right

    def add(self, pairs: list[_Pairs]) -> None:
        level = pairs[0].level
        found = [x.pull(d) for x, d in zip(pairs, self.both, strict=True)]
        later, earlier = [d for d, _ in found], total([d for _, d in found])
        if level < SMALL:
            rows = total([x.rows * d for x, d in zip(pairs, later, strict=True)])
            self.within[level] = rows.astype(self.decay.prod.kind)
            self.d_lefts = [
                add_later(x, d, level) for x, d in zip(self.d_lefts, later, strict=True)
            ]
            self.d_right = add_earlier(self.d_right, earlier, level)
        else:
            d_lefts, d_right = self.above
            self.totals = part(self.totals, *self.sums(), 1 << level)
            d_lefts = [add_later(x, d, level) for x, d in zip(d_lefts, later, strict=True)]
            self.above = d_lefts, add_earlier(d_right, earlier, level)

    def done(self) -> tuple[list[Array], Array, Array]:
        decay, (d_lefts, d_right) = self.decay, self.above
        within = [self.within[level] for level in range(SMALL)]
        sums = [*within, *self.sums(), jnp.concatenate(self.totals, axis=1)]
        d_decay = gradient(sums, decay.patterns.gates[...], decay.prod.applied)
        d_lefts = [
            x + decay.weights.in_tile * d for x, d in zip(self.d_lefts, d_lefts, strict=True)
        ]
        return d_lefts, self.d_right + decay.weights.to_border * d_right, d_decay
