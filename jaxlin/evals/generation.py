"""Text from a model: tokens as they come, with the text that has become certain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jaxlin.data.tokenizer import Tokenizer
from jaxlin.evals.decoding import decode, vocabulary
from jaxlin.evals.settings import Sampling, Stop
from jaxlin.evals.stopping import RowText
from jaxlin.models.lm import LanguageModel


class Piece(NamedTuple):
    """One new token of one row."""

    row: int
    token: int
    text: str  # what is certain now: whole characters that cannot be the start of a stop string
    end: str | None  # why the row ends here: 'stop' | 'length'; None: it goes on


def generate(
    model: LanguageModel,
    variables: Any,
    prompts: Sequence[Sequence[int]],
    *,
    tokenizer: Tokenizer,
    max_new: int,
    sampling: Sampling | None = None,
    stop: Stop | None = None,
    cache_length: int | None = None,
) -> Iterator[Piece]:
    """Continues prompts of token ids, which begin with the separator token like every document.

    stop: None ends a row at the separator, where the model's document ends. Pieces of a row come in
    order, rows take turns; all ends when every row has. Raises ConfigError before anything is
    compiled.

        for piece in generate(model, variables, [[256, *b"def "]], tokenizer=t, max_new=64):
            print(piece.text, end="", flush=True)
    """
    stop = Stop(ids=(tokenizer.bos,)) if stop is None else stop
    steps = decode(
        model,
        variables,
        prompts,
        max_new=max_new,
        sampling=Sampling() if sampling is None else sampling,
        limit=min(tokenizer.size, vocabulary(model)),
        cache_length=cache_length,
    )
    rows = [RowText(tokenizer.decode_stream(), stop) for _ in prompts]
    return _pieces(steps, rows, max_new)


def _pieces(steps: Iterator[Any], rows: list[RowText], max_new: int) -> Iterator[Piece]:
    open_rows = set(range(len(rows)))
    for index, tokens in enumerate(steps):
        for i in sorted(open_rows):
            token = int(tokens[i])
            text, stopped = rows[i].push(token)
            end = "stop" if stopped else "length" if index == max_new - 1 else None
            if end == "length":
                rest, stopped = rows[i].flush()
                text, end = text + rest, "stop" if stopped else end
            if end:
                open_rows.remove(i)
            yield Piece(i, token, text, end)
        if not open_rows:
            return
