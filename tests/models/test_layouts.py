"""Where attention stands in 24 layers, and that the limits of a hybrid are the pure models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.config.pattern import kinds, resolve, segments
from jaxlin.config.placement import full_layers
from jaxlin.models.lm import build
from tests.models.tiny import config

TOKENS = jnp.zeros((1, 4), jnp.int32)

PUBLISHED = {
    ("block", 3): [3, 7, 11, 15, 19, 23],
    ("block", 6): [6, 13, 20],
    ("block", 12): [12],
    ("block", 24): [],
    ("period", 3): [2, 5, 8, 11, 14, 17, 20, 23],
    ("period", 6): [5, 11, 17, 23],
    ("period", 12): [11, 23],
    ("period", 24): [23],
}


@pytest.mark.parametrize("layout,ratio", PUBLISHED)
def test_published_indices(layout, ratio):
    expected = PUBLISHED[layout, ratio]
    assert list(full_layers(ratio, layout, 24)) == expected
    if expected:
        found = kinds(config(layers=24, pattern=f"{ratio}:1 {layout}"))
        assert [i for i, kind in enumerate(found) if kind == "softmax"] == expected


@pytest.mark.parametrize("layout,ratio", [key for key in PUBLISHED if PUBLISHED[key]])
def test_segments_are_the_same_layers_folded(layout, ratio):
    layers = resolve(config(layers=24, pattern=f"{ratio}:1 {layout}"))
    parts = segments(layers)
    assert tuple(m for part in parts for m in part.unit * part.repeats) == layers
    # What is traced: a whole number of layers far below the depth.
    assert sum(len(part.unit) for part in parts) <= ratio + 2


def initialised(pattern):
    module = build(config(pattern=pattern, layers=2))
    return module, module.init(jax.random.key(0), TOKENS)


@pytest.mark.parametrize(
    "pattern",
    [
        ("attention",) * 2,
        "attention",
        "2*softmax",
        "1:1 period",
        "softmax(heads=2)",
        "mixer with attention at 0-1",
    ],
)
def test_a_hybrid_of_attention_only_is_the_transformer_bit_for_bit(pattern):
    (full, params), (other, others) = (initialised(p) for p in ("full", pattern))
    assert jax.tree.all(jax.tree.map(np.array_equal, params, others))
    assert str(jax.make_jaxpr(full.apply)(params, TOKENS)) == str(
        jax.make_jaxpr(other.apply)(others, TOKENS)
    )


def test_a_pattern_that_does_not_fill_the_layers_is_refused():
    with pytest.raises(ConfigError, match="does not fill"):
        resolve(config(layers=5))
    with pytest.raises(ConfigError, match="lists 2 layers"):
        resolve(config(pattern=("gla", "softmax")))
