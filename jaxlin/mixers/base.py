"""The mixer contract.

    y, cache = mixer(x, segment_ids=..., positions=..., cache=None)

x, y [b, t, d] in the compute dtype; segment_ids [b, t] (tokens see only their own document; None:
one document); positions [b, t] in the document; cache: a pytree of fixed shape from `init_cache`,
or None. With a cache the tokens continue what it has seen, and a new cache of the same shape comes
back: t > 1 is a prefill, t = 1 a decoding step. Without one the returned cache is None.

A mixer is a Linen module with the fields of `Mixer`, a static method `init_cache`, and a config
class that is registered under the kind's name (see jaxlin.config.registry). Ops that mix tokens run
through `on_mesh`, so that batch, heads and time may be split over devices. One that differs from
layer to layer has a method `rows` and is called with its own row as `depth=...`.

What a recurrent mixer has of the following it shows (jaxlin.nn.show) under these names, by which
jaxlin.analysis.state finds it:

    log_decay       [h], [b, t, h] or [b, t, h, k]
    write_strength  [b, t, h], the beta of a delta rule
    output_gate     [b, t, h, v]
    final_state     [b, h, k, v]

Where channels are not grouped into heads: log_decay and output_gate [b, t, d], final_state [b, d].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlin.config.exchange import Exchange
from jaxlin.config.registry import mixers
from jaxlin.config.run import BATCH_AXES, HEAD_AXES
from jaxlin.nn import Linear, ShortConv, positions_in
from jaxlin.nn.slices import time_axes
from kernels_pallas import per_device
from kernels_pallas.exchange import Exchange as Travel

# (name, init, axes, shape) -> a float32 parameter of the model [l, *shape], a row for each layer. A
# name that is asked for again is the same parameter, whichever kind of mixer asks.
DepthParameter = Callable[[str, Any, tuple[str | None, ...], tuple[int, ...]], Array]


class Mixer(nn.Module):
    """What every mixer is built with."""

    config: Any
    width: int
    dtype: Any = jnp.float32
    std: float = 0.02  # of the initial weights
    out_std: float = 0.02  # of the output projection's
    exchange: Exchange = Exchange()  # along a split sequence

    def linear(self, name: str, features: int, axis: str = "heads", **kwargs: Any) -> Linear:
        """A projection from the model width at the site `name`."""
        settings = dict(dtype=self.dtype, std=self.std) | kwargs
        return Linear(features, ("embed", axis), name=name, **settings)

    @staticmethod
    def rows(config: Any, width: int, layers: int, parameter: DepthParameter) -> Any:
        """What a layer has to know of its depth: a pytree of [l, ...], or None (the default).

        Row i is what the mixer, where it is layer i of `layers`, is called with as `depth`. Layers
        of other kinds have rows too, which nobody reads.
        """
        return None

    def output(self, y: Float[Array, "b t *inner"]) -> Float[Array, "b t d"]:
        """Joins the heads and projects back to the model width (site `o`)."""
        y = y.reshape(*y.shape[:2], -1)
        return Linear(self.width, ("heads", "embed"), self.dtype, std=self.out_std, name="o")(y)

    def on_mesh(self, op: Callable[..., tuple[Array, Array]], t: int) -> Callable[..., Any]:
        """An op of kernels_pallas that runs on each device's part of batch, heads and time."""
        wire = None if self.exchange.wire == "float32" else self.exchange.wire
        how = Travel(self.exchange.method, self.exchange.factors, wire)
        return per_device(op, batch=BATCH_AXES, heads=HEAD_AXES, time=time_axes(t), how=how)


def build(config: Any, width: int, **settings: Any) -> Mixer:
    """The module of a mixer config, for a model of this width."""
    return mixers.target(config.kind)(config, width, **settings)


def rows(config: Any, width: int, layers: int, parameter: DepthParameter) -> Any:
    """The rows of a mixer config, one for each layer of a model; None where it needs none."""
    return mixers.target(config.kind).rows(config, width, layers, parameter)


def init_cache(config: Any, width: int, batch: int, length: int, dtype: Any) -> Any:
    """An empty cache of the mixer, with room for `length` tokens."""
    return mixers.target(config.kind).init_cache(config, width, batch, length, dtype)


class RecurrentCache(NamedTuple):
    """What a linear mixer remembers: the same size however long the past."""

    state: Float[Array, "b *shape"]  # S [b, h, k, v] or h [b, d]; float32 (float64 where y is)
    tails: dict[str, Float[Array, "b w d"]]  # last inputs of each short convolution
    segments: Int[Array, "b w"]  # document ids of the last tokens; -1: nothing seen
    position: Int[Array, " b"] | None = None  # of the next token, where positions matter


def recurrent_cache(
    state: tuple[int, ...], tails: dict[str, int], conv: int, dtype: Any, positions: bool = False
) -> RecurrentCache:
    """Empty: a state of that shape; for each name in `tails` conv-1 inputs of that width.

    `positions`: counts the tokens of the last document.
    """
    batch, before = state[0], max(conv - 1, 1)
    return RecurrentCache(
        state=jnp.zeros(state, jnp.promote_types(dtype, jnp.float32)),
        tails={name: jnp.zeros((batch, conv - 1, size), dtype) for name, size in tails.items()},
        segments=jnp.full((batch, before), -1, jnp.int32),
        position=jnp.zeros((batch,), jnp.int32) if positions else None,
    )


def continued_state(
    cache: RecurrentCache | None, segment_ids: Int[Array, "b t"] | None
) -> Float[Array, "b *shape"] | None:
    """The state to start from: the cache's, or zero in rows where a new document starts."""
    if cache is None or segment_ids is None:
        return None if cache is None else cache.state
    same = cache.segments[:, -1] == segment_ids[:, 0]
    return jnp.where(same[:, *(None,) * (cache.state.ndim - 1)], cache.state, 0)


def last_segments(
    cache: RecurrentCache, segment_ids: Int[Array, "b t"] | None, t: int
) -> Int[Array, "b w"]:
    """The cache's document ids after t more tokens (of the same document if no ids are given)."""
    if segment_ids is None:
        segment_ids = jnp.repeat(cache.segments[:, -1:], t, axis=1)
    return jnp.concatenate([cache.segments, segment_ids], 1)[:, -cache.segments.shape[1] :]


def positions_after(
    segment_ids: Int[Array, "b t"] | None,
    t: int,
    last_segment: Int[Array, " b"],
    position: Int[Array, " b"],
) -> Int[Array, "b t"]:
    """Positions of t tokens, the first of which has `position` if it continues `last_segment`."""
    if segment_ids is None:
        return position[:, None] + jnp.arange(t, dtype=jnp.int32)
    return positions_in(segment_ids, last_segment, position)


def positions_of(
    x: Float[Array, "b t d"],
    segment_ids: Int[Array, "b t"] | None,
    cache: RecurrentCache | None,
) -> Int[Array, "b t"]:
    """Position of each token in its document, counted on from the cache's."""
    if cache is None or cache.position is None:
        return positions_in(
            jnp.zeros(x.shape[:2], jnp.int32) if segment_ids is None else segment_ids
        )
    return positions_after(segment_ids, x.shape[1], cache.segments[:, -1], cache.position)


def remembered(
    cache: RecurrentCache | None,
    state: Float[Array, "b *shape"],
    tails: dict[str, Float[Array, "b w d"] | None],
    segment_ids: Int[Array, "b t"] | None,
    t: int,
    positions: Int[Array, "b t"] | None = None,
) -> RecurrentCache | None:
    """The cache after t more tokens; None where there is none. Tails that are None are left out."""
    if cache is None:
        return None
    kept = {name: tail for name, tail in tails.items() if tail is not None}
    after = None if cache.position is None or positions is None else positions[:, -1] + 1
    return RecurrentCache(state, kept, last_segments(cache, segment_ids, t), after)


class Convolved(NamedTuple):
    """A projection after its short convolution, and the tail to remember."""

    y: Float[Array, "b t *d"]
    tail: Float[Array, "b w d"] | None


def convolve(
    mixer: Mixer,
    name: str,
    x: Float[Array, "b t d"],
    segment_ids: Int[Array, "b t"] | None,
    cache: RecurrentCache | None,
) -> Convolved:
    """Short convolution `{name}_conv` over a projection, continued from the cache."""
    module = ShortConv(mixer.config.conv, "heads", mixer.std, name=f"{name}_conv")
    if cache is None:
        return Convolved(module(x, segment_ids), None)
    tail = cache.tails[name]
    if segment_ids is None:
        segment_ids = jnp.repeat(cache.segments[:, -1:], x.shape[1], axis=1)
    y = module(x, segment_ids, tail, cache.segments)
    return Convolved(y, jnp.concatenate([tail, x], axis=1)[:, x.shape[1] :])


def project(
    mixer: Mixer,
    name: str,
    x: Float[Array, "b t d"],
    width: int,
    heads: int,
    segment_ids: Int[Array, "b t"] | None,
    cache: RecurrentCache | None,
) -> Convolved:
    """Projection `name` [b, t, heads, width / heads], after its convolution if `config.conv`.

    Without a convolution the product writes heads, the layout of the kernels.
    """
    if not mixer.config.conv:
        return Convolved(mixer.linear(name, width, heads=heads)(x), None)
    y, tail = convolve(mixer, name, mixer.linear(name, width)(x), segment_ids, cache)
    return Convolved(y.reshape(*y.shape[:2], heads, -1), tail)
