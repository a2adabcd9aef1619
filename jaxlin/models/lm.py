"""The language model: embedding, blocks by pattern, final norm, head."""

from __future__ import annotations

from functools import reduce
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlin.config.errors import ConfigError
from jaxlin.config.exchange import Exchange
from jaxlin.config.model import LM
from jaxlin.config.pattern import resolve, segments
from jaxlin.mixers import init_cache as init_mixer_cache
from jaxlin.models.block import stack
from jaxlin.models.cross_entropy import chunked_cross_entropy
from jaxlin.models.depth import Depth
from jaxlin.nn import Embedding, Linear, RMSNorm, positions_in, show, site_adapters, tap
from jaxlin.nn.linear import Product

DEFAULT = Exchange()


class Cache(NamedTuple):
    """What generation remembers of a batch of rows."""

    layers: tuple[Any, ...]  # a segment of the depth: a layer of its unit: stacked mixer caches
    segment: Int[Array, " b"]  # document id of the last token; -1: nothing seen
    position: Int[Array, " b"]  # tokens seen of that document


class LanguageModel(nn.Module):
    """tokens -> hidden states; `logits` and `cross_entropy` read them.

    Taps: embed_out, those of every block, final_norm_out [b, t, d], logits [b, t, vocab].
    """

    config: LM
    exchange: Exchange = DEFAULT  # along a sequence that is split over devices

    def setup(self) -> None:
        c = self.config
        if c.vocab is None:
            raise ConfigError("model.vocab: not set; give a number or take the tokenizer's size")
        dtype = jnp.dtype(c.dtype)
        self.embed = Embedding(c.vocab, c.width, dtype, c.init_std)
        parts = segments(resolve(c))
        self.blocks = [stack(c, part.unit, part.repeats, self.exchange) for part in parts]
        self.depth = Depth(c)
        self.final_norm = RMSNorm(c.norm_eps)
        if not c.tied:
            self.unembed = Linear(c.vocab, ("embed", "vocab"), dtype, std=c.init_std)

    def __call__(
        self,
        tokens: Int[Array, "b t"],
        segment_ids: Int[Array, "b t"] | None = None,
        positions: Int[Array, "b t"] | None = None,
        cache: Cache | None = None,
    ) -> tuple[Float[Array, "b t d"], Cache | None]:
        """Hidden states after the final norm, and the cache after these tokens.

        segment_ids: documents packed in a row see nothing of each other; id 0 pads on the left.
        """
        if cache is not None:
            if segment_ids is None:
                segment_ids = jnp.broadcast_to(cache.segment[:, None], tokens.shape)
            if positions is None:
                positions = positions_in(segment_ids, cache.segment, cache.position)
        x = tap(self, "embed_out", self.embed(tokens))
        layers, rows = [], self.depth()
        for i, unit in enumerate(self.blocks):
            caches = (None,) * len(unit.mixers) if cache is None else cache.layers[i]
            x, after = unit(x, caches, segment_ids, positions, rows[i])
            layers.append(after)
        x = tap(self, "final_norm_out", self.final_norm(x))
        if self.is_initializing():
            self.logits(x)
        if cache is None or segment_ids is None or positions is None:
            return x, None
        return x, Cache(tuple(layers), segment_ids[:, -1], positions[:, -1] + 1)

    def logits(self, hidden: Float[Array, "b t d"]) -> Float[Array, "b t vocab"]:
        """Scores of the next token, float32."""
        return show(self, "logits", self.head()(hidden))

    def cross_entropy(
        self, hidden: Float[Array, "b t d"], targets: Int[Array, "b t"], chunk: int
    ) -> tuple[Float[Array, "b t"], Float[Array, "b t"]]:
        """Per token the negative log likelihood and the logsumexp, float32, `chunk` at a time."""
        return chunked_cross_entropy(self.head(), hidden, targets, chunk)

    def head(self) -> Product:
        """hidden states -> logits as a plain function, with the adapters of the site `logits`."""
        if self.config.tied:
            product = self.embed.product()
        else:
            product = self.unembed.product(self.config.width, jnp.float32)
        adapters = site_adapters(self, "logits")
        return lambda hidden: reduce(lambda h, adapter: adapter(h), adapters, product(hidden))


def build(config: LM, exchange: Exchange = DEFAULT) -> LanguageModel:
    """The module of a model config. `config.vocab` must be set."""
    return LanguageModel(config, exchange)


def init_cache(config: LM, batch: int, length: int) -> Cache:
    """An empty cache with room for `length` tokens a row."""
    dtype = jnp.dtype(config.dtype)

    def stacked(mixer: Any, repeats: int) -> Any:
        one = init_mixer_cache(mixer, config.width, batch, length, dtype)
        return jax.tree.map(lambda a: jnp.broadcast_to(a, (repeats, *a.shape)), one)

    layers = tuple(
        tuple(stacked(mixer, part.repeats) for mixer in part.unit)
        for part in segments(resolve(config))
    )
    return Cache(layers, jnp.full((batch,), -1, jnp.int32), jnp.zeros((batch,), jnp.int32))
