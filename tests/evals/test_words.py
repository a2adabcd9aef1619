import numpy as np

from jaxlin.data.batch import Batch
from jaxlin.data.tokenizer import ByteTokenizer
from jaxlin.evals.words import target_words


def test_targets_spell_the_text_and_separators_end_words():
    text = [*b"two wo", *b"rds", 256, *b"third \xc3", *b"\xa9t\xc3\xa9", 0, 0, 0]
    targets = np.array(text, np.int32).reshape(2, -1)
    weights = np.ones(targets.shape, np.float32)
    weights[1, -3:] = 0
    batch = Batch(targets, targets, targets, targets, weights)
    assert target_words([batch], ByteTokenizer()) == 4
    assert target_words([batch._replace(weights=0 * weights)], ByteTokenizer()) == 0


def test_a_word_may_span_rows_and_batches():
    one, two = (np.frombuffer(b, np.uint8).astype(np.int32)[None] for b in (b"a bc", b"de f"))
    ones = np.ones(one.shape, np.float32)
    batches = [Batch(t, t, t, t, ones) for t in (one, two)]
    assert target_words(batches, ByteTokenizer()) == len(b"a bcde f".split())
