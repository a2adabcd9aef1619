"""Costs against formulas by hand, the parameter table and the caches."""

import json
from functools import cache

import jax
import pytest

from jaxlin.analysis.accounting import (
    accounting,
    flops,
    parameters,
    sequence_bytes,
    study_flops,
    study_mixer_flops,
)
from jaxlin.analysis.matched import family, match, measured
from jaxlin.config import preset
from jaxlin.config.errors import ConfigError
from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.gla import GLA
from jaxlin.config.mixers.hgrn import HGRN
from jaxlin.config.mixers.kda import KDA
from jaxlin.config.mixers.retnet import RetNet
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.override import override
from jaxlin.models.lm import init_cache
from jaxlin.parallel import table
from tests.models.tiny import VOCAB, WIDTH, config

D, F, T = WIDTH, 24, 32


@cache
def tiny():
    return override(preset("tiny"), ["model.vocab=384"])


def test_attention_ffn_and_head_by_hand():
    found = flops(config(pattern="full", layers=2), T)
    softmax = 2 * (2 * 4 * D * D + 4 * T * D)  # q, k, v, o; scores and values of all pairs
    assert found["softmax"] == {"layers": 2, "forward": softmax, "backward": 2 * softmax}
    ffn = 2 * 2 * 3 * D * F
    assert found["ffn"] == {"layers": 2, "forward": ffn, "backward": 2 * ffn}
    assert found["head"]["forward"] == 2 * D * VOCAB


def test_hgrn_has_its_four_projections():
    found = flops(config(pattern="pure", layers=3, mixer=HGRN()), T)["hgrn"]
    assert found == {"layers": 3, "forward": 3 * 8 * D * D, "backward": 3 * 16 * D * D}


def test_only_attention_costs_more_a_token_when_longer():
    model = config(pattern="mixer + attention", layers=2, mixer=HGRN())
    short, long = flops(model, T), flops(model, 2 * T)
    assert long["hgrn"] == short["hgrn"]
    assert long["softmax"]["forward"] - short["softmax"]["forward"] == 4 * T * D


def test_parameters_by_part():
    found = parameters(config(pattern="full", layers=2))
    assert found == {
        "embedding": 2 * VOCAB * D,
        "mixers": 2 * 4 * D * D,
        "ffn": 2 * 3 * D * F,
        "norms": 5 * D,
        "total": 2 * VOCAB * D + 8 * D * D + 6 * D * F + 5 * D,
    }
    gamma = parameters(config(pattern="pure", layers=3, mixer=HGRN()))["mixers"]
    assert gamma == 3 * (4 * D * D + D) + 3 * D


@pytest.mark.parametrize("length", [1, 7, 40])
def test_bytes_are_those_of_the_cache(length):
    model = config(pattern="mixer + attention with softmax(heads=2, window=8) at 3", layers=4)
    cache = jax.eval_shape(lambda: init_cache(model, 1, length))
    found = sequence_bytes(model, length)
    assert sum(found.values()) == table.nbytes(jax.tree.leaves(cache.layers))
    token = 2 * D * 4 + 2 * 4  # key, value; document and index
    assert found["kv_bytes"] == (length + min(length, 8)) * token


def test_the_study_s_formulas():
    d, t = 2048, 4096
    kinds = {
        Softmax(heads=32): 2 * t * d,
        HGRN(): 5 * d,
        RetNet(heads=8): 5 * d * d / 8,
        GLA(heads=4): 7 * d * d / 4,
        GatedDeltaNet(heads=6): 8 * d * d / 6,
        KDA(): None,
        Softmax(window=8): None,
    }
    assert {kind: study_mixer_flops(kind, d, t) for kind in kinds} == kinds
    hybrid = config(pattern="mixer + attention", layers=2, mixer=HGRN())
    assert study_flops(hybrid, T) == 5 * D + 2 * T * D
    assert study_flops(config(pattern="pure", layers=2, mixer=KDA()), T) is None


@pytest.mark.slow
def test_matched_to_the_first():
    first, second = tiny(), override(tiny(), ["model.pattern=full", "model.attention.heads=4"])
    _, found = family([first, second], "parameters", "ffn.hidden", 32, tolerance=0.05)
    assert found.target == parameters(first.model)["total"]
    assert measured(found.cfg, "parameters", 32) == found.measure
    assert found.cfg.model.ffn.hidden == found.value and abs(found.residual) <= 0.05
    # Nothing within a step is nearer.
    for other in (found.value - 16, found.value + 16):
        cfg = override(second, [f"model.ffn.hidden={other}"])
        away = abs(measured(cfg, "parameters", 32) - found.target)
        assert away >= abs(found.measure - found.target)


@pytest.mark.slow
def test_between_two_steps_where_those_are_too_coarse():
    wanted = override(tiny(), ["model.ffn.hidden=37"])
    found = match(
        tiny(), "parameters", parameters(wanted.model)["total"], "ffn.hidden", 32, tolerance=0
    )
    assert found.value == 37 and found.residual == 0


@pytest.mark.parametrize(
    "measure, knob, target, said",
    [
        (
            "parameters",
            "ffn.hidden",
            10,
            ["cannot be given", "model.ffn.hidden=1 ", "another knob"],
        ),
        ("parameters", "depth", 10, ["'depth' is no knob", "did you mean 'width'"]),
        ("flop", "layers", 10, ["'flop' is no measure", "did you mean 'flops'"]),
    ],
)
def test_sizes_that_cannot_match(measure, knob, target, said):
    with pytest.raises(ConfigError) as error:
        match(tiny(), measure, target, knob, 32)
    assert [part for part in said if part not in str(error.value)] == []


def test_the_whole_is_json():
    found = accounting(tiny(), 32)
    assert json.loads(json.dumps(found)) == found
