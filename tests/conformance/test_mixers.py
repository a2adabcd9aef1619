"""The conformance suite over the registry: a new kind is in it by being registered."""

import pytest

from tests.conformance.mixers import EVERY, ONCE
from tests.conformance.variants import all_cases, default_cases

ALL, DEFAULT = all_cases(), default_cases()
name = lambda check: check.__name__  # noqa: E731


@pytest.mark.parametrize("case", ALL)
@pytest.mark.parametrize("check", EVERY, ids=name)
def test_every_variant(case, check):
    check(ALL[case])


@pytest.mark.parametrize("case", DEFAULT)
@pytest.mark.parametrize("check", ONCE, ids=name)
def test_every_kind(case, check):
    check(DEFAULT[case])
