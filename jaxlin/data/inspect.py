"""A batch as lines for a person: what the model will see."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jaxlin.data.batch import Batch
from jaxlin.data.tokenizer import Tokenizer, decode

EXCERPT = 60  # characters of a document that are shown


def describe(batch: Batch, tokenizer: Tokenizer, rows: int) -> list[str]:
    """Shapes and totals, then the documents of the first `rows` rows."""
    lines = [f"{name:12} {value.dtype} {list(value.shape)}" for name, value in _arrays(batch)]
    real, total = float(batch.weights.sum()), batch.weights.size
    documents = int(batch.segment_ids.max(axis=1).sum())
    size = int((tokenizer.token_bytes[batch.targets] * batch.weights).sum())
    text = f"; they stand for {size} bytes" if tokenizer.token_bytes.any() else ""
    lines.append(
        f"{real:.0f} of {total} targets have weight 1{text}; "
        f"{documents} documents or parts of one in {len(batch.tokens)} rows"
    )
    for row in range(min(rows, len(batch.tokens))):
        lines += _row(batch, row, tokenizer)
    return lines


def _arrays(batch: Batch) -> list[tuple[str, np.ndarray]]:
    return list(batch._asdict().items())


def _row(batch: Batch, row: int, tokenizer: Tokenizer) -> list[str]:
    segments = batch.segment_ids[row]
    lines = [f"row {row}"]
    for segment in range(1, int(segments.max()) + 1):
        places = np.flatnonzero(segments == segment)
        first = int(places[0])
        text = decode(tokenizer, batch.tokens[row, places])
        whole = batch.tokens[row, first] == tokenizer.bos or not tokenizer.token_bytes.any()
        start = "starts here" if whole else "goes on"  # a row of a task is one example
        lines.append(
            f"  segment {segment}  [{first}:{int(places[-1]) + 1}]  positions "
            f"{batch.positions[row, first]}..{batch.positions[row, places[-1]]}  {start}: "
            f"{text[:EXCERPT]!r}"
        )
    return [*lines, *_answers(batch, row, tokenizer)]


def _answers(batch: Batch, row: int, tokenizer: Tokenizer) -> Iterator[str]:
    """What is to be answered where, if only some of the row's targets count."""
    asked = batch.weights[row] > 0
    if asked.any() and not asked[batch.segment_ids[row] > 0].all():
        words = (
            f"{place}: {decode(tokenizer, batch.targets[row, [place]])}"
            for place in np.flatnonzero(asked)
        )
        yield f"  answers  {', '.join(words)}"
