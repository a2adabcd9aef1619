"""Scores of tasks over tokens: the likeliest id at each place where something is asked.

The tokens before a place are those of the example (teacher forcing). Up to the first wrong answer
that is what greedy decoding reads, so all answers of an example are right exactly where greedy
decoding writes them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from jaxlin.data.batch import Batch
from jaxlin.data.tasks.base import Examples, TokenTask
from jaxlin.data.tasks.feed import batch_of, padded
from jaxlin.evals.marks import Marks
from jaxlin.parallel.mesh import tracing_on
from jaxlin.parallel.place import place
from jaxlin.parallel.rules import batch_sharding


@partial(jax.jit, static_argnames=("model", "limit", "mesh"))
def likeliest(
    model: nn.Module,
    variables: Any,
    batch: Batch,
    places: Int[Array, "b n"],
    limit: int,
    mesh: jax.sharding.Mesh | None = None,
) -> Int[Array, "b n"]:
    """The likeliest id below `limit` after each of the places; on a mesh every device gets all."""
    with tracing_on(mesh):
        hidden, _ = cast(
            Any, model.apply(variables, batch.tokens, batch.segment_ids, batch.positions)
        )
        picked = jnp.take_along_axis(hidden, places[..., None], axis=1)
        logits = cast(Array, model.apply(variables, picked, method="logits"))
    real = jnp.arange(logits.shape[-1]) < limit
    best = jnp.argmax(jnp.where(real, logits, -jnp.inf), axis=-1)
    if mesh is None:
        return best
    return jax.lax.with_sharding_constraint(best, NamedSharding(mesh, PartitionSpec()))


def score(
    task: TokenTask,
    model: nn.Module,
    variables: Any,
    *,
    length: int,
    rows: int,
    mesh: jax.sharding.Mesh | None = None,
) -> Marks:
    """Marks of the held-out examples at this length, 1 or 0 an answer. One shape, `rows` rows, is
    compiled, whatever their number."""
    found = task.examples(0, 0, task.config.examples, length, held_out=True)
    asked = found.weights > 0
    right = np.zeros(asked.shape, bool)
    for first, batch, places in _batches(found, rows):
        placed = (batch, places) if mesh is None else _place(batch, places, mesh)
        best = np.asarray(likeliest(model, variables, *placed, task.config.size, mesh))
        real = slice(first, min(first + rows, len(right)))
        row = np.arange(real.stop - first)[:, None]
        at = places[: len(row)]
        right[real][row, at] = best[: len(row)] == found.targets[real][row, at]
    example = np.broadcast_to(np.arange(len(asked))[:, None], asked.shape)
    return Marks(right[asked].astype(np.float64), example[asked], _labels(found, asked))


def _batches(found: Examples, rows: int) -> Iterator[tuple[int, Batch, np.ndarray]]:
    """First example, its batch, and as many places in each row as the fullest row asks for."""
    asked = found.weights > 0
    most = int(asked.sum(axis=1).max())
    # Places that ask come first; what fills up a row is not looked at.
    places = np.argsort(~asked, axis=1, kind="stable")[:, :most].astype(np.int32)
    whole = batch_of(found)
    for first in range(0, len(asked), rows):
        part = Batch(*(array[first : first + rows] for array in whole))
        at = places[first : first + rows]
        fill = np.pad(at, ((0, rows - len(at)), (0, 0)))
        yield first, padded(part, len(at), rows), fill


def _place(batch: Batch, places: np.ndarray, mesh: jax.sharding.Mesh) -> tuple[Any, Any]:
    rows, split = len(places), batch_sharding(mesh)
    along = NamedSharding(mesh, PartitionSpec(*split.spec[:1]))
    return place(batch, split, slice(0, rows), rows), place(places, along, slice(0, rows), rows)


def _labels(found: Examples, asked: np.ndarray) -> dict[str, np.ndarray]:
    """Labels of each answer; those of an example are those of all its answers."""
    spread = lambda v: np.broadcast_to(v[:, None] if v.ndim == 1 else v, asked.shape)  # noqa: E731
    return {name: spread(values)[asked] for name, values in found.labels.items()}
