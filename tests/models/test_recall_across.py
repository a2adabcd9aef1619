"""A token of the first device's slice, asked for on the last: learnt with exchange, not without."""

from functools import cache
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlin.config.exchange import Exchange
from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM
from jaxlin.models import lm
from tests.kernels_pallas.exchange.lines import mesh_of

VALUES, T, B, STEPS, RANKS = 8, 64, 16, 150, 8
FILLER, ASK = VALUES, VALUES + 1
CHANCE = float(np.log(VALUES))
OFF = Exchange(method="off", softmax="off")
PATTERNS = {
    "gated_deltanet": "mixer",
    "hybrid": "mixer + attention",
}


def model(pattern: str, exchange: Exchange) -> Any:
    mixer, attention = GatedDeltaNet(heads=2, head_dim=8), Softmax(heads=2)
    sizes: Any = dict(
        dtype="float32", vocab=VALUES + 2, width=32, layers=2, mixer=mixer, attention=attention
    )
    return lm.build(LM(pattern=PATTERNS[pattern], **sizes), exchange)


def batch(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Fillers, one value among the first slice's tokens, and the question at the end."""
    where, what = jax.random.split(key)
    at = jax.random.randint(where, (B, 1), 0, T // RANKS)
    value = jax.random.randint(what, (B, 1), 0, VALUES)
    tokens = jnp.where(jnp.arange(T) == at, value, FILLER)
    return tokens.at[:, -1].set(ASK), value[:, 0]


@cache
def curve(pattern: str, exchange: Exchange | None, steps: int) -> np.ndarray:
    """The loss of every step, on one device or (exchange given) on eight."""
    network = model(pattern, exchange or Exchange())
    # eps of the size of the gradients: rounding errors then stay rounding errors.
    optimizer = optax.adam(3e-3, eps=1e-3)
    variables = network.init(jax.random.key(0), jnp.zeros((1, 8), jnp.int32))["params"]
    variables = nn.meta.unbox(variables)

    def loss(params: Any, tokens: jax.Array, value: jax.Array) -> jax.Array:
        hidden, _ = network.apply({"params": params}, tokens)
        logits = network.apply({"params": params}, hidden[:, -1:], method="logits")[:, 0]
        return optax.softmax_cross_entropy_with_integer_labels(logits, value).mean()

    def step(carry: Any, key: jax.Array) -> Any:
        params, state = carry
        tokens, value = batch(key)
        if exchange is not None:
            tokens = jax.lax.with_sharding_constraint(tokens, P(None, "seq"))
        found, grads = jax.value_and_grad(loss)(params, tokens, value)
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), found

    def run(params: Any) -> jax.Array:
        keys = jax.random.split(jax.random.key(1), steps)
        return jax.lax.scan(step, (params, optimizer.init(params)), keys)[1]

    if exchange is None:
        return np.asarray(jax.jit(run)(variables))
    mesh = mesh_of(("seq",), RANKS)
    with jax.set_mesh(mesh):
        whole = NamedSharding(mesh, P())
        return np.asarray(jax.jit(run, in_shardings=whole, out_shardings=whole)(variables))


@pytest.mark.slow
@pytest.mark.parametrize(
    "pattern", ["gated_deltanet", pytest.param("hybrid", marks=pytest.mark.long)]
)
def test_learnt_only_with_exchange(pattern: str) -> None:
    alone, split, off = (curve(pattern, way, STEPS) for way in (None, Exchange(), OFF))
    # Later, where the loss falls steeply, roundings grow: training is chaotic there.
    assert np.max(np.abs(split - alone)[:50]) < 1e-5
    assert np.mean(split[-20:]) < 0.2 * CHANCE
    assert np.mean(off[-20:]) > 0.95 * CHANCE
