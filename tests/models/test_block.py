"""The block's wiring: norm placements, taps in order, the start of the weights."""

from dataclasses import dataclass
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.mixers import build as build_mixer
from jaxlin.models.block import Block
from jaxlin.nn import SwiGLU, observed, rms_norm
from tests.models.tiny import WIDTH, attention_only, config, ready

SITES = [
    "mixer_in",
    "mixer_out",
    "mixer_res",
    "ffn_in",
    "ffn/ffn_hidden",
    "ffn_out",
    "block_out",
]


def flat(tree, *path):
    """{path: leaf} of nested dicts, in order of insertion."""
    if not isinstance(tree, dict):
        return {"/".join(path): tree}
    return {k: v for key, sub in tree.items() for k, v in flat(sub, *path, key).items()}


def by_hand(model, params, x):
    """The block written out, from its mixer and feed-forward."""
    mixer, ffn = build_mixer(model.attention, WIDTH), SwiGLU(24)
    f = lambda h: mixer.apply({"params": params["mixer"]}, h)[0]  # noqa: E731
    g = lambda h: ffn.apply({"params": params["ffn"]}, h)  # noqa: E731
    norm = lambda name, h: rms_norm(h, params[name]["scale"], 1e-6)  # noqa: E731
    if model.norm == "pre":
        x = x + f(norm("mixer_norm", x))
        return x + g(norm("ffn_norm", x))
    if model.norm == "post":
        x = norm("mixer_out_norm", x + f(x))
        return norm("ffn_out_norm", x + g(x))
    x = x + norm("mixer_out_norm", f(norm("mixer_norm", x)))
    return x + norm("ffn_out_norm", g(norm("ffn_norm", x)))


@pytest.mark.parametrize("norm", ["pre", "post", "peri"])
def test_norm_placements(norm):
    model = ready(attention_only(norm=norm, layers=2))
    params = model.variables["params"]

    def expected(params, tokens):
        x = params["embed"]["embedding"][tokens]
        for i in range(2):
            layer = jax.tree.map(lambda a, i=i: a[i], params["blocks_0"]["layer_0"])
            x = by_hand(model.config, layer, x)
        return rms_norm(x, params["final_norm"]["scale"], 1e-6)

    found = model.hidden(model.variables, model.tokens)
    np.testing.assert_allclose(found, jax.jit(expected)(params, model.tokens), atol=1e-5)


def test_taps_show_every_documented_site():
    model = ready(config())
    watched = partial(model.module.apply, mutable=["taps"])
    (hidden, _), seen = jax.eval_shape(watched, model.variables, model.tokens)
    shapes = {site: leaf.shape for site, leaf in flat(observed(seen)).items()}
    one = (*model.tokens.shape, WIDTH)
    expected = {"embed_out": one, "final_norm_out": one}
    for layer in range(3):
        for site in SITES:
            size = (24,) if site == "ffn/ffn_hidden" else (WIDTH,)
            expected[f"blocks_0/layer_{layer}/{site}"] = (2, *model.tokens.shape, *size)
    for layer, state, decay in ((0, (4, 8), (4,)), (1, (4, 8), ())):
        heads = (*model.tokens.shape, 2)
        shown = {
            "log_decay": (*heads, *decay),
            "output_gate": (*heads, state[1]),
            "final_state": (2, 2, *state),
        } | ({"write_strength": heads} if layer == 1 else {})
        for name, shape in shown.items():
            expected[f"blocks_0/layer_{layer}/mixer/{name}"] = (2, *shape)
    assert shapes == expected
    _, seen = jax.eval_shape(partial(watched, method="logits"), model.variables, hidden)
    assert flat(observed(seen))["logits"].shape == (*model.tokens.shape, model.config.vocab)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Turn:
    """Moves the activations of a site, unevenly, so that norms cannot hide it."""

    by: jax.Array

    def __call__(self, h):
        return h + self.by * jnp.arange(h.shape[-1], dtype=h.dtype)


def test_taps_lie_in_the_documented_order():
    """A change at a site moves that site and every later one of the residual path, no earlier."""
    model = ready(attention_only(layers=1))
    places = ["embed_out", *(f"blocks_0/layer_0/{site}" for site in SITES), "final_norm_out"]

    @jax.jit
    def observe(amounts):
        adapters = {}
        for place, amount in zip(places, amounts, strict=True):
            node = adapters
            for name in place.split("/"):
                node = node.setdefault(name, {})
            node["turn"] = Turn(amount[None] if "blocks" in place else amount)
        variables = model.variables | {"adapters": adapters}
        _, seen = model.module.apply(variables, model.tokens, mutable=["taps"])
        return flat(observed(seen))

    base = observe(jnp.zeros(len(places)))
    for i, place in enumerate(places):
        seen = observe(jnp.zeros(len(places)).at[i].set(1.0))
        moved = {site for site in places if not np.array_equal(seen[site], base[site])}
        assert moved == set(places[i:]), place


def test_an_adapter_at_the_logits_reaches_the_loss():
    model = ready(attention_only())
    variables = model.variables | {"adapters": {"logits": {"turn": Turn(jnp.float32(0.1))}}}
    hidden = model.hidden(model.variables, model.tokens)
    logits = model.logits(variables, hidden)
    assert not np.array_equal(logits, model.logits(model.variables, hidden))
    lse = model.module.apply(variables, hidden, model.tokens, 6, method="cross_entropy")[1]
    np.testing.assert_allclose(lse, jax.nn.logsumexp(logits, -1), rtol=1e-5)


def test_rescaled_residual_weights_start_smaller():
    def spread(rescale):
        model = attention_only(width=64, layers=8, rescale_residual=rescale)
        x = jnp.zeros((1, 1, 64))
        variables = Block(model, model.attention).init(jax.random.key(0), x, None, None, None)
        layer = nn.meta.unbox(variables)["params"]
        of = lambda part, name: float(layer[part][name]["kernel"].std())  # noqa: E731
        return [of("mixer", "o"), of("ffn", "down"), of("mixer", "q"), of("ffn", "up")]

    # At least 24 * 64 weights: the spread is known to 1 / sqrt(2 * 1536) = 1.8 %.
    np.testing.assert_allclose(spread(False), [0.2] * 4, rtol=0.08)
    np.testing.assert_allclose(spread(True), [0.05, 0.05, 0.2, 0.2], rtol=0.08)
