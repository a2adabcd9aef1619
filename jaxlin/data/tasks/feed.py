"""Training on a task: its examples as the batches of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxlin.config.plain import plain, text
from jaxlin.config.registry import tasks
from jaxlin.config.sources.task import Task
from jaxlin.data.batch import Batch
from jaxlin.data.fingerprint import FORMAT
from jaxlin.data.tasks.base import Examples, TokenTask
from jaxlin.data.tasks.tokenizer import TaskTokenizer
from jaxlin.data.tokenizer import Tokenizer

WITNESS = 4  # examples whose digest shows that the generator is the same


@dataclass(frozen=True)
class TaskFeed:
    """The feed of a run on a task (jaxlin.data.feed). Each row is one example, without an end: no
    example comes twice. The held-out ones are the same for all seeds."""

    task: TokenTask
    tokenizer: Tokenizer
    fingerprint: dict[str, Any]
    description: str
    count: int  # held out
    reset: bool = True

    @property
    def held_out_name(self) -> str:
        """The task."""
        return f"{self.count} held-out examples of {text(self.task.config)}"

    def sampler(self, *, seed: int, batch: int, context: int) -> Sampler:
        """Row r of step s is example s * batch + r."""
        return Sampler(self.task, seed, batch, context)

    def held_out_batches(
        self, batch: int, context: int, limit: int | None = None, *, rows: slice = slice(None)
    ) -> Iterator[Batch]:
        """The held-out examples in order; the last batch is padded with rows of weight 0."""
        for step in range(-(-self.count // batch))[:limit]:
            picked = range(step * batch, (step + 1) * batch)[rows]
            real = max(0, min(picked.stop, self.count) - picked.start)
            found = self.task.examples(0, picked.start, max(real, 1), context, held_out=True)
            yield padded(batch_of(found), real, len(picked))

    def prompt(self, tokens: int) -> list[int]:
        """The first held-out example up to its first question."""
        length = max(tokens, shortest(self.task.config))
        found = self.task.examples(0, 0, 1, length, held_out=True)
        asked = int(np.flatnonzero(found.weights[0])[0])
        return found.tokens[0, : asked + 1].tolist()


@dataclass(frozen=True)
class Sampler:
    """Training examples by step."""

    task: TokenTask
    seed: int
    batch: int
    context: int

    def batch_at(self, step: int, rows: slice = slice(None)) -> Batch:
        """Rows `rows` of the batch of `step`; a host asks for its own rows only."""
        picked = range(step * self.batch, (step + 1) * self.batch)[rows]
        found = self.task.examples(self.seed, picked.start, len(picked), self.context)
        return batch_of(found)


def load(config: Task) -> TaskFeed:
    """The feed of a data config of kind task."""
    task: TokenTask = tasks.target(config.task.kind)(config.task)
    tokenizer = TaskTokenizer(task)
    return TaskFeed(
        task=task,
        tokenizer=tokenizer,
        fingerprint={
            "format": FORMAT,
            "task": plain(config.task),
            "examples": witness(task),
            "tokenizer": {"sha256": tokenizer.digest, "size": tokenizer.size},
        },
        description=f"task {text(config.task)}: {tokenizer.size} ids, every example is new; held "
        f"out: {config.task.examples} examples",
        count=config.task.examples,
    )


def witness(task: TokenTask) -> str:
    """A digest of the first examples: another one means that the task's code has changed."""
    found = task.examples(0, 0, WITNESS, shortest(task.config))
    both = np.stack([found.tokens, found.targets]).astype("<i4")
    return hashlib.sha256(both.tobytes()).hexdigest()


def shortest(config: Any) -> int:
    """A power of two, from 16 on, that the task's examples fit."""
    length = 16
    while config.problems(length) and length < 2**20:
        length *= 2
    return length


def batch_of(found: Examples) -> Batch:
    """Each example is a document."""
    rows, length = found.tokens.shape
    positions = np.broadcast_to(np.arange(length, dtype=np.int32), (rows, length)).copy()
    segments = np.ones((rows, length), np.int32)
    return Batch(found.tokens, found.targets, segments, positions, found.weights)


def padded(batch: Batch, real: int, rows: int) -> Batch:
    """The first `real` rows of a batch, and rows of padding up to `rows`."""
    fill = lambda a: np.pad(a[:real], ((0, rows - real), (0, 0)))  # noqa: E731
    return Batch(*map(fill, batch))
