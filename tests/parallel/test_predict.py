"""Seconds from counts, worked out by hand."""

import pytest

from jaxlin.parallel.census import Collective
from jaxlin.parallel.predict import Prediction, predict, seconds
from jaxlin.parallel.topology import Span
from kernels_pallas.hardware import CHIPS, HOP

V5E = CHIPS["TPU v5 lite"]
PLACES = {
    "data": Span(16, (16,), False),
    "seq": Span(4, (4,), False),
    "tensor": Span(1, (1,), False),
}


def collective(kind="all-gather", axis="data", ranks=16, count=1, received=50_000_000, **more):
    fields = dict(places=0, in_flight=False, cycles=0, source="", op="") | more
    return Collective(kind, axis, ranks, count, received, **fields)


def test_a_joined_dimension_has_two_links():
    assert seconds(collective(), V5E, PLACES) == pytest.approx(8 * HOP + 0.5e-3)


def test_an_open_one_has_one_link():
    one = collective(axis="seq", ranks=4)
    assert seconds(one, V5E, PLACES) == pytest.approx(3 * HOP + 1e-3)


def test_a_permutation_crosses_links_one_after_the_other():
    one = collective("collective-permute", "data", places=4)
    assert seconds(one, V5E, PLACES) == pytest.approx(4 * (HOP + 1e-3))


def test_blocks_of_a_scan_follow_one_another():
    one = collective("all-scan", "seq", ranks=4, received=5_000_000, blocks=10)
    assert seconds(one, V5E, PLACES) == pytest.approx(12 * (HOP + 1e-5))


def test_an_axis_of_one_device_costs_nothing():
    assert seconds(collective(axis="tensor", ranks=1), V5E, PLACES) == 0


def test_a_step_adds_what_is_exposed_and_overlaps_the_rest():
    found = predict(
        flops=int(V5E.flops * 1e-3),
        hbm=int(V5E.hbm_bandwidth * 2e-3),
        collectives=[collective(count=2), collective(count=2, in_flight=True)],
        useful=V5E.flops * 1e-3,
        chip=V5E,
        places=PLACES,
    )
    once = 2 * (8 * HOP + 0.5e-3)
    assert (found.compute, found.memory) == pytest.approx((1e-3, 2e-3))
    assert found.step == pytest.approx(2e-3 + once)
    assert found.mfu == pytest.approx(1e-3 / found.step)


@pytest.mark.parametrize(
    "seconds, bound",
    [
        ((3, 2, 1, 1), "compute"),
        ((1, 2, 1, 1), "HBM"),
        ((1, 2, 3, 1), "collectives in flight"),
        ((1, 2, 1, 4), "exposed collectives"),
    ],
)
def test_what_bounds_a_step(seconds, bound):
    assert Prediction(*seconds, 0.0, 0.0).bound == bound
