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
from tests.conformance.variants import ALIKE, all_cases, default_cases

ALL, DEFAULT = all_cases(), default_cases()
# Costly to compile: every landing runs them for all variants, every edit for the default ones.
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
            dear = check in HEAVY and (name not in DEFAULT or name in ALIKE)
            variant = name not in DEFAULT and config.kind in ALIKE
            slow = [pytest.mark.slow] if dear or variant else []
            yield pytest.param(config, check, id=f"{name}-{check.__name__}", marks=slow)


@pytest.mark.parametrize("config,check", list(pairs()))
def test_mixer(config, check):
    check(config)
