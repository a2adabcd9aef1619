"""A mixer of one's own, in one file: retention (Sun et al. 2023, arXiv 2307.08621).

    S_t = g_h S_{t-1} + k_t v_t^T,  o_t = S_t^T q_t / sqrt(k),  g_h = 1 - 2^(-5-h)
    y = W_o (norm(o) * silu(W_g x))

`python examples/add_a_mixer.py` trains two layers of it to remember which tokens a row is made of.
"""

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxlin.config.model import LM, FeedForward
from jaxlin.config.registry import mixers
from jaxlin.mixers import base
from jaxlin.models.lm import build
from jaxlin.nn import RMSNorm, show
from kernels_pallas import linear_attention


class Retention(base.Mixer):
    """Sites q, k, v, gate, o."""

    @nn.compact
    def __call__(self, x, *, segment_ids=None, positions=None, cache=None):
        heads = self.config.heads
        q, k, v, gate = (
            self.linear(site, self.width)(x).reshape(*x.shape[:2], heads, -1)
            for site in ("q", "k", "v", "gate")
        )
        decay = jnp.log1p(-(2.0 ** (-5.0 - jnp.arange(heads, dtype=jnp.float32))))
        state = base.continued_state(cache, segment_ids)
        op = self.on_mesh(linear_attention, x.shape[1])  # on several devices, each its part
        y, state = op(q, k, v, decay, initial_state=state, segment_ids=segment_ids)
        show(self, "log_decay", decay)  # what is shown is in every report of a run
        show(self, "final_state", state)
        y = RMSNorm(name="norm")(y) * jax.nn.silu(gate)
        if cache is not None:
            seen = base.last_segments(cache, segment_ids, x.shape[1])
            cache = base.RecurrentCache(state, {}, seen)
        return self.output(y), cache

    @staticmethod
    def init_cache(config, width, batch, length, dtype):
        size = width // config.heads
        return base.recurrent_cache((batch, config.heads, size, size), {}, 0, dtype)


@mixers.register("my_retention", Retention)
@dataclass(frozen=True, kw_only=True)
class RetentionConfig:
    """What a user can set; `model.mixer=my_retention` and patterns know it by its kind."""

    kind: Literal["my_retention"] = "my_retention"
    heads: int = 4

    def problems(self, width: int) -> list[str]:
        if width % self.heads:
            return [f"heads: {self.heads} does not divide the width {width}"]
        return []


def train(steps: int = 200) -> jax.Array:
    """Losses of a small model. A row is drawn from two of 32 tokens: knowing both, the loss is
    log 2 = 0.69; a model without memory knows one, and gets (log 2 + log 62) / 2 = 2.41."""
    small = dict(vocab=32, width=32, layers=2, ffn=FeedForward(hidden=64), dtype="float32")
    model = build(LM(**small, pattern="my_retention", mixer=RetentionConfig()))
    optimizer, keys = optax.adam(1e-2), jax.random.split(jax.random.key(0))
    pairs = jax.random.randint(keys[0], (steps, 16, 2), 0, 32)
    picks = jax.random.randint(keys[1], (steps, 16, 33), 0, 2)
    tokens = jnp.take_along_axis(pairs, picks, axis=2)
    params = nn.meta.unbox(model.init(jax.random.key(1), tokens[0]))

    def loss(params, tokens):
        hidden, _ = model.apply(params, tokens[:, :-1])
        nll, _ = model.apply(params, hidden, tokens[:, 1:], 1024, method="cross_entropy")
        return nll[:, 8:].mean()  # where both have been seen, but for one row in 128

    def step(carry, tokens):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params, tokens)
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), value

    return jax.jit(lambda c: jax.lax.scan(step, c, tokens))((params, optimizer.init(params)))[1]


if __name__ == "__main__":
    losses = train()
    print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}")
