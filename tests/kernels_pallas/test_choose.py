"""The choice of an exchange: bytes by formula, and the order of methods on each chip."""

import pytest

from kernels_pallas.exchange import Exchange
from kernels_pallas.exchange.choose import MIB, choose, estimates
from kernels_pallas.exchange.traffic import State, traffic
from kernels_pallas.hardware import CHIPS, distance, guess_part, guess_torus

V5E, V5P = "TPU v5 lite", "TPU v5"
ONE = State(16, 128, 128, "head")  # a mebibyte


def mib(method, ranks, state=ONE):
    return traffic(Exchange(method), ranks, state).total / MIB


@pytest.mark.parametrize(
    "ranks, gathered, levels, steps",
    [
        (8, 7, 4, 4),
        (16, 15, 6, 5),
        (64, 63, 14, 7),
        (256, 255, 30, 9),
    ],
)
def test_bytes_grow_with_ranks_as_the_formulas_say(ranks, gathered, levels, steps):
    """States of a mebibyte; a decay a head of all 16 is one row more, of 128 numbers."""
    row = 128 * 4 / MIB
    assert mib("all_gather", ranks) == gathered * (1 + row) + gathered
    assert mib("hierarchical", ranks) == levels * (1 + row) + levels
    assert mib("log_step", ranks) == 2 * steps * (1 + row)


def test_nothing_travels_from_one_device_or_when_off():
    assert traffic(Exchange("all_gather"), 1, ONE).total == 0
    assert traffic(Exchange("off"), 8, ONE).total == 0


def test_matrices_travel_again_in_the_backward_pass():
    dense = State(4, 64, 128, "dense")
    sent = traffic(Exchange("all_gather"), 8, dense)
    assert sent.forward == sent.backward == 7 * 4 * 64 * (128 + 64) * 4


def test_bfloat16_halves_states_and_sends_transitions_in_two_parts():
    state = State(4, 64, 128, "key")
    wide, short = (
        traffic(Exchange("all_gather", None, wire), 8, state) for wire in (None, "bfloat16")
    )
    assert short.backward * 2 == wide.backward == 7 * 4 * 64 * 128 * 4
    assert short.forward == 7 * 4 * 64 * (128 + 2) * 2


def test_usual_slices():
    assert guess_torus(CHIPS[V5E], 256) == (16, 16)
    assert guess_torus(CHIPS[V5P], 512) == (8, 8, 8)
    assert guess_torus(CHIPS[V5E], 7) == (7,)


def test_a_joined_dimension_is_crossed_the_shorter_way():
    assert distance(15, CHIPS[V5E], (16,)) == 1
    assert distance(7, CHIPS[V5E], (8,)) == 7  # v5e joins ends at 16 only
    assert distance(17, CHIPS[V5E], (16, 16)) == 2


@pytest.mark.parametrize("kind, ranks, factors", [(V5E, 256, (16, 16)), (V5P, 512, (8, 8, 8))])
def test_large_slices_gather_by_torus_dimension(kind, ranks, factors):
    how, reason = choose(ranks, ONE, kind)
    assert (how.method, how.factors) == ("hierarchical", factors)
    assert "one gather for each torus dimension" in reason


def test_few_devices_gather_at_once():
    assert choose(4, ONE, V5E).how.method == "all_gather"


def test_v5p_pays_twice_for_a_gather_over_the_whole_torus():
    def gathered(devices):
        found = estimates(512, ONE, CHIPS[V5P], devices=devices)
        return next(e.seconds for e in found if e.how.method == "all_gather")

    assert gathered(512) > 1.5 * gathered(1024)
    assert "all-reduce" in choose(512, ONE, V5P).reason


def test_matrices_keep_their_precision():
    assert choose(8, State(4, 64, 64, "dense"), V5E, wire="bfloat16").how.wire is None
    assert choose(8, ONE, V5E, wire="bfloat16").how.wire == "bfloat16"


def test_a_chip_without_a_model_of_its_links():
    how, reason = choose(64, ONE, "NVIDIA H100 80GB HBM3")
    assert how.method == "hierarchical"
    assert "no model of the links of 'NVIDIA H100" in reason


def test_an_axis_takes_whole_dimensions_of_the_slice():
    assert guess_part(CHIPS[V5E], 16, 256) == (16,)
    assert guess_part(CHIPS[V5P], 64, 512) == (8, 8)
    assert guess_part(CHIPS[V5E], 4, 256) == (2, 2)  # no dimension is so short


def test_a_torus_of_other_size_is_refused():
    with pytest.raises(ValueError, match=r"torus \(4, 4\) has 16 devices, the axis 8"):
        choose(8, ONE, V5E, torus=(4, 4))
