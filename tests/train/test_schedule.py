"""Each schedule at chosen steps against its formula."""

import math

import pytest

from jaxlin.config.schedules.shapes import WSD, Constant, Cosine
from jaxlin.train.schedule import build


def at(config, steps, step):
    return float(build(config, steps)(step))


@pytest.mark.parametrize("config", [Constant(warmup=10), Cosine(warmup=10), WSD(warmup=10)])
def test_warm_up_is_linear_and_ends_at_the_peak(config):
    assert at(config, 100, 0) == pytest.approx(0.1)
    assert at(config, 100, 4) == pytest.approx(0.5)
    assert at(config, 100, 9) == at(config, 100, 10) == 1.0


def test_constant_stays():
    assert at(Constant(), 100, 0) == at(Constant(), 100, 99) == 1.0


def test_cosine():
    config = Cosine(warmup=10, final=0.1)
    for step in (10, 30, 77, 99):
        expected = 0.1 + 0.9 * (1 + math.cos(math.pi * (step - 10) / 89)) / 2
        assert at(config, 100, step) == pytest.approx(expected, abs=1e-6)
    assert at(config, 100, 99) == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("shape, power", [("linear", 1.0), ("sqrt", 0.5)])
def test_wsd(shape, power):
    config = WSD(warmup=10, decay=0.2, final=0.05, shape=shape)
    assert at(config, 100, 50) == at(config, 100, 79) == 1.0
    for step in (80, 90, 99):  # 20 steps of decay: 80 ... 99
        expected = 1 - 0.95 * ((step - 79) / 20) ** power
        assert at(config, 100, step) == pytest.approx(expected, abs=1e-6)
    assert at(config, 100, 99) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("config", [Cosine(warmup=5), WSD(warmup=5, decay=1.0)])
@pytest.mark.parametrize("steps", [1, 5, 6])
def test_short_runs_stay_within_0_and_1(config, steps):
    values = [at(config, steps, step) for step in range(steps)]
    assert all(0 <= value <= 1 for value in values) and values[0] > 0
