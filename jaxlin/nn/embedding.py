"""Token embedding, also as the tied head."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlin.nn.linear import Product, site_adapters
from jaxlin.nn.param import param
from jaxlin.projections.dense import dense


class Embedding(nn.Module):
    """Rows of a float32 table [vocab, d], given in `dtype`."""

    vocab: int
    features: int
    dtype: Any = jnp.float32
    std: float = 0.02

    def setup(self) -> None:
        init, shape = nn.initializers.normal(self.std), (self.vocab, self.features)
        self.embedding = param(self, "embedding", init, ("vocab", "embed"), shape)

    def __call__(self, tokens: Int[Array, "b t"]) -> Float[Array, "b t d"]:
        deltas = [delta.delta() for delta in site_adapters(self, "embedding")]
        table = sum(deltas, start=self.embedding)
        # Taken before it is cast, so that gradients of repeated tokens add up in float32.
        return jnp.take(table, tokens, axis=0).astype(self.dtype)

    def product(self) -> Product:
        """x -> x E^T in float32, the head that shares its weights with the embedding."""
        deltas = [delta.delta() for delta in site_adapters(self, "embedding")]
        table = sum(deltas, start=self.embedding)
        return lambda x: dense(x, table.T, None, self.dtype, jnp.float32)
