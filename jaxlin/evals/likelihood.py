"""Log likelihoods of given continuations, many at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float

from jaxlin.data.batch import Batch
from jaxlin.parallel.mesh import tracing_on
from jaxlin.parallel.place import place
from jaxlin.parallel.rules import batch_sharding

SHORTEST = 32  # tokens; shorter rows share one compiled program
SLICE = 32  # tokens of a row whose logits exist at one time


class Pair(NamedTuple):
    """Token ids of what is given and of what is scored. Neither is empty."""

    context: Sequence[int]
    continuation: Sequence[int]


class Likelihood(NamedTuple):
    """Sum of log p in nats, and whether each token was the likeliest one."""

    log_p: float
    greedy: bool


@partial(jax.jit, static_argnames=("model", "mesh"))
def token_scores(
    model: nn.Module, variables: Any, batch: Batch, mesh: jax.sharding.Mesh | None = None
) -> tuple[Float[Array, "b t"], Bool[Array, "b t"]]:
    """log p(target), float32, and whether the target is the likeliest id; on a mesh every device
    gets all."""
    with tracing_on(mesh):
        hidden, _ = cast(
            Any, model.apply(variables, batch.tokens, batch.segment_ids, batch.positions)
        )

        def part(pair: tuple[Array, Array]) -> tuple[Array, Array]:
            logits = cast(Array, model.apply(variables, pair[0], method="logits"))
            log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
            picked = jnp.take_along_axis(log_p, pair[1][..., None], axis=-1)[..., 0]
            return picked, jnp.argmax(logits, axis=-1) == pair[1]

        found = jax.lax.map(part, (_slices(hidden), _slices(jnp.asarray(batch.targets))))
    log_p, best = (jnp.moveaxis(x, 0, 1).reshape(batch.tokens.shape) for x in found)
    if mesh is None:
        return log_p, best
    return jax.lax.with_sharding_constraint((log_p, best), NamedSharding(mesh, PartitionSpec()))


def _slices(x: Array) -> Array:
    """[b, t, ...] -> [t / SLICE, b, SLICE, ...]."""
    b, t, *rest = x.shape
    return jnp.moveaxis(x.reshape(b, t // SLICE, SLICE, *rest), 1, 0)


def likelihoods(
    model: nn.Module,
    variables: Any,
    pairs: Sequence[Pair],
    *,
    rows: int,
    most: int,
    mesh: jax.sharding.Mesh | None = None,
) -> list[Likelihood]:
    """That of each pair, in order. Rows of like length go together.

    Of what is longer than `most` tokens the beginning of the context is left out, as the harness
    does; of a continuation that is longer by itself, its beginning as well.
    """
    order = sorted(range(len(pairs)), key=lambda i: (-_length(pairs[i], most), i))
    found: dict[int, Likelihood] = {}
    for first in range(0, len(order), rows):
        picked = order[first : first + rows]
        part = [pairs[i] for i in picked]
        batch = _batch(part, rows, most)
        total = len(batch.tokens)
        placed = batch
        if mesh is not None:
            placed = place(batch, batch_sharding(mesh), slice(0, total), total)
        log_p, best = map(np.asarray, token_scores(model, variables, placed, mesh))
        found.update(zip(picked, _sums(batch, log_p, best), strict=False))
    return [found[i] for i in range(len(pairs))]


def _length(pair: Pair, most: int) -> int:
    return min(len(pair.context) + len(pair.continuation) - 1, most)


def _batch(pairs: Sequence[Pair], rows: int, most: int) -> Batch:
    """Rows padded on the right to a power of two; weights 1 on what is scored."""
    longest = max(_length(pair, most) for pair in pairs)
    t = max(SHORTEST, 1 << (longest - 1).bit_length())
    tokens, targets, segments = (np.zeros((rows, t), np.int32) for _ in range(3))
    weights = np.zeros((rows, t), np.float32)
    for row, pair in enumerate(pairs):
        ids = [*pair.context, *pair.continuation][-(most + 1) :]
        n, scored = len(ids) - 1, min(len(pair.continuation), len(ids) - 1)
        tokens[row, :n], targets[row, :n], segments[row, :n] = ids[:-1], ids[1:], 1
        weights[row, n - scored : n] = 1
    positions = np.arange(t, dtype=np.int32) * segments
    return Batch(tokens, targets, segments, positions.astype(np.int32), weights)


def _sums(batch: Batch, log_p: np.ndarray, best: np.ndarray) -> Iterator[Likelihood]:
    for row, asked in enumerate(batch.weights > 0):
        total = float(log_p[row, asked].astype(np.float64).sum())
        yield Likelihood(total, bool(best[row, asked].all()))


def rolling(ids: Sequence[int], bos: int, most: int) -> list[Pair]:
    """A document as pairs that score each of its tokens once: windows of `most` tokens, each led by
    the token before it, the first by the separator."""
    whole = [bos, *ids]
    return [
        Pair(whole[first : first + 1], whole[first + 1 : first + 1 + most])
        for first in range(0, len(ids), most)
    ]
