"""The worked example: a mixer in a user's file gets the whole conformance suite."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxlin.config.registry import mixers
from tests.conformance.mixers import EVERY, ONCE
from tests.conformance.test_sequence_parallel import ACROSS

FILE = Path(__file__).parents[2] / "examples" / "add_a_mixer.py"


@pytest.fixture(scope="module")
def example():
    """The example as a module; what it registers is forgotten afterwards."""
    assert "my_retention" not in mixers  # which also fills the registry
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixers, "_configs", dict(mixers._configs))
        patch.setattr(mixers, "_targets", dict(mixers._targets))
        spec = importlib.util.spec_from_file_location("add_a_mixer", FILE)
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "add_a_mixer", module)
        spec.loader.exec_module(module)
        yield module


@pytest.mark.parametrize("check", [*EVERY, *ONCE], ids=lambda check: check.__name__)
def test_conformance(example, check):
    check(example.RetentionConfig(heads=2))


def test_it_is_known_by_its_kind(example):
    from jaxlin.config.load import validate

    run = {"name": "mine", "model": {"mixer": {"kind": "my_retention", "heads": 8}}}
    assert validate(run).model.mixer == example.RetentionConfig(heads=8)


@pytest.mark.slow
@pytest.mark.parametrize("check", ACROSS, ids=lambda check: check.__name__)
def test_over_eight_devices(example, check):
    check(example.RetentionConfig(heads=2))


@pytest.mark.slow
def test_it_learns_what_needs_a_memory(example):
    losses = np.asarray(example.train())
    assert losses[0] > 3.4  # log 32 = 3.47
    assert losses[-20:].mean() < 2.0  # 2.41 without a memory


def test_it_is_shorter_than_a_hundred_lines():
    assert len(FILE.read_text().splitlines()) < 100
