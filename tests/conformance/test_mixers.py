"""The conformance suite over the registry: a new kind is in it by being registered."""

import pytest

from tests.conformance.mixers import (
    EVERY,
    ONCE,
    bfloat16_is_within_its_bound,
    float64_is_within_its_bound,
    other_documents_and_later_tokens_have_no_gradient,
    pieces_shorter_than_any_window,
    transforms_change_nothing,
)
from tests.conformance.variants import ALIKE, LATER, all_cases, default_cases

ALL, DEFAULT = all_cases(), default_cases()
# Costly to compile: every edit runs them for some kinds, every landing for variants too. Of kinds
# whose ops other kinds stand for, variants and costly checks wait for a release.
HEAVY = (
    bfloat16_is_within_its_bound,
    float64_is_within_its_bound,
    other_documents_and_later_tokens_have_no_gradient,
    pieces_shorter_than_any_window,
    transforms_change_nothing,
)


def pairs():
    """(case, check) of the suite."""
    for name, config in ALL.items():
        checks = (*EVERY, *ONCE) if name in DEFAULT else EVERY
        for check in checks:
            dear = check in HEAVY and (name not in DEFAULT or name in LATER)
            marks = [pytest.mark.slow] if dear or config.kind in ALIKE else []
            if config.kind in ALIKE and (dear or name not in DEFAULT):
                marks = [pytest.mark.long]
            yield pytest.param(config, check, id=f"{name}-{check.__name__}", marks=marks)


@pytest.mark.parametrize("config,check", list(pairs()))
def test_mixer(config, check):
    check(config)
