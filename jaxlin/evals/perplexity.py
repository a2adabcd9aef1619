"""Held-out loss: per token, per byte, per word, and by position in the document."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Float64, Int64

from jaxlin.config.errors import DataError
from jaxlin.config.model import Loss
from jaxlin.data.batch import Batch
from jaxlin.parallel.mesh import tracing_on
from jaxlin.parallel.place import place
from jaxlin.parallel.rules import batch_sharding


@dataclass
class Totals:
    """Sums over held-out targets; place p holds those with p + 1 tokens of their document before
    them in the window."""

    nll: Float64[np.ndarray, " t"]  # nats
    tokens: Int64[np.ndarray, " t"]
    bytes: int = 0

    def add(self, batch: Batch, nll: np.ndarray, token_bytes: np.ndarray) -> None:
        """Takes in the losses [b, t] of a batch; targets of weight 0 do not count."""
        real = batch.weights > 0
        place, t = batch.positions[real], len(self.nll)
        self.nll += np.bincount(place, weights=nll[real].astype(np.float64), minlength=t)
        self.tokens += np.bincount(place, minlength=t)
        self.bytes += int(token_bytes[batch.targets[real]].sum(dtype=np.int64))


@partial(jax.jit, static_argnames=("model", "chunk", "mesh"))
def token_losses(
    model: nn.Module,
    variables: Any,
    batch: Batch,
    chunk: int,
    mesh: jax.sharding.Mesh | None = None,
) -> Float[Array, "b t"]:
    """-log p(target) in nats, float32; on a mesh every device gets all of them."""
    with tracing_on(mesh):
        hidden, _ = model.apply(variables, batch.tokens, batch.segment_ids, batch.positions)
        nll, _ = model.apply(variables, hidden, batch.targets, chunk, method="cross_entropy")
    if mesh is None:
        return nll
    return jax.lax.with_sharding_constraint(nll, NamedSharding(mesh, PartitionSpec()))


def measure(
    model: nn.Module,
    variables: Any,
    batches: Iterable[Batch],
    loss_cfg: Loss,
    token_bytes: np.ndarray,
    mesh: jax.sharding.Mesh | None = None,
) -> Totals:
    """Sums in float64 of the float32 losses. Raises DataError when no target counts."""
    totals = None
    for batch in batches:
        rows = len(batch.tokens)
        placed = batch if mesh is None else place(batch, batch_sharding(mesh), slice(0, rows), rows)
        nll = np.asarray(token_losses(model, variables, placed, loss_cfg.chunk, mesh))
        if totals is None:
            t = batch.tokens.shape[1]
            totals = Totals(np.zeros(t), np.zeros(t, np.int64))
        totals.add(batch, nll, token_bytes)
    if totals is None or not totals.tokens.sum():
        raise DataError("held-out data: no token to predict; hold out more (data.held_out)")
    return totals


def evaluate(
    model: nn.Module,
    variables: Any,
    batches: Iterable[Batch],
    loss_cfg: Loss,
    token_bytes: np.ndarray,
    mesh: jax.sharding.Mesh | None = None,
    words: int | None = None,
) -> dict[str, Any]:
    """Figures of a model on held-out batches, as plain numbers; see `figures`.

    batches: whole batches, the same on every host. token_bytes [tokenizer size]: bytes of text that
    each id stands for. words: whitespace-separated words of the text that the targets spell.
    """
    return figures(measure(model, variables, batches, loss_cfg, token_bytes, mesh), words)


def figures(totals: Totals, words: int | None = None) -> dict[str, Any]:
    """loss: nats per token, over `tokens` (separators too: a document's end is predicted);
    bits_per_byte: the same sum in bits over `bytes` of text; loss_per_word: nats over `words`;
    by_position: loss of targets with `first` to `last` tokens of their document before them.

    A figure whose denominator is zero or not known is None.
    """
    nats, tokens = float(totals.nll.sum()), int(totals.tokens.sum())
    return {
        "loss": nats / tokens,
        "bits_per_byte": nats / math.log(2) / totals.bytes if totals.bytes else None,
        "loss_per_word": nats / words if words else None,
        "tokens": tokens,
        "bytes": totals.bytes,
        "words": words,
        "by_position": list(by_position(totals)),
    }


def by_position(totals: Totals) -> Iterator[dict[str, Any]]:
    """Ranges of context length 1, 2-3, 4-7, ... that hold any target."""
    for power in range(len(totals.nll).bit_length()):
        first, after = 2**power, min(2 ** (power + 1), len(totals.nll) + 1)
        tokens = int(totals.tokens[first - 1 : after - 1].sum())
        if tokens:
            loss = float(totals.nll[first - 1 : after - 1].sum()) / tokens
            yield {"first": first, "last": after - 1, "loss": loss, "tokens": tokens}
