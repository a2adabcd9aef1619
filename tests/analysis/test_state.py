"""Statistics of the layers' memory: right numbers, right layer, no trace in the model."""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.analysis.state import half_life, observe, statistics, summarize
from jaxlin.data.batch import Batch
from jaxlin.nn import observed, show
from tests.models.tiny import attention_only, config, ready


def batch(tokens, real=None):
    tokens = np.asarray(tokens)
    ones = np.ones(tokens.shape, np.int32)
    real = ones if real is None else np.asarray(real, np.int32)
    positions = np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape).copy()
    return Batch(tokens, tokens, real, positions, real.astype(np.float32))


def test_half_lives():
    found = half_life(jnp.log(jnp.float32([0.5, 0.25, 1.0])))
    np.testing.assert_allclose(found, [1.0, 0.5, math.inf], rtol=1e-6)


def test_a_summary_takes_real_tokens_only():
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    real = np.arange(5) < np.array([[5], [2]])
    x[~real] = 1e6  # what padding holds
    found = summarize(jnp.asarray(x), jnp.asarray(real))
    kept = x[real]
    expected = {"mean": kept.mean(), "min": kept.min(), "max": kept.max()}
    for name, level in (("q05", 0.05), ("q50", 0.5), ("q95", 0.95)):
        expected[name] = np.quantile(kept, level, method="lower")
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)


def test_infinity_is_kept_and_nan_is_not_hidden():
    found = summarize(jnp.float32([1.0, 2.0, math.inf]), jnp.ones(3, bool))
    assert (found["q50"], found["max"]) == (2.0, math.inf)
    assert np.isnan(summarize(jnp.float32([1.0, math.nan]), jnp.ones(2, bool))["mean"])


@pytest.fixture(scope="module")
def hybrid():
    """Depth 0 and 3 gla, 1 and 4 gated_deltanet, 2 and 5 softmax; the second gated_deltanet
    forgets at once."""
    model = ready(config())
    params = jax.tree.map(lambda a: a, model.variables["params"])
    mixer = params["blocks_0"]["layer_1"]["mixer"]
    mixer["dt_bias"] = mixer["dt_bias"].at[1].set(50.0)
    mixer["A_log"] = mixer["A_log"].at[1].set(0.0)
    return model, {"params": params}


def test_each_layer_has_its_own_numbers(hybrid):
    model, variables = hybrid
    found = statistics(model.module, variables, batch(model.tokens))
    assert {depth: layer["mixer"] for depth, layer in found.items()} == {
        "0": "gla", "1": "gated_deltanet", "3": "gla", "4": "gated_deltanet"
    }  # fmt: skip
    assert found["4"]["half_life"]["q95"] < 0.02 < 1 < found["1"]["half_life"]["q05"]
    assert "write_strength" in found["1"] and "write_strength" not in found["0"]
    ids = jnp.ones_like(model.tokens)
    _, seen = model.module.apply(variables, model.tokens, ids, mutable=["taps"])
    taps = observed(seen)["blocks_0"]["layer_1"]["mixer"]
    for repeat, depth in ((0, "1"), (1, "4")):
        layer, one = found[depth], {name: np.asarray(t[repeat]) for name, t in taps.items()}
        norms = np.sqrt((one["final_state"] ** 2).sum((2, 3)))
        close = partial(np.testing.assert_allclose, rtol=1e-4)
        close(layer["state_norm"]["mean"], norms.mean())
        close(layer["decay"]["mean"], np.exp(one["log_decay"]).mean(), atol=1e-6)
        close(layer["write_strength"]["max"], one["write_strength"].max())
        close(layer["output_gate"]["min"], one["output_gate"].min())


def test_padding_does_not_count(hybrid):
    model, variables = hybrid
    whole = statistics(model.module, variables, batch(model.tokens))
    tokens = jnp.concatenate([model.tokens, jnp.zeros_like(model.tokens)])
    real = np.repeat([[1], [0]], model.tokens.shape[0], 0) * np.ones(tokens.shape[1], np.int32)
    padded = statistics(model.module, variables, batch(tokens, real))
    for depth, layer in whole.items():
        for quantity, summary in layer.items():
            if quantity != "mixer":
                for name, value in summary.items():
                    assert padded[depth][quantity][name] == pytest.approx(value, rel=1e-4)


def test_looking_compiles_once_and_keeps_the_variables(hybrid):
    model, variables = hybrid
    statistics(model.module, variables, batch(model.tokens))
    before = observe._cache_size()
    other = jax.tree.map(lambda a: a * 1.5, variables)
    assert statistics(model.module, other, batch(model.tokens)) != statistics(
        model.module, variables, batch(model.tokens)
    )
    assert observe._cache_size() == before
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(variables))


def test_attention_shows_nothing():
    model = ready(attention_only())
    assert statistics(model.module, model.variables, batch(model.tokens)) == {}


class Stranger(nn.Module):
    """A model that nobody here knows, and a name that only it uses."""

    def __call__(self, tokens, segment_ids, positions):
        show(self, "log_decay", jnp.log(jnp.full((1, 4), 0.5)))  # one layer of four heads
        show(self, "something", tokens)


def test_any_module_takes_part_by_names_alone():
    found = observe(Stranger(), {}, batch(np.zeros((2, 3), np.int32)))
    assert found.keys() == {"log_decay"}
    np.testing.assert_allclose(found["log_decay"]["half_life"]["q50"], [1.0], rtol=1e-6)


def test_showing_costs_nothing_unless_one_looks(hybrid, monkeypatch):
    model, variables = hybrid

    def jaxpr(**options):
        run = partial(model.module.apply, **options)
        return jax.make_jaxpr(run)(variables, model.tokens)

    shown, watched = jaxpr(), jaxpr(mutable=["taps"])
    for mixer in ("gla", "gated_deltanet"):
        monkeypatch.setattr(f"jaxlin.mixers.{mixer}.show", lambda module, name, h: h)
    assert str(shown) == str(jaxpr())
    assert str(watched) != str(jaxpr(mutable=["taps"]))  # what would be seen
