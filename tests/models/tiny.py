"""Small language models for tests, with their parameters and tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.gla import GLA
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM, FeedForward
from jaxlin.models.lm import LanguageModel, build

VOCAB, WIDTH, B, T = 48, 16, 2, 13


def config(**changes: Any) -> LM:
    """Two units of (gla, gated_deltanet, softmax), float32, weights large enough to matter."""
    fields: dict[str, Any] = dict(
        vocab=VOCAB,
        width=WIDTH,
        layers=6,
        pattern="mixer + gated_deltanet(heads=2, head_dim=4) + attention",
        mixer=GLA(heads=2, gate_rank=4),
        attention=Softmax(heads=2),
        ffn=FeedForward(hidden=24),
        dtype="float32",
        init_std=0.2,
    )
    return LM(**(fields | changes))


def attention_only(**changes: Any) -> LM:
    """Softmax layers only."""
    return config(**({"pattern": "full", "layers": 2} | changes))


KINDS = {
    "softmax": dict(pattern="full", layers=2),
    "gla": dict(pattern="pure", layers=2),
    "gated_deltanet": dict(pattern="pure", layers=2, mixer=GatedDeltaNet(heads=2, head_dim=4)),
    "hybrid": {},
}
# The hybrid holds every kind; one kind alone is worth a landing.
EACH = [pytest.param(k, marks=[] if k == "hybrid" else pytest.mark.slow) for k in KINDS]


class Ready(NamedTuple):
    """A model that can be called: `variables` hold plain (unboxed) parameters."""

    config: LM
    module: LanguageModel
    variables: dict[str, Any]
    tokens: jax.Array
    apply: Callable[..., Any]  # the module's, compiled
    logits: Callable[..., Any]

    def hidden(self, variables: Any, tokens: Any, **kwargs: Any) -> jax.Array:
        """Final hidden states without a cache."""
        return self.apply(variables, tokens, **kwargs)[0]


@cache
def ready(config: LM) -> Ready:
    """The model of a config with random parameters (made without compiling its initialisers)."""
    module = build(config)
    rng = np.random.default_rng(1)
    tokens = jnp.asarray(rng.integers(0, config.vocab, (B, T)), jnp.int32)
    shapes = nn.meta.unbox(jax.eval_shape(module.init, jax.random.key(0), tokens))
    params = jax.tree.map_with_path(partial(_leaf, rng, config), shapes["params"])
    logits = jax.jit(partial(module.apply, method="logits"))
    return Ready(config, module, {"params": params}, tokens, jax.jit(module.apply), logits)


def _leaf(rng: np.random.Generator, config: LM, path: Any, leaf: Any) -> jax.Array:
    name, noise = path[-1].key, rng.normal(size=leaf.shape)
    if name in ("kernel", "embedding"):
        noise = config.init_std * noise
    else:  # scales near 1, biases near 0, decays in their usual range
        noise = {"scale": 1.0, "dt_bias": -3.0}.get(name, 0.0) + 0.1 * noise
    return jnp.asarray(noise, leaf.dtype)
