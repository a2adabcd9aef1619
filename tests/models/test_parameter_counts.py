"""The published parameter counts, exactly (arXiv 2507.06457, both scales, vocabulary 32000)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.gla import GLA
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM
from jaxlin.models.lm import build

SMALL, LARGE = dict(vocab=32000, width=1024), dict(vocab=32000, width=2048)
COUNTS = {
    "transformer 340M": (
        LM(**SMALL, layers=24, pattern="full", attention=Softmax(heads=16)),
        373_867_520,
    ),
    "gla 340M": (LM(**SMALL, layers=24, pattern="pure", mixer=GLA(heads=4)), 374_475_776),
    "gated_deltanet 340M": (
        LM(**SMALL, layers=21, pattern="pure", mixer=GatedDeltaNet(heads=6, head_dim=128)),
        379_888_124,
    ),
    "transformer 1.3B": (
        LM(**LARGE, layers=24, pattern="full", attention=Softmax(heads=32)),
        1_364_297_728,
    ),
    "gla 1.3B": (LM(**LARGE, layers=24, pattern="pure", mixer=GLA(heads=4)), 1_365_514_240),
    "gated_deltanet 1.3B": (
        LM(**LARGE, layers=21, pattern="pure", mixer=GatedDeltaNet(heads=6, head_dim=256)),
        1_387_348_732,
    ),
}


def count(config: LM) -> int:
    tokens = jax.ShapeDtypeStruct((1, 4), jnp.int32)
    shapes = jax.eval_shape(build(config).init, jax.random.key(0), tokens)
    return sum(int(np.prod(leaf.shape, dtype=np.int64)) for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("tied", [False, True])
def test_published_count(name, tied):
    config, untied_count = COUNTS[name]
    expected = untied_count - tied * 32000 * config.width
    assert count(LM(**(vars(config) | {"tied": tied}))) == expected


def test_tied_340m_figures():
    """The two tied counts that the papers print themselves."""
    assert COUNTS["transformer 340M"][1] - 32000 * 1024 == 341_099_520
    assert COUNTS["gla 340M"][1] - 32000 * 1024 == 341_707_776
