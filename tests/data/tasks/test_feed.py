"""A run on a task: batches by (seed, step), held-out examples once, changes that are seen."""

import numpy as np
import pytest

from jaxlin.config.errors import ConfigError, DataError
from jaxlin.config.registry import tasks
from jaxlin.config.sources.task import Task
from jaxlin.config.tasks.copying import Copy
from jaxlin.config.tasks.recall import MQAR
from jaxlin.data import corpus, feed
from jaxlin.data.fingerprint import difference
from jaxlin.data.tasks.base import TokenTask
from jaxlin.data.tokenizer import Tokenizer, decode, model_vocab

CONFIG = Task(task=MQAR(pairs=3, examples=10))
FED = feed.load(CONFIG)


def test_it_is_a_feed_with_a_tokenizer():
    assert isinstance(FED, feed.Feed) and isinstance(FED.tokenizer, Tokenizer)
    assert model_vocab(None, FED.tokenizer) == 64


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_rows_of_any_number_of_hosts_make_the_same_batch(hosts):
    sampler = FED.sampler(seed=5, batch=8, context=32)
    whole, n = sampler.batch_at(7), 8 // hosts
    parts = [sampler.batch_at(7, slice(i * n, i * n + n)) for i in range(hosts)]
    for i, array in enumerate(whole):
        assert np.array_equal(array, np.concatenate([part[i] for part in parts]))


def test_no_training_example_comes_twice_or_is_held_out():
    sampler = FED.sampler(seed=0, batch=8, context=32)
    trained = {tuple(row) for step in range(40) for row in sampler.batch_at(step).tokens}
    held = {tuple(row) for batch in FED.held_out_batches(4, 32) for row in batch.tokens}
    assert len(trained) == 320 and not trained & held


def test_each_held_out_example_comes_once_and_the_rest_is_padding():
    batches = list(FED.held_out_batches(4, 32))
    assert [batch.tokens.shape for batch in batches] == [(4, 32)] * 3
    real = np.concatenate([batch.tokens[batch.weights.any(axis=1)] for batch in batches])
    assert np.array_equal(real, FED.task.examples(0, 0, 10, 32, held_out=True).tokens)
    assert not batches[-1].segment_ids[2:].any() and not batches[-1].weights[2:].any()
    assert len(list(FED.held_out_batches(4, 32, 2))) == 2
    mine = [batch.tokens for batch in FED.held_out_batches(4, 32, rows=slice(2, 4))]
    assert all(np.array_equal(a, b.tokens[2:]) for a, b in zip(mine, batches, strict=True))


def test_another_task_and_another_generator_are_seen(monkeypatch):
    other = feed.load(Task(task=MQAR(pairs=4, examples=10)))
    changed = [path for path, _, _ in difference(FED.fingerprint, other.fingerprint)]
    assert "task.pairs" in changed and "examples" in changed

    cls = tasks.target("mqar")
    draw = cls.pairs
    monkeypatch.setattr(cls, "pairs", lambda *args: tuple(a[::-1] for a in draw(*args)))
    again = feed.load(CONFIG)
    assert [path for path, _, _ in difference(FED.fingerprint, again.fingerprint)] == ["examples"]


def test_rows_are_words_and_words_are_rows():
    row = FED.sampler(seed=0, batch=1, context=16).batch_at(0).tokens[0]
    text = decode(FED.tokenizer, row)
    assert text.startswith("k") and " _" in text
    assert np.array_equal(FED.tokenizer.encode(text), row)
    stream = FED.tokenizer.decode_stream()
    assert "".join(map(stream.push, row.tolist())).split() == text.split()
    with pytest.raises(DataError, match="'k99' is none of its 64 words"):
        FED.tokenizer.encode("k1 k99")


def test_a_prompt_ends_with_a_question():
    ids = FED.prompt(32)
    assert 6 < len(ids) <= 32 and ids[-1] in ids[0:6:2]


def test_no_text_where_text_is_needed():
    with pytest.raises(ConfigError, match="'task' holds no text"):
        corpus.load(CONFIG)


class Constant(TokenTask):
    pass


def test_a_task_without_examples_says_so():
    with pytest.raises(NotImplementedError):
        Constant(Copy()).examples(0, 0, 1, 16)
