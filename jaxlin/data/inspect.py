"""A batch as lines for a person: what the model will see."""

from __future__ import annotations

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
    lines.append(
        f"{real:.0f} of {total} targets have weight 1; they stand for {size} bytes; "
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
        start = "starts here" if batch.tokens[row, first] == tokenizer.bos else "goes on"
        lines.append(
            f"  segment {segment}  [{first}:{int(places[-1]) + 1}]  positions "
            f"{batch.positions[row, first]}..{batch.positions[row, places[-1]]}  {start}: "
            f"{text[:EXCERPT]!r}"
        )
    return lines
