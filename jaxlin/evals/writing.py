"""Scores of tasks in words: the greedy continuation of a prompt is searched for the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jaxlin.data.tasks.prompt import Prompt, TextTask, mark
from jaxlin.data.tokenizer import Tokenizer
from jaxlin.evals.generation import generate
from jaxlin.evals.marks import Marks
from jaxlin.evals.settings import Sampling
from jaxlin.models.lm import LanguageModel

GREEDY = Sampling(temperature=0.0)


def score(
    task: TextTask,
    model: LanguageModel,
    variables: Any,
    *,
    tokenizer: Tokenizer,
    length: int,
    rows: int,
) -> Marks:
    """One mark an example: the share of its answers that the continuation contains."""
    prompts = task.prompts(0, 0, task.config.examples, length, tokenizer)
    written = list(continuations(model, variables, prompts, tokenizer, length, rows))
    marks = [mark(prompt, text) for prompt, text in zip(prompts, written, strict=True)]
    labels = {name: np.array([p.labels[name] for p in prompts]) for name in prompts[0].labels}
    return Marks(np.array(marks), np.arange(len(marks)), labels)


def continuations(
    model: LanguageModel,
    variables: Any,
    prompts: Sequence[Prompt],
    tokenizer: Tokenizer,
    length: int,
    rows: int,
) -> Iterator[str]:
    """The greedy continuation of each prompt, `rows` at a time in a cache of one size."""
    most = max(prompt.max_new for prompt in prompts)
    room = 1 << (length + most - 1).bit_length()
    for first in range(0, len(prompts), rows):
        part = prompts[first : first + rows]
        # The last rows are filled up, so that one shape is compiled.
        full = [*part, *[part[0]] * (rows - len(part))]
        texts = [""] * rows
        for piece in generate(
            model,
            variables,
            [[tokenizer.bos, *tokenizer.encode(prompt.text).tolist()] for prompt in full],
            tokenizer=tokenizer,
            max_new=most,
            sampling=GREEDY,
            cache_length=room,
        ):
            texts[piece.row] += piece.text
        yield from texts[: len(part)]
