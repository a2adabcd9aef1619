"""Answers by the likeliest id: those of greedy decoding with the cache, on any number of rows."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxlin.config.run import Mesh
from jaxlin.config.tasks.copying import Copy
from jaxlin.config.tasks.recall import MQAR, NeedleTokens
from jaxlin.data.batch import Batch
from jaxlin.data.tasks import copying, recall
from jaxlin.data.tasks.base import Examples
from jaxlin.evals.answers import likeliest, score
from jaxlin.evals.decoding import decode
from jaxlin.evals.marks import summary
from jaxlin.evals.settings import Sampling
from jaxlin.evals.tasks import Chosen, Setting, scores
from jaxlin.parallel.mesh import make
from tests.evals.tiny import HYBRID, VOCAB, tiny

GREEDY = Sampling(temperature=0.0)
T, N, ROWS = 24, 4, 4


def greedy(prompts, count, limit=VOCAB):
    model, variables = tiny(HYBRID)
    steps = decode(model, variables, prompts, max_new=count, sampling=GREEDY, limit=limit)
    return np.stack(list(steps), axis=1)


class Echo(copying.Copy):
    """Asks for what the model writes after the mark by itself; in every other example, for
    something else from the second token on."""

    def examples(self, seed, first, count, length, *, held_out=False):
        found = super().examples(seed, first, count, length, held_out=held_out)
        ask = length - N
        written = greedy(found.tokens[:, : ask + 1].tolist(), N, self.config.size)
        written[1::2, 1] = written[1::2, 1] % (self.config.size - 1) + 1  # another id, not 0
        tokens, targets = found.tokens.copy(), found.targets.copy()
        targets[:, ask:], tokens[:, ask + 1 :] = written, written[:, :-1]
        return Examples(tokens, targets, found.weights, found.labels)


@pytest.mark.slow
def test_all_right_is_what_greedy_decoding_writes():
    model, variables = tiny(HYBRID)
    task = Echo(Copy(symbols=VOCAB - 2, tokens=N, examples=6))
    found = score(task, model, variables, length=T, rows=ROWS)
    exact = [bool((found.marks[found.example == i] == 1).all()) for i in range(6)]
    assert exact == [True, False] * 3
    right = found.marks.reshape(6, N)
    assert right[:, 0].all() and not right[1::2, 1].any()
    assert summary(found)["exact"] == 0.5


def test_each_answer_is_the_next_token_of_greedy_decoding():
    model, variables = tiny(HYBRID)
    config = MQAR(pairs=3, queries=3, vocab=VOCAB, examples=3)
    found = recall.MQAR(config).examples(0, 0, 3, T, held_out=True)
    places = np.stack([np.flatnonzero(row) for row in found.weights]).astype(np.int32)
    ones = np.ones((3, T), np.int32)
    positions = np.broadcast_to(np.arange(T, dtype=np.int32), (3, T))
    batch = (found.tokens, found.targets, ones, positions, found.weights)
    best = likeliest(model, variables, Batch(*batch), places, VOCAB)
    prompts = [
        row[: at + 1].tolist() for row, ats in zip(found.tokens, places, strict=True) for at in ats
    ]
    assert np.array_equal(np.asarray(best).ravel(), greedy(prompts, 1)[:, 0])


@pytest.mark.parametrize("rows", [1, 8])
def test_how_many_rows_are_scored_together_makes_no_difference(rows):
    model, variables = tiny(HYBRID)
    task = recall.MQAR(MQAR(pairs=4, fewest=1, vocab=VOCAB, examples=5))
    found = score(task, model, variables, length=T, rows=rows)
    some = score(task, model, variables, length=T, rows=ROWS)
    assert np.array_equal(found.marks, some.marks)
    assert found.labels.keys() == {"pairs", "gap"} and (found.labels["gap"] > 0).all()


def test_every_evaluation_uses_one_program():
    model, variables = tiny(HYBRID)
    task = recall.MQAR(MQAR(pairs=4, vocab=VOCAB, examples=10))
    score(task, model, variables, length=T, rows=ROWS)
    before = likeliest._cache_size()
    score(task, model, jax.tree.map(lambda x: x + 1, variables), length=T, rows=ROWS)
    assert likeliest._cache_size() == before


def test_on_a_mesh_the_same_is_right():
    model, variables = tiny(HYBRID)
    task = Echo(Copy(symbols=VOCAB - 2, tokens=N, examples=6))
    mesh = make(Mesh(data=2, allow_unused_devices=True))
    alone = score(task, model, variables, length=T, rows=ROWS)
    spread = score(task, model, variables, length=T, rows=ROWS, mesh=mesh)
    assert np.array_equal(alone.marks, spread.marks)


def test_a_map_is_scored_at_each_length():
    model, variables = tiny(HYBRID)
    config = NeedleTokens(vocab=VOCAB, pairs=3, depths=(0, 100), sizes=(16, T), examples=4)
    task = recall.NeedleTokens(config)
    setting = Setting(model, variables, None, ROWS)  # type: ignore[arg-type]
    (record,) = scores([Chosen("needle", task, config.lengths(64))], setting)
    assert record["task"] == "needle" and record["lengths"] == [16, T]
    assert record["examples"] == 8 and record["grid"]["rows"] == [0, 100]
    assert replace(config, sizes=()).lengths(64) == (16, 32, 64)
