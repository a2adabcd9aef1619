"""Grids of the kernels: how a call is cut, and which block of each array a grid step sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float


class Cut(NamedTuple):
    """How a sequence is cut: `groups` of `chunks` of `rows` tokens; `heads` a grid step."""

    heads: int
    groups: int
    chunks: int
    rows: int
    scale: float
    short: bool  # bfloat16 products
    interpret: Any
    vmem_bytes: int
    together: int  # heads a turn of the backward pass, where it takes turns


class Tokens(NamedTuple):
    """Inputs along time, heads first, padded; numbers a token lie along the lanes."""

    q: Float[Array, "b h t k"]
    k: Float[Array, "b h t k"]
    v: Float[Array, "b h t v"]
    log_decay: Any  # [b, h, n, 1, c] (one a head), [b, h, t, k] (one a key) or None
    beta: Any  # [b, h, n, 1, c], or None: the additive rule


def turns(cut: Cut, tokens: Tokens, together: int) -> list[slice]:
    """Which heads of a step are worked on together, one turn after the other.

    All, so that products of one fill the waits of another. An additive state with a decay a key has
    many values a head, of which registers hold few: at most `together` heads go at once.
    """
    decay = tokens.log_decay
    if tokens.beta is not None or decay is None or len(decay.shape) != 4:
        together = cut.heads
    together = -(-cut.heads // -(-cut.heads // together))  # in turns of nearly equal size
    return [slice(s, min(s + together, cut.heads)) for s in range(0, cut.heads, together)]


# (grid indices) -> (batch, block of heads, chunk)
Where = Callable[..., tuple[Any, Any, Any]]


def whole(x: Array | None) -> pl.BlockSpec | None:
    if x is None:
        return None
    return pl.BlockSpec(x.shape, lambda *_: (0,) * x.ndim)


def specs(cut: Cut, tokens: Tokens, where: Where) -> Tokens:
    return jax.tree.map(lambda x: spec(cut, x, where), tokens)


def spec(cut: Cut, x: Array, where: Where) -> pl.BlockSpec:
    """The block of one chunk of [b, h, t, x] or [b, h, n, 1, c]."""
    if x.ndim == 5:
        return pl.BlockSpec((1, cut.heads, 1, *x.shape[3:]), lambda *i: (*where(*i), 0, 0))
    return pl.BlockSpec((1, cut.heads, cut.rows, x.shape[3]), lambda *i: (*where(*i), 0))


def state_spec(cut: Cut, state: Array) -> pl.BlockSpec:
    return pl.BlockSpec((1, cut.heads, *state.shape[2:]), lambda b, h, *_: (b, h, 0, 0))


def group_spec(cut: Cut, shape: tuple[int, ...], group: Callable[..., Any]) -> pl.BlockSpec:
    block = (1, cut.heads, 1, *shape[3:])
    return pl.BlockSpec(block, lambda *i: (i[0], i[1], group(*i), 0, 0))


def like(x: Array, shape: tuple[int, ...] | None = None) -> jax.ShapeDtypeStruct:
    """Inside `shard_map` an output varies over the axes that the inputs vary over."""
    kind = jax.typeof(x).manual_axis_type
    return jax.ShapeDtypeStruct(shape or x.shape, x.dtype, manual_axis_type=kind)


def params(cut: Cut, sequential: int) -> pltpu.CompilerParams:
    semantics = ("parallel", "parallel") + ("arbitrary",) * sequential
    return pltpu.CompilerParams(
        dimension_semantics=semantics, vmem_limit_bytes=cut.vmem_bytes or None
    )


def name(pass_: str, tokens: Tokens) -> str:
    decay = {0: "no_decay", 5: "head_decay", 4: "key_decay"}[getattr(tokens.log_decay, "ndim", 0)]
    return f"{'additive' if tokens.beta is None else 'delta'}_{decay}_{pass_}"
