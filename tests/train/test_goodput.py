"""Wall time by phase, and steps that were done twice."""

import pytest

from jaxlin.train.goodput import PHASES, Phases, lost_steps


class Clock:
    """Shows the time that it is told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_every_second_belongs_to_one_phase():
    clock = Clock()
    spent = Phases(clock)
    clock.now += 1  # other
    with spent("eval"):
        clock.now += 2
        with spent("step"):  # within: taken from eval
            clock.now += 4
        clock.now += 8
    with spent("input"):
        clock.now += 16
        so_far = spent.seconds()
        clock.now += 32
    found = spent.seconds()
    assert found == {"compile": 0, "input": 48, "step": 4, "save": 0, "eval": 10, "other": 1}
    assert so_far["input"] == 16 and list(found) == list(PHASES)
    assert sum(found.values()) == clock.now - 100


def test_a_phase_ends_with_an_error():
    clock = Clock()
    spent = Phases(clock)
    with pytest.raises(KeyError), spent("save"):
        clock.now += 1
        raise KeyError
    clock.now += 5
    assert spent.seconds()["save"] == 1 and spent.seconds()["other"] == 5


def steps(*numbers):
    return [{"kind": "train", "step": n} for n in numbers]


def start(n):
    return {"kind": "start", "step": n}


@pytest.mark.parametrize(
    ("written", "lost"),
    [
        ([], 0),
        ([start(0), *steps(1, 2, 3)], 0),
        ([start(0), *steps(1, 2, 3), start(3), *steps(4)], 0),  # stopped and resumed
        ([start(0), *steps(1, 2, 3), start(1), *steps(2, 3)], 2),  # killed
        ([start(0), *steps(1, 2, 3), start(0), *steps(1), start(0), *steps(1)], 4),
        ([start(0), start(0), *steps(1)], 0),  # killed before the first record
        ([start(0), *steps(10, 20), start(15), *steps(20)], 5),  # logged every ten
    ],
)
def test_lost_steps(written, lost):
    assert lost_steps(written) == lost
