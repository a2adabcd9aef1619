"""A batch is a function of (seed, step) alone; evaluation sees every target once."""

import threading

import numpy as np
import pytest

from jaxlin.config.errors import DataError
from jaxlin.data.batches import batch_at, batches, eval_batches
from jaxlin.data.build import build
from jaxlin.data.prefetch import Prefetch
from jaxlin.data.tokenizer import load_tokenizer
from tests.data.helpers import TEXTS, byte_level_tokenizer, documents, stream

HOW = {"seed": 3, "batch": 8, "context": 5}
LONG = stream(40, 3, 17, 90)


def same(a, b) -> bool:
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def joined(parts):
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


@pytest.mark.parametrize("hosts", [1, 2, 4, 8])
@pytest.mark.parametrize("step", [0, 1, 7, 10_000])
def test_rows_of_any_number_of_hosts_make_the_same_batch(hosts, step):
    whole = batch_at(LONG, step=step, **HOW)
    n = 8 // hosts
    parts = [batch_at(LONG, step=step, rows=slice(i * n, i * n + n), **HOW) for i in range(hosts)]
    assert same(whole, joined(parts))


def test_iterating_from_any_step_equals_random_access():
    for start in (0, 4):
        with batches(LONG, start, stop=start + 6, **HOW) as made:
            for step, batch in enumerate(made, start=start):
                assert same(batch, batch_at(LONG, step=step, **HOW))
        assert step == start + 5


def windows_of(steps, seed):
    rows = [batch_at(LONG, seed=seed, step=s, batch=3, context=5).tokens for s in steps]
    return [tuple(row) for batch in rows for row in batch]


def test_an_epoch_is_every_window_once_and_each_is_shuffled_anew():
    # 155 tokens give 30 windows of 5 targets, which are 10 batches of 3.
    epochs = [windows_of(range(10 * e, 10 * e + 10), seed=0) for e in range(2)]
    in_order = [tuple(LONG.read(5 * i, 5 * i + 5)) for i in range(30)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(in_order)
    assert epochs[0] != epochs[1] and epochs[0] != in_order


def test_seeds_differ_and_may_be_large():
    orders = [windows_of(range(10), seed) for seed in (0, 1, 2**32, 2**70)]
    assert len({tuple(order) for order in orders}) == 4


def test_a_batch_larger_than_an_epoch_is_refused():
    with pytest.raises(DataError, match="13 tokens are 2 windows of 5, fewer than one batch of 3"):
        batch_at(stream(11), seed=0, step=0, batch=3, context=5)
    rows = [tuple(row) for row in batch_at(stream(11), seed=0, step=0, batch=2, context=5).tokens]
    assert len(set(rows)) == 2


def test_a_corpus_without_a_full_window_is_refused_at_once():
    with pytest.raises(DataError, match="fewer than one window"):
        batches(stream(3), 0, seed=0, batch=1, context=5)


@pytest.mark.parametrize("batch,context", [(1, 1), (3, 7), (8, 16), (2, 500)])
@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_evaluation_counts_every_byte_once(tmp_path, kind, batch, context):
    name = "bytes" if kind == "bytes" else str(byte_level_tokenizer(tmp_path / "t.json"))
    tokenizer = load_tokenizer(name)
    assert tokenizer.exact_bytes
    corpus = build(documents(TEXTS), tokenizer, 0.0, where="texts")
    made = list(eval_batches(corpus.train, batch, context))
    assert all(b.tokens.shape == (batch, context) for b in made)
    counted = sum((tokenizer.token_bytes[b.targets] * b.weights).sum() for b in made)
    assert counted == sum(len(text.encode()) for text in TEXTS)
    assert sum(b.weights.sum() for b in made) == len(corpus.train) - 1


def test_evaluation_rows_of_hosts_and_limit():
    whole = list(eval_batches(LONG, 4, 7))
    parts = [list(eval_batches(LONG, 4, 7, rows=slice(2 * i, 2 * i + 2))) for i in range(2)]
    assert len(whole) == 6  # 23 windows
    assert all(same(w, joined(p)) for w, p in zip(whole, zip(*parts, strict=True), strict=True))
    assert [same(a, b) for a, b in zip(eval_batches(LONG, 4, 7, 2), whole[:2], strict=True)] == [
        True,
        True,
    ]


def test_evaluating_on_nothing_is_refused():
    empty = build(documents(["some text"]), load_tokenizer("bytes"), 0.0, where="w").held_out
    with pytest.raises(DataError, match=r"w \(held out\): there is no text.*data.held_out"):
        next(eval_batches(empty, 1, 4))


def test_prefetch_keeps_the_order_and_measures_waiting():
    gate = threading.Event()

    def items():
        yield 0
        gate.wait()
        yield from range(1, 50)

    with Prefetch(items(), depth=3) as made:
        assert next(made) == 0
        before = made.waited
        threading.Timer(0.05, gate.set).start()
        assert list(made) == list(range(1, 50))
    # The timer may fire before the wait is measured, never much before.
    assert made.waited - before > 0.01


def test_prefetch_passes_errors_on_after_the_items_before_them():
    def items():
        yield 1
        raise DataError("broken shard")

    with Prefetch(items()) as made:
        assert next(made) == 1
        for _ in range(2):
            with pytest.raises(DataError, match="broken shard"):
                next(made)


def test_an_error_while_reading_surfaces_in_the_iterator():
    s = stream(100)
    s.tokens[50] = 999
    with batches(s, 0, seed=0, batch=4, context=5) as made:
        with pytest.raises(DataError, match="token id 999"):
            for _ in range(20):
                next(made)


def test_closing_ends_the_thread_of_an_endless_iterator():
    made = batches(LONG, 0, **HOW)
    next(made)
    made.close()
    assert not made._thread.is_alive()
    with pytest.raises(StopIteration):
        next(made)
