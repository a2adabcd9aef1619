"""The JSON schema, and types in words."""

from typing import Literal

import pytest

from jaxlin.config.load import json_schema
from jaxlin.config.model import FeedForward
from jaxlin.config.registry import mixers
from jaxlin.config.run import RunConfig
from jaxlin.config.schema import describe, fields
from jaxlin.config.types import Fraction, PositiveInt, Regex


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "a whole number"),
        (float, "a finite number"),
        (PositiveInt | None, "a whole number > 0 or none"),
        (Fraction, "a number >= 0 and <= 1"),
        (Literal["a", "b"], "'a' or 'b'"),
        (str | tuple[str, ...], "text or a list, each text"),
        (tuple[Regex, ...], "a list, each a regular expression"),
        (FeedForward, "an object with fields ratio, hidden"),
    ],
)
def test_describe(hint, words):
    assert describe(hint) == words


def test_the_schema_knows_fields_kinds_and_bounds():
    schema = json_schema()
    assert set(schema["properties"]) == {"format_version", *fields(RunConfig)}
    assert schema["required"] == ["name"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["batch"]["exclusiveMinimum"] == 0
    assert set(schema["$defs"]["LM"]["properties"]["mixer"]["discriminator"]["mapping"]) == set(
        mixers
    )
    assert schema["$defs"]["Muon"]["additionalProperties"] is False
