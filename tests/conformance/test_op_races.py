"""Kernels in the interpreter that watches memory: no race, and nothing read before it is written.

Memory that nobody has written holds NaN, and so do reads beyond an array.
"""

from typing import Any

import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from tests.conformance.ops import assert_close, each, evaluate, exact, make_case
from tests.conformance.test_ops import BOUND32, FORMS, LAST

# The last chunk of 16 is padded; in the longer sequence there are more than a group has.
SHORT, LONGER = (40, ()), (131, (5, 16, 17))
CASES = [
    pytest.param(*case, *sequence, marks=marks)
    for case in each(FORMS, "pallas_tpu")
    for sequence, marks in (
        (SHORT, [] if case[:2] in LAST else [pytest.mark.long]),
        (LONGER, [pytest.mark.slow]),
    )
]


@pytest.mark.parametrize(("name", "form", "implementation", "t", "starts"), CASES)
def test_no_race_and_no_nan(
    name: str, form: str, implementation: str, t: int, starts: tuple[int, ...], capfd: Any
) -> None:
    watched = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")
    case = make_case(name, form, t, starts=starts)
    options = {"implementation": implementation, "chunk_size": 16, "interpret": watched}
    assert_close(evaluate(case, np.float32, **options), exact(case), BOUND32)
    # An older JAX prints a race and goes on.
    assert "RACE DETECTED" not in "".join(capfd.readouterr())
