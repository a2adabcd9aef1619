"""The published parameter counts, exactly (arXiv 2507.06457, both scales, vocabulary 32000)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import configs.hybrid_study
import configs.kda
import configs.lightning
from jaxlin.config.mixers.deltanet import DeltaNet
from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.gla import GLA
from jaxlin.config.mixers.hgrn import HGRN
from jaxlin.config.mixers.hgrn2 import HGRN2
from jaxlin.config.mixers.retnet import RetNet
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM, FeedForward
from jaxlin.config.presets import preset
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
    "hgrn 340M": (LM(**SMALL, layers=24, pattern="pure", mixer=HGRN()), 373_916_672),
    "hgrn2 340M": (LM(**SMALL, layers=24, pattern="pure", mixer=HGRN2(heads=8)), 373_916_672),
    "retnet 340M": (
        LM(**SMALL, layers=24, pattern="pure", mixer=RetNet(heads=8), ffn=FeedForward(ratio=2.0)),
        380_165_120,
    ),
    "deltanet 340M": (
        LM(**SMALL, layers=24, pattern="pure", mixer=DeltaNet(heads=8)),
        374_362_112,
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
    "hgrn 1.3B": (LM(**LARGE, layers=24, pattern="pure", mixer=HGRN()), 1_364_396_032),
    "hgrn2 1.3B": (LM(**LARGE, layers=24, pattern="pure", mixer=HGRN2(heads=16)), 1_364_396_032),
    "retnet 1.3B": (
        LM(**LARGE, layers=24, pattern="pure", mixer=RetNet(heads=8), ffn=FeedForward(ratio=2.0)),
        1_351_727_104,
    ),
    "deltanet 1.3B": (
        LM(**LARGE, layers=24, pattern="pure", mixer=DeltaNet(heads=16)),
        1_365_677_056,
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


@pytest.mark.parametrize("name", COUNTS)
def test_the_presets_have_these_models(name):
    """Each in its own preset, which names the count."""
    config, expected = COUNTS[name]
    kind, scale = name.split()
    name = kind + {"340M": "_340m", "1.3B": "_1b3"}[scale]
    found = preset(name).model
    same = ("vocab", "width", "layers", "pattern", "ffn", "tied", "init_std", "rescale_residual")
    assert [getattr(found, f) for f in same] == [getattr(config, f) for f in same]
    used = "attention" if kind == "transformer" else "mixer"
    assert getattr(found, used) == getattr(config, used)
    function = getattr(configs.hybrid_study, name)
    assert f"{expected:,} parameters" in function.__doc__


@pytest.mark.parametrize("function", [configs.kda.kda_340m, configs.lightning.lightning_340m])
def test_other_presets_tell_their_count(function):
    assert f", {count(function().model):,} parameters" in function.__doc__


def test_hgrn_hybrids_keep_a_row_of_gamma_for_every_layer():
    """A softmax layer in place of an HGRN layer: 4 d^2 instead of 4 d^2 + d, Gamma unchanged."""
    pure, count_pure = COUNTS["hgrn 340M"]
    hybrid = LM(**(vars(pure) | {"pattern": "6:1 block", "attention": Softmax(heads=16)}))
    assert count(hybrid) == count_pure - 3 * 1024


def test_tied_340m_figures():
    """The two tied counts that the papers print themselves."""
    assert COUNTS["transformer 340M"][1] - 32000 * 1024 == 341_099_520
    assert COUNTS["gla 340M"][1] - 32000 * 1024 == 341_707_776
