"""Verdicts on made-up numbers: each finding appears, does not, and cannot be told."""

import random
from itertools import permutations

import pytest

from jaxlin.study import findings
from jaxlin.study.findings import APPEARS, NOT, UNKNOWN, loss_hardly_moves, recall_rises
from jaxlin.study.grid.cells import said
from jaxlin.study.scores import Score, pooled, ranks, score, spearman

MIXERS = "abcdef"
RATIOS = ("pure", "3:1", "1:1", "full")


def seeds(mean, spread, n=3):
    """n runs of this mean and standard deviation."""
    return [mean] if n == 1 else [mean + spread * (i - (n - 1) / 2) for i in range(n)]


def table(mean, spread=0.01, n=3, mixers=MIXERS, ratios=RATIOS):
    """mean(place of the mixer, place of the ratio)."""
    return {
        m: {r: seeds(mean(i, j), spread, n) for j, r in enumerate(ratios)}
        for i, m in enumerate(mixers)
    }


def ranks_(values, draws=200):
    return findings.ranks_do_not_carry(values, draws)


def rises(values):
    return recall_rises(values, {m: {r: said(r) for r in cells} for m, cells in values.items()})


def test_recall_that_rises():
    found = rises(table(lambda i, j: 0.2 + 0.2 * j))
    assert found.verdict == APPEARS and [row[-1] for row in found.rows] == [APPEARS] * 6
    _, shares, runs, rho, rise, reach, _ = found.rows[0]
    assert (shares, runs) == (4, 12) and rho == pytest.approx(0.97, abs=0.03)
    assert rise == pytest.approx(0.6) and reach == pytest.approx(2 * 0.01 * (2 / 3) ** 0.5)


@pytest.mark.parametrize("mean", [lambda i, j: 0.5, lambda i, j: 0.9 - 0.2 * j])
def test_recall_that_does_not_rise(mean):
    assert rises(table(mean)).verdict == NOT


@pytest.mark.parametrize(
    "values",
    [
        table(lambda i, j: 0.3 + 0.1 * j, spread=0.3),  # noise
        table(lambda i, j: 0.3 + 0.1 * j, n=1),  # no spread
        table(lambda i, j: 0.2 + 0.5 * j, ratios=RATIOS[:2]),  # two shares are no trend
        table(lambda i, j: 0.97 + 0.005 * j),  # too easy
        table(lambda i, j: 0.02),  # nothing is learnt
        table(lambda i, j: 0.2 + 0.2 * j * (-1) ** i),  # half of the mixers each way
        table(lambda i, j: (0.2, 0.8, 0.7, 0.4)[j]),  # up, then down
        {"a": {"pure": [], "3:1": [0.5]}},
        {},
    ],
)
def test_recall_of_which_nothing_can_be_told(values):
    assert rises(values).verdict == UNKNOWN


def test_two_thirds_of_the_mixers_decide():
    mixed = table(lambda i, j: 0.2 + 0.2 * j * (i < 4))
    found = rises(mixed)
    assert found.verdict == APPEARS and found.why.endswith("4 of 6 mixers, not for 2, open for 0")
    assert rises(table(lambda i, j: 0.2 + 0.2 * j * (i < 3))).verdict == UNKNOWN


def test_a_loss_that_hardly_moves():
    found = loss_hardly_moves(table(lambda i, j: 3 + i / 10 + 0.004 * j + (j == 3)))
    assert found.verdict == APPEARS  # softmax alone, a whole nat away, is no ratio
    _, ratios, runs, mean, spread, reach, relation, share, _ = found.rows[0]
    assert (ratios, runs, mean) == (3, 9, pytest.approx(3.004))
    assert spread == pytest.approx(0.008) and relation == pytest.approx(0.8)
    assert reach == pytest.approx(2 * 0.01 * (2 / 3) ** 0.5) and share == pytest.approx(
        0.008 / 3.004
    )


def test_a_loss_that_moves():
    assert loss_hardly_moves(table(lambda i, j: 3 - 0.2 * j)).verdict == NOT


@pytest.mark.parametrize(
    "values",
    [
        table(lambda i, j: 3.0, spread=0.1),  # as large as what would matter
        table(lambda i, j: 3 - 0.2 * j, n=1),
        table(lambda i, j: 3 - 0.2 * j, ratios=("pure", "3:1", "full")),  # two ratios
        table(lambda i, j: 3 - 0.03 * j, spread=0.03),  # on both sides of 2%
        {"a": {"full": [1.0]}},
        {},
    ],
)
def test_a_loss_of_which_nothing_can_be_told(values):
    assert loss_hardly_moves(values).verdict == UNKNOWN


def order(*hybrid, spread=0.01, n=3):
    """Pure mixers in order, hybrids in this one."""
    places = lambda i, j: 0.1 * (i if j == 0 else hybrid[i])  # noqa: E731
    return table(places, spread, n, mixers=MIXERS[: len(hybrid)])


def test_ranks_that_say_nothing():
    found = ranks_(order(3, 1, 5, 0, 4, 2))
    assert found.verdict == APPEARS and "6 mixers" in found.why
    assert [row[0] for row in found.rows] == ["3:1", "1:1", "mean of all"]
    assert found.rows[-1][2] == pytest.approx(spearman(range(6), (3, 1, 5, 0, 4, 2)))


def test_ranks_that_predict():
    found = ranks_(order(0, 1, 2, 3, 4, 5))
    assert found.verdict == NOT and found.rows[-1][2:4] == [1.0, 1.0]


@pytest.mark.parametrize(
    "values",
    [
        order(0, 1, 2, 3, 4, 5, spread=0.3),  # seeds alone make the order
        order(0, 1, 2, 3, 4, 5, n=1),
        order(2, 1, 0),  # three mixers
        table(lambda i, j: 0.1 * i, ratios=("pure", "full")),  # no hybrids
        table(lambda i, j: 0.5, spread=0.0),  # no order
        {},
    ],
)
def test_ranks_of_which_nothing_can_be_told(values):
    assert ranks_(values).verdict == UNKNOWN


def test_only_ratios_that_all_mixers_have_are_compared():
    values = order(0, 1, 2, 3, 4, 5)
    values["a"]["6:1"] = [9.0, 9.1]
    values["g"] = {"full": [1.0, 1.0]}
    found = ranks_(values)
    assert found.rows[-1][:2] == ["mean of all", 6] and found.verdict == NOT


def test_the_same_numbers_have_the_same_verdict():
    chance = random.Random(3)
    values = table(lambda i, j: chance.random(), spread=0.2)
    assert ranks_(values, draws=200) == ranks_(values, draws=200)


@pytest.mark.parametrize("n", [4, 5, 6, 7])
def test_what_chance_reaches_in_one_case_of_twenty(n):
    """By all orders there are."""
    found = [spearman(range(n), order) for order in permutations(range(n))]
    reached = sum(rho >= findings.critical(n) - 1e-9 for rho in found) / len(found)
    below = max(rho for rho in found if rho < findings.critical(n) - 1e-9)
    more = sum(rho >= below - 1e-9 for rho in found) / len(found)
    assert reached <= 0.05 < more
    assert findings.critical(12) == pytest.approx(1.645 / 11**0.5)


def test_scores():
    assert score([]) is None and score([2.0]) == Score(2.0, None, 1)
    assert score([1.0, 3.0]) == Score(2.0, pytest.approx(2**0.5), 2)
    assert pooled([[1.0], []]) is None
    assert pooled([[1.0, 3.0], [0.0, 0.0, 0.0]]) == pytest.approx((2 / 3) ** 0.5)
    assert spearman([1, 1], [1, 2]) is None
    assert ranks({"a": 1.0, "b": 3.0, "c": 3.0}, higher=True) == {"a": 3, "b": 1, "c": 1}
    assert ranks({"a": 1.0, "b": 3.0, "c": 3.0}, higher=False) == {"a": 1, "b": 2, "c": 2}
