"""What layers are told of their depth: rows reach every layer through scans, caches and remat."""

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.config.optimizers.muon import Muon
from jaxlin.config.pattern import resolve
from jaxlin.config.registry import mixers
from jaxlin.mixers import build as build_mixer
from jaxlin.mixers.base import Mixer
from jaxlin.models.block import Block
from jaxlin.models.lm import build, init_cache
from jaxlin.nn import rms_norm
from jaxlin.parallel.rules import logical_axes, spec
from jaxlin.train.optimizer import build as build_optimizer
from tests.models.tiny import B, T, config, ready

# A scan of two units, then a layer of another kind; two kinds share the parameter.
PATTERN = (*("hgrn2(heads=2)", "softmax(heads=2)") * 2, "hgrn")
TOKENS = jax.ShapeDtypeStruct((1, 8), jnp.int32)


def model(**changes):
    return config(**({"pattern": PATTERN, "layers": 5} | changes))


def shapes(config):
    return jax.eval_shape(build(config).init, jax.random.key(0), TOKENS)


def layer(params, i):
    """Parameters of layer i of the pattern."""
    part, unit, row = ("blocks_0", i % 2, i // 2) if i < 4 else ("blocks_1", 0, 0)
    return jax.tree.map(lambda a: a[row], params[part][f"layer_{unit}"])


def test_every_layer_gets_the_bound_of_its_depth():
    m = ready(model())
    params = m.variables["params"]
    gamma = np.float64(params["depth"]["lower_bounds"])
    assert gamma.shape == (5, 16) and gamma.std() > 0  # softmax layers own rows too
    share = np.exp(gamma) / np.exp(gamma).sum(0)
    bounds = np.cumsum(share, axis=0) - share[0]

    def by_hand(params):
        x = params["embed"]["embedding"][m.tokens]
        for i, kind in enumerate(resolve(m.config)):
            row = None if kind.kind == "softmax" else jnp.float32(bounds[i])
            block = Block(m.config, kind).apply
            x, _ = block({"params": layer(params, i)}, x, None, None, None, row)
        return rms_norm(x, params["final_norm"]["scale"], 1e-6)

    found = m.hidden(m.variables, m.tokens)
    np.testing.assert_allclose(found, jax.jit(by_hand)(params), atol=2e-5)


def test_decoding_has_the_same_bounds():
    m = ready(model())
    full = m.hidden(m.variables, m.tokens)
    hidden, cache = m.apply(m.variables, m.tokens[:, :7], cache=init_cache(m.config, B, T))
    found = [hidden]
    for t in range(7, 10):
        hidden, cache = m.apply(m.variables, m.tokens[:, t : t + 1], cache=cache)
        found.append(hidden)
    np.testing.assert_allclose(jnp.concatenate(found, 1), full[:, :10], atol=2e-5)


@pytest.mark.slow
def test_remat_and_scan_keep_the_gradient_of_the_shared_parameter():
    def gradient(remat):
        m = ready(model(remat=remat))
        weight = jnp.cos(jnp.arange(16.0))
        loss = lambda p: jnp.sum(m.module.apply({"params": p}, m.tokens)[0] * weight)  # noqa: E731
        plain = ready(model()).variables["params"]
        return jax.jit(jax.grad(loss))(plain)["depth"]["lower_bounds"]

    found, again = gradient("none"), gradient("full")
    np.testing.assert_allclose(again, found, atol=1e-4 * np.abs(found).max())
    # The softmax over layers moves all rows; no shift of a channel's column does anything.
    assert (np.abs(found).max(1) > 1e-3).all()
    np.testing.assert_allclose(found.sum(0), 0, atol=1e-4 * np.abs(found).max())


def test_only_models_that_ask_have_the_parameter():
    assert "depth" not in shapes(config())["params"]
    assert "depth" not in shapes(model(pattern="lightning", layers=4))["params"]
    assert "depth" not in shapes(model(pattern="hgrn(lower_bound=none)"))["params"]
    assert list(shapes(model())["params"]["depth"]) == ["lower_bounds"]


def test_equations_do_not_grow_with_depth():
    def size(layers):
        c = model(pattern="hgrn2(heads=2) + lightning(heads=2)", layers=layers)
        run = jax.jit(lambda v, t: build(c).apply(v, t)[0])
        return str(run.trace(shapes(c), TOKENS).jaxpr).count("\n")

    assert abs(size(4) - size(32)) < 3 < size(4)


def test_it_is_split_as_channels_and_trained_as_a_vector():
    axes = logical_axes(shapes(model())["params"])
    path = "depth/lower_bounds"
    assert axes[path] == ("layers", "heads")
    mesh = {"data": 1, "fsdp": 2, "seq": 1, "tensor": 4}
    assert spec(axes[path], mesh) == jax.sharding.PartitionSpec(None, "tensor")
    group = build_optimizer(Muon(), lambda step: jnp.ones(()), axes).groups[path]
    assert group.optimizer == "adamw" and group.decay


def test_sizes_that_differ_are_refused_before_anything_compiles():
    with pytest.raises(ConfigError, match="share the parameter 'lower_bounds'.*equal sizes"):
        shapes(model(pattern="hgrn + hgrn(expand_ratio=2)", layers=4))


class Scaled(Mixer):
    """A mixer of one file: x times a learned number of its layer, plus its depth."""

    @nn.compact
    def __call__(self, x, *, segment_ids=None, positions=None, cache=None, depth=None):
        return x * depth["gain"] + depth["index"], cache

    @staticmethod
    def rows(config, width, layers, parameter):
        gain = parameter("gain", nn.initializers.ones, (None,), (width,))
        return {"gain": gain, "index": jnp.arange(layers, dtype=jnp.float32)}


def test_a_mixer_of_ones_own_uses_it_without_edits_elsewhere(monkeypatch):
    list(mixers)  # look the others up first
    monkeypatch.setattr(mixers, "_configs", dict(mixers._configs))
    monkeypatch.setattr(mixers, "_targets", dict(mixers._targets))

    @mixers.register("scaled", Scaled)
    @dataclass(frozen=True, kw_only=True)
    class Config:
        kind: Literal["scaled"] = "scaled"

    c = model(pattern="scaled", layers=3, mixer=Config(), norm="post")
    module = build(c)
    params = nn.meta.unbox(module.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32)))["params"]
    assert params["depth"]["gain"].shape == (3, 16)
    _, seen = module.apply({"params": params}, jnp.ones((1, 4), jnp.int32), mutable=["taps"])
    taps = seen["taps"]["blocks_0"]["layer_0"]
    before = jnp.concatenate([seen["taps"]["embed_out"][0][None], taps["block_out"][0][:-1]])
    index = jnp.arange(3.0)[:, None, None, None]
    np.testing.assert_allclose(taps["mixer_out"][0], before + index, atol=1e-6)
    assert build_mixer(Config(), 16).rows(Config(), 16, 2, lambda *a: jnp.ones((2, 16)))
