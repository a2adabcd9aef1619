"""Every task over tokens: examples by (seed, index) alone, right answers, labels that fit."""

from itertools import pairwise

import numpy as np
import pytest

from jaxlin.config.registry import tasks
from jaxlin.config.tasks.copying import Copy, Induction
from jaxlin.config.tasks.recall import MQAR, NeedleTokens
from jaxlin.config.tasks.states import ORDERS, Group, Parity
from jaxlin.data.tasks.states import multiplication

ALL = [
    MQAR(),
    MQAR(pairs=6, fewest=2, noise=True),
    MQAR(pairs=4, queries=9),
    NeedleTokens(pairs=5),
    Copy(),
    Copy(selective=True),
    Induction(),
    Parity(),
    Group(of="s3"),
]
T = 48


def built(config):
    return tasks.target(config.kind)(config)


def made(config, seed=3, first=0, count=6, length=T, **how):
    return built(config).examples(seed, first, count, length, **how)


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))


def test_all_kinds_over_tokens_are_here():
    ours = {k for k in tasks if tasks.config(k).__module__.startswith("jaxlin.")}
    assert {c.kind for c in ALL} == {k for k in ours if tasks.config(k).reads == "tokens"}


@pytest.mark.parametrize("config", ALL, ids=str)
def test_an_example_is_a_function_of_seed_and_index(config):
    whole = made(config)
    for index in range(6):
        one = made(config, first=index, count=1)
        assert equal([a[index : index + 1] for a in whole[:3]], one)
        for name, values in whole.labels.items():
            assert np.array_equal(values[index : index + 1], one.labels[name])
    assert not equal(whole, made(config, seed=4))
    assert not equal(whole, made(config, held_out=True))
    assert not np.array_equal(whole.tokens[0], whole.tokens[1])


@pytest.mark.parametrize("config", ALL, ids=str)
def test_ids_and_weights(config):
    found = made(config, count=20)
    assert found.tokens.min() >= 0 and found.tokens.max() < config.size
    assert found.targets.max() < config.size
    assert np.array_equal(found.weights, (found.targets > 0).astype(np.float32))
    assert (found.weights.sum(axis=1) > 0).all()
    task = built(config)
    assert len({task.word(i) for i in range(config.size)}) == config.size


@pytest.mark.parametrize("config", [MQAR(), MQAR(pairs=6, fewest=2, noise=True), MQAR(queries=11)])
def test_a_queried_key_is_answered_by_its_only_value(config):
    found = made(config, count=30)
    for tokens, targets, gaps, n in zip(
        found.tokens, found.targets, found.labels["gap"], found.labels["pairs"], strict=True
    ):
        keys, values = tokens[0 : 2 * n : 2], tokens[1 : 2 * n : 2]
        assert len(set(keys)) == len(set(values)) == n
        assert keys.max() < config.vocab // 2 <= values.min()
        queries = np.flatnonzero(targets)
        assert len(queries) == (config.queries or n) and queries.min() >= 2 * n
        for at in queries:
            assert targets[at] == dict(zip(keys, values, strict=True))[tokens[at]]
            assert tokens[at - gaps[at]] == tokens[at] and at - gaps[at] < 2 * n
        others = np.delete(tokens, [*range(2 * n), *queries])
        assert (others >= config.vocab // 2).all() if config.noise else not others.any()


def test_small_exponents_put_queries_close_and_one_spreads_them_evenly():
    def middle(power_a):
        config = MQAR(pairs=1, queries=1, power_a=power_a)
        found = made(config, count=400, length=102)
        return np.mean((np.flatnonzero(found.targets) % 102 - 2) // 2)

    assert middle(1.0) == pytest.approx(24.5, abs=2)  # of places 0 ... 49
    assert middle(0.01) < 16


def test_needles_stand_where_their_depth_says():
    config = NeedleTokens(pairs=5, depths=(0, 50, 100))
    found = made(config, count=3, length=31)
    ends = []
    for tokens, targets in zip(found.tokens, found.targets, strict=True):
        at = int(np.flatnonzero(tokens[:-1] == tokens[-1])[0])
        assert tokens[at + 1] == targets[-1] and not targets[:-1].any()
        ends.append(at)
    assert ends == [0, 14, 28]
    assert found.labels["depth"].tolist() == [0, 50, 100]


@pytest.mark.parametrize("selective", [False, True])
def test_what_was_shown_is_copied_in_order(selective):
    config = Copy(tokens=7, selective=selective)
    found = made(config, count=10)
    for tokens, targets in zip(found.tokens, found.targets, strict=True):
        shown = tokens[: T - 7]
        assert shown[shown > 0].tolist() == targets[-7:].tolist()
        assert tokens[T - 7] == 1 and tokens[T - 6 :].tolist() == targets[T - 7 : -1].tolist()
        assert selective or (shown[:7] > 0).all()


def test_induction_asks_for_what_followed_the_mark():
    found = made(Induction(), count=10)
    for tokens, targets, gap in zip(found.tokens, found.targets, found.labels["gap"], strict=True):
        first, last = np.flatnonzero(tokens == 1)
        assert last == T - 1 and gap == last - first and targets[-1] == tokens[first + 1]


def test_parity_counts_ones():
    found = made(Parity())
    assert np.array_equal(found.targets - 1, np.cumsum(found.tokens - 1, axis=1) % 2)


@pytest.mark.parametrize("name", ["z2", "z5", "s3", "a4", "s4", "a5"])
def test_the_tables_are_groups(name):
    table = multiplication(name)
    n = ORDERS[name]
    assert table.shape == (n, n)
    assert np.array_equal(table[0], np.arange(n)) and np.array_equal(table[:, 0], np.arange(n))
    assert all(sorted(row) == list(range(n)) for row in [*table, *table.T])
    a, b, c = np.random.default_rng(0).integers(0, n, (3, 200))
    assert np.array_equal(table[table[a, b], c], table[a, table[b, c]])
    assert np.array_equal(table, table.T) == (name[0] == "z")


def test_group_words_are_products_from_left_to_right():
    found = made(Group(of="s3"))
    table = multiplication("s3")
    for tokens, targets in zip(found.tokens - 1, found.targets - 1, strict=True):
        assert targets[0] == tokens[0]
        assert all(
            table[before, x] == after
            for (before, after), x in zip(pairwise(targets), tokens[1:], strict=True)
        )


def test_s5_has_120_elements():
    assert multiplication("s5").shape == (120, 120) and Group().size == 121
