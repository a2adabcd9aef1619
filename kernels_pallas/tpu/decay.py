"""Products of rows within a chunk, weighted by the decay between them, and their gradients.

All exponents are sums of log decays over the stretch that is wanted: none is positive, and none
is a difference of two cumulative sums, which after a gate of -1e4 has lost every digit of a gate
of -1e-6. The gradient of a gate is likewise the sum over the pairs of tokens that it separates.
A reset is a gate of -1e5: every weight across it is exactly zero, and so is every gradient.
"""

from __future__ import annotations

from typing import Any, Protocol

import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels_pallas.tpu.ladder import climb, descend
from kernels_pallas.tpu.products import Products, total
from kernels_pallas.tpu.rows import (
    SMALL,
    column,
    earlier_blocks,
    from_tiles,
    in_corner,
    interleave,
    later_blocks,
    later_in_tile,
    meeting,
    row,
    tiles,
)

_LOG2_E = 1.4426950408889634  # the unit computes powers of two


class Weights(Protocol):
    """The decay of one chunk: h heads, c rows."""

    def since(self, x: Array) -> Array:
        """Rows of x [h, c, k] times the decay since the chunk's start."""
        ...

    def to_end(self, x: Array) -> Array:
        """Rows of x times the decay to the chunk's end."""
        ...

    def keep(self, state: Float[Array, "h v k"]) -> Float[Array, "h v k"]:
        """The state times the decay over the chunk."""
        ...

    def products(self, lefts: list[Array], right: Array) -> tuple[list[Array], Any]:
        """sum_k left_ik right_jk exp(decay from j to i) for i >= j, else 0, for each left; and
        what `pull` needs."""
        ...

    def pull(self, cotangents: list[Array], kept: Any) -> tuple[list[Array], Array, Any]:
        """From cotangents of the products (zero above the diagonal): those of lefts and right,
        and the decay's share for `gradient`."""
        ...

    def gradient(self, share: Any, since: Array, to_end: Array, keep: Array) -> Array | None:
        """The cotangent of the log decay. since, to_end [h, c, k] and keep [h, 1, k]: the weighted
        rows times their cotangents."""
        ...


class NoDecay:
    """Every weight is one."""

    def __init__(self, prod: Products) -> None:
        self.prod = prod

    def since(self, x: Array) -> Array:
        return x

    to_end = keep = since

    def products(self, lefts: list[Array], right: Array) -> tuple[list[Array], Any]:
        found = _split_rows(self.prod.nt(_stack(lefts), right), len(lefts))
        causal = row(found[0].shape) >= column(found[0].shape)
        return [jnp.where(causal, x, 0) for x in found], (lefts, right)

    def pull(self, cotangents: list[Array], kept: Any) -> tuple[list[Array], Array, Any]:
        lefts, right = kept
        stacked = _stack(cotangents)
        d_lefts = _split_rows(self.prod.nn(stacked, right), len(lefts))
        return d_lefts, self.prod.tn(stacked, _stack(lefts)), None

    def gradient(self, share: Any, since: Array, to_end: Array, keep: Array) -> None:
        return None


class HeadDecay:
    """One log decay a token: g [h, 1, c], along the lanes; upto, after [c, c]: `patterns`."""

    def __init__(self, prod: Products, g: Float[Array, "h 1 c"], upto: Array, after: Array) -> None:
        self.prod, self.upto, self.after = prod, upto, after
        h, _, c = g.shape
        self.shape = (h, c, c)
        upto, after = (x.astype(jnp.float32)[None] * g * _LOG2_E for x in (upto, after))
        between = prod.sums_of_rows(self.upto, after)
        causal = row(self.shape) >= column(self.shape)
        self.weights = jnp.where(causal, jnp.exp2(between), 0)
        self.from_start = jnp.exp2(jnp.sum(upto, axis=2, keepdims=True))
        self.until_end = jnp.exp2(jnp.sum(after, axis=2, keepdims=True))

    def since(self, x: Array) -> Array:
        return self.from_start * x

    def to_end(self, x: Array) -> Array:
        return self.until_end * x

    def keep(self, state: Float[Array, "h v k"]) -> Float[Array, "h v k"]:
        return self.from_start[:, -1:] * state

    def products(self, lefts: list[Array], right: Array) -> tuple[list[Array], Any]:
        found = _split_rows(self.prod.nt(_stack(lefts), right), len(lefts))
        found = [self.weights * x for x in found]
        return found, (lefts, right, found)

    def pull(self, cotangents: list[Array], kept: Any) -> tuple[list[Array], Array, Any]:
        lefts, right, products = kept
        share = total([d * x for d, x in zip(cotangents, products, strict=True)])
        stacked = _stack([self.weights * d for d in cotangents])
        d_lefts = _split_rows(self.prod.nn(stacked, right), len(lefts))
        return d_lefts, self.prod.tn(stacked, _stack(lefts)), share

    def gradient(self, share: Any, since: Array, to_end: Array, keep: Array) -> Array:
        """[h, 1, c]: for gate l the share of pairs i >= l > j, of rows from l on, of rows before
        l, and of the state."""
        before = self.prod.shares_of_columns(share, self.after)
        since, to_end = (jnp.sum(x, axis=2, keepdims=True) for x in (since, to_end))
        rows = jnp.where(self.upto[None] > 0, before + since, to_end)
        return jnp.sum(rows, axis=1, keepdims=True) + jnp.sum(keep, axis=2, keepdims=True)


class KeyDecay:
    """One log decay a key and token: g [h, c, k].

    Blocks of m rows meet in pairs at their border, the point both decay towards; each level of
    pairs is one product, and the tensor [c, c, k] of the direct form is never made.
    """

    def __init__(self, prod: Products, g: Float[Array, "h c k"]) -> None:
        self.prod = prod
        levels, since, to_end = climb(g * _LOG2_E)
        self.levels = [jnp.exp2(x) for x in levels]
        self.from_start, self.until_end = jnp.exp2(since), jnp.exp2(to_end)
        self.meeting = meeting((g.shape[0], g.shape[1], g.shape[1]))

    def since(self, x: Array) -> Array:
        return self.from_start * x

    def to_end(self, x: Array) -> Array:
        return self.until_end * x

    def keep(self, state: Float[Array, "h v k"]) -> Float[Array, "h v k"]:
        return self.from_start[:, -1:] * state

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
        return descend(share, since, to_end, keep)


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
        self.weighted = _stack([prod.operand(weights * x) for x in lefts])
        self.weighted_right = prod.operand(weights * right)

    def add(self, products: list[Array]) -> list[Array]:
        """Levels come in ascending order: each overwrites what is too much of the one before."""
        found = _split_rows(self.prod.nt(self.weighted, self.weighted_right), len(self.lefts))
        m = 1 << self.level
        return [jnp.where(self.meeting >= m, x, o) for x, o in zip(found, products, strict=True)]

    def pull(
        self, cotangents: list[Array], d_lefts: list[Array], d_right: Array
    ) -> tuple[list[Array], Array, Array]:
        """The cotangents of lefts and right with this level's added, and the decay's share."""
        corner = in_corner(self.meeting, self.level)
        stacked = self.prod.operand(_stack([jnp.where(corner, d, 0) for d in cotangents]))
        more = _split_rows(self.prod.nn(stacked, self.weighted_right), len(self.lefts))
        more = [self.weights * x for x in more]
        right = self.weights * self.prod.tn(stacked, self.weighted)
        later = total([x * d for x, d in zip(self.lefts, more, strict=True)])
        mask = later_in_tile(tiles(later).shape, self.level)
        share = from_tiles(jnp.where(mask, tiles(later), tiles(self.right * right)))
        return [x + d for x, d in zip(d_lefts, more, strict=True)], d_right + right, share


class _BlockPairs:
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
        self.weighted = _stack([prod.operand(self.later * x) for x in self.lefts])
        idle = prod.operand(later_blocks(right, self.m))
        weighted = prod.operand(self.earlier * self.right)
        self.weighted_right = interleave(weighted, idle, self.m)

    def add(self, products: list[Array]) -> list[Array]:
        found = _split_rows(self.prod.nt(self.weighted, self.weighted_right), len(self.lefts))
        return [self._place(x, old) for x, old in zip(found, products, strict=True)]

    def _place(self, found: Array, old: Array) -> Array:
        later = jnp.where(self.meeting >= self.m, found, later_blocks(old, self.m))
        return interleave(earlier_blocks(old, self.m), later, self.m)

    def pull(
        self, cotangents: list[Array], d_lefts: list[Array], d_right: Array
    ) -> tuple[list[Array], Array, Array]:
        corner, m = in_corner(self.meeting, self.level), self.m
        masked = [jnp.where(corner, later_blocks(d, m), 0) for d in cotangents]
        stacked = self.prod.operand(_stack(masked))
        more = _split_rows(self.prod.nn(stacked, self.weighted_right), len(self.lefts))
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


def _stack(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=1)


def _split_rows(x: Array, parts: int) -> list[Array]:
    rows = x.shape[1] // parts
    return [x[:, i * rows : (i + 1) * rows] for i in range(parts)]
