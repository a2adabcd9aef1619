"""Curves that are drawn: thinned without losing extremes or gaps."""

import math
import random

import pytest

from jaxlin.study.series import points, smooth, thin, xy


def test_values_gaps_and_what_was_not_recorded():
    records = [
        {"step": 1, "loss": 2.0, "deep": {"q50": 4}},
        {"step": 2, "loss": None},
        {"step": 3},
        {"step": 4, "loss": math.inf, "deep": 3},
    ]
    assert points(records, "loss") == [(1, 2.0), (2, None), (4, None)]
    assert points(records, "deep", "q50") == [(1, 4.0)]


@pytest.mark.parametrize("count", [0, 1, 1999, 2000, 2001, 10_003])
def test_thinned_curves_keep_their_extremes_and_their_order(count):
    drawn = random.Random(count)
    curve = [(i, drawn.random()) for i in range(count)]
    if count > 1:
        curve[count // 3] = (count // 3, 9.0)  # a spike of one step
        curve[count // 2] = (count // 2, None)
    kept = thin(curve)
    assert len(kept) <= 2000 and kept == sorted(set(kept), key=lambda p: p[0])
    assert set(kept) <= set(curve)
    if count > 1:
        assert (count // 3, 9.0) in kept and (count // 2, None) in kept
    if count <= 2000:
        assert kept == curve


def test_smoothing_is_a_centred_mean_that_keeps_gaps():
    curve = [(i, float(i % 2)) for i in range(100)]
    curve[50] = (50, None)
    found = smooth(curve, share=0.04)  # two points to each side
    assert found[20] == (20, pytest.approx((0 + 1 + 0 + 1 + 0) / 5))
    assert found[50] == (50, None)
    assert found[51] == (51, pytest.approx((1 + 1 + 0 + 1) / 4))
    assert found[0] == (0, pytest.approx(1 / 3))


def test_numbers_are_written_with_six_digits():
    assert xy([(1, 1 / 3), (2, None)]) == {"x": [1, 2], "y": [0.333333, None]}
