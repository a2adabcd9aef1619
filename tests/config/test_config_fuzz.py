"""Whatever is typed or read, the only exception is a ConfigError; what passes is a fixed point."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from jaxlin.config import ConfigError, from_json, preset, to_json
from jaxlin.config.override import override
from jaxlin.config.plain import plain
from jaxlin.config.run import RunConfig
from jaxlin.config.schema import known_paths

TINY = plain(preset("tiny"))
PATHS = st.sampled_from(
    [*known_paths(RunConfig, TINY), "adapters.0", "adapters.0.rank", "data.paths", "x", "."]
)
WORDS = st.lists(
    st.sampled_from(
        ["gla", "softmax", "lora", "text", "(", ")", "[", "]", "{", "}", "=", ",", "'", '"', "1"]
        + ["-1", "2.5", "nan", "none", "true", "heads", "kind", ":", "*", "+", "mixer", " ", "\\"]
    ),
    max_size=9,
).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(max_size=8), items),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(PATHS, WORDS | st.text(max_size=12)), min_size=1, max_size=3))
def test_overrides(pairs):
    try:
        cfg = override(preset("tiny"), [f"{path}={text}" for path, text in pairs])
    except ConfigError:
        return
    assert from_json(to_json(cfg), "x") == cfg


@settings(max_examples=150, deadline=None)
@given(PATHS, JSON)
def test_files(path, value):
    raw = json.loads(json.dumps(TINY))
    node = raw
    *parents, last = path.split(".")
    for parent in parents:
        node = node.get(parent, {}) if isinstance(node, dict) else {}
    if isinstance(node, dict):
        node[last] = value
    try:
        cfg = from_json(json.dumps(raw), "x")
    except ConfigError:
        return
    assert from_json(to_json(cfg), "x") == cfg
