"""A kind that a user registers is a member of every union at once."""

from dataclasses import dataclass
from typing import Literal

import pytest

from jaxlin.config import ConfigError, from_json, preset, to_json
from jaxlin.config.load import json_schema
from jaxlin.config.override import override
from jaxlin.config.registry import mixers
from jaxlin.config.types import PositiveInt


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mixer of the user's, without `problems`."""

    kind: Literal["my_mean"] = "my_mean"
    window: PositiveInt = 4


@pytest.fixture
def registered(monkeypatch):
    list(mixers)  # look the others up first
    monkeypatch.setattr(mixers, "_configs", dict(mixers._configs))
    monkeypatch.setattr(mixers, "_targets", dict(mixers._targets))
    mixers.register("my_mean", object)(Mean)


def test_unknown_before():
    with pytest.raises(ConfigError, match="'my_mean' is no mixer"):
        override(preset("tiny"), ["model.mixer=my_mean"])


def test_known_after(registered):
    cfg = override(preset("tiny"), ["model.mixer=my_mean", "model.mixer.window=8"])
    assert cfg.model.mixer == Mean(window=8)
    assert from_json(to_json(cfg), "x") == cfg


def test_in_a_pattern(registered):
    cfg = override(preset("tiny"), ["model.pattern=my_mean(window=2) + mixer"])
    assert cfg.model.pattern == "my_mean(window=2) + mixer"


def test_checked_like_the_others(registered):
    with pytest.raises(ConfigError, match="model.mixer.window: found 0"):
        override(preset("tiny"), ["model.mixer=my_mean(window=0)"])


def test_in_the_schema(registered):
    mapping = json_schema()["$defs"]["LM"]["properties"]["mixer"]["discriminator"]["mapping"]
    assert set(mapping) == set(mixers) and "my_mean" in mapping
