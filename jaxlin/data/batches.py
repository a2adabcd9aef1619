"""Batches of a token stream. A batch is a function of (seed, step): no iterator state exists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import grain
import numpy as np

from jaxlin.config.errors import DataError
from jaxlin.data import feed
from jaxlin.data.batch import Batch
from jaxlin.data.prefetch import Prefetch
from jaxlin.data.stream import TokenStream
from jaxlin.data.windows import all_windows, assemble, full_windows, window


class Sampler:
    """Windows in an order that is shuffled anew in each epoch; epochs follow without a gap.

    Raises DataError when the stream has fewer windows than a batch.
    """

    def __init__(
        self, stream: TokenStream, *, seed: int, batch: int, context: int, reset: bool = True
    ):
        self._stream, self._batch, self._context, self._reset = stream, batch, context, reset
        # Grain takes 32 bits; SeedSequence spreads seeds of any size over them.
        seed = int(np.random.SeedSequence(seed).generate_state(1)[0])
        windows = full_windows(stream, context, batch)
        self._order = grain.MapDataset.range(windows).seed(seed).shuffle().repeat()

    def batch_at(self, step: int, rows: slice = slice(None)) -> Batch:
        """Rows `rows` of the batch of `step`; a host asks for its own rows only."""
        picked = range(step * self._batch, (step + 1) * self._batch)[rows]
        order = (cast(int, self._order[i]) for i in picked)
        windows = (window(self._stream, int(i), self._context) for i in order)
        return assemble(windows, context=self._context, bos=self._stream.bos, reset=self._reset)


def batch_at(
    stream: TokenStream,
    *,
    seed: int,
    step: int,
    batch: int,
    context: int,
    rows: slice = slice(None),
    reset: bool = True,
) -> Batch:
    """The batch of one step: windows of `context` tokens and their targets, `batch` rows of them.

    Raises DataError when the stream has fewer windows than a batch.
    """
    sampler = Sampler(stream, seed=seed, batch=batch, context=context, reset=reset)
    return sampler.batch_at(step, rows)


def batches(
    stream: TokenStream,
    start: int,
    *,
    seed: int,
    batch: int,
    context: int,
    rows: slice = slice(None),
    reset: bool = True,
    stop: int | None = None,
    depth: int = 2,
) -> Prefetch[Batch]:
    """The batches of steps start, start + 1, ... (before `stop`), made ahead by a thread.

    The result is an iterator and a context manager that reports the seconds waited. Raises
    DataError at once when the stream has fewer windows than a batch.
    """
    sampler = Sampler(stream, seed=seed, batch=batch, context=context, reset=reset)
    return ahead(sampler, start, rows=rows, stop=stop, depth=depth)


def ahead(
    sampler: feed.Sampler,
    start: int,
    *,
    rows: slice = slice(None),
    stop: int | None = None,
    depth: int = 2,
) -> Prefetch[Batch]:
    """The batches of steps start, start + 1, ... (before `stop`), made ahead by a thread."""

    def make() -> Iterator[Batch]:
        step = start
        while stop is None or step < stop:
            yield sampler.batch_at(step, rows)
            step += 1

    return Prefetch(make(), depth)


def eval_batches(
    stream: TokenStream,
    batch: int,
    context: int,
    limit: int | None = None,
    *,
    rows: slice = slice(None),
    reset: bool = True,
) -> Iterator[Batch]:
    """All windows in order, at most `limit` batches; every target comes once.

    The tail window and the tail batch are padded with weights 0, so that all shapes are equal.
    Raises DataError when nothing is held out.
    """
    if not len(stream):
        raise DataError(
            f"{stream.where}: there is no text to evaluate on; set data.held_out above 0 (and read "
            "more text), or name files of their own (data.eval_paths, data.eval_path)"
        )
    count = -(-all_windows(stream, context) // batch)
    for step in range(count if limit is None else min(limit, count)):
        picked = range(step * batch, (step + 1) * batch)[rows]
        read = (window(stream, i, context) for i in picked)
        yield assemble(read, context=context, bos=stream.bos, reset=reset)
