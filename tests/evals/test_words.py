import numpy as np
import pytest

from jaxlin.data.batch import Batch
from jaxlin.data.tokenizer import ByteTokenizer
from jaxlin.evals.words import count_words, target_words


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([], 0),
        (["", "  ", "\n"], 0),
        (["one two"], 2),
        (["o", "ne t", "wo"], 2),
        (["one", " ", "two", "", "three"], 2),
        ([" one ", " two"], 2),
        (list("a bc  d\ne"), 4),
    ],
)
def test_a_word_may_span_pieces(pieces, words):
    assert count_words(pieces) == words == len("".join(pieces).split())


def test_targets_spell_the_text_and_separators_end_words():
    text = [*b"two wo", *b"rds", 256, *b"third \xc3", *b"\xa9t\xc3\xa9", 0, 0, 0]
    targets = np.array(text, np.int32).reshape(2, -1)
    weights = np.ones(targets.shape, np.float32)
    weights[1, -3:] = 0
    batch = Batch(targets, targets, targets, targets, weights)
    assert target_words([batch], ByteTokenizer()) == 4
