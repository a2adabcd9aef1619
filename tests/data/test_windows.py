"""Segments, positions and weights on an example that is worked out by hand."""

import numpy as np
import pytest

from jaxlin.config.errors import DataError
from jaxlin.data.windows import all_windows, assemble, full_windows, window
from tests.data.helpers import stream

B = 256


def test_stream_reads_documents_between_separators():
    s = stream(3, 1, 2)
    assert len(s) == 10
    assert s.read(0, 10).tolist() == [B, 0, 1, 2, B, 3, B, 4, 5, B]
    for begin in range(11):
        for end in range(begin, 11):
            assert s.read(begin, end).tolist() == s.read(0, 10).tolist()[begin:end]


def test_batch_by_hand():
    s = stream(3, 1, 2)
    batch = assemble([window(s, i, 4) for i in range(3)], context=4, bos=B, reset=True)
    assert batch.tokens.tolist() == [[B, 0, 1, 2], [B, 3, B, 4], [5, 0, 0, 0]]
    assert batch.targets.tolist() == [[0, 1, 2, B], [3, B, 4, 5], [B, 0, 0, 0]]
    assert batch.segment_ids.tolist() == [[1, 1, 1, 1], [1, 1, 2, 2], [1, 0, 0, 0]]
    assert batch.positions.tolist() == [[0, 1, 2, 3], [0, 1, 0, 1], [0, 0, 0, 0]]
    assert batch.weights.tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 0, 0]]
    assert [a.dtype for a in batch] == [np.int32] * 4 + [np.float32]


def test_a_window_that_begins_inside_a_document():
    batch = assemble([window(stream(6, 3), 1, 4)], context=4, bos=B, reset=True)
    assert batch.tokens.tolist() == [[3, 4, 5, B]]
    assert batch.segment_ids.tolist() == [[1, 1, 1, 2]]
    assert batch.positions.tolist() == [[0, 1, 2, 0]]


def test_without_reset_a_window_is_one_segment():
    s = stream(3, 1, 2)
    batch = assemble([window(s, 1, 4), window(s, 2, 4)], context=4, bos=B, reset=False)
    assert batch.segment_ids.tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]
    assert batch.positions.tolist() == [[0, 1, 2, 3], [0, 0, 0, 0]]


@pytest.mark.parametrize("context", [1, 2, 3, 4, 8, 9, 100])
def test_windows_cover_every_target_once(context):
    s = stream(3, 1, 2)
    targets = [t for i in range(all_windows(s, context)) for t in window(s, i, context)[1:]]
    assert targets == s.read(1, len(s)).tolist()
    if context <= 9:
        assert full_windows(s, context) == 9 // context


def test_a_corpus_shorter_than_a_window_is_refused():
    with pytest.raises(DataError, match="made up: 10 tokens are fewer than one window of 11"):
        full_windows(stream(3, 1, 2), 10)


def test_an_id_outside_the_vocabulary_is_refused():
    s = stream(3, 1, 2)
    s.tokens[4] = 300
    with pytest.raises(DataError, match="token id 300 near token 5 is outside the vocabulary"):
        s.read(5, 9)
