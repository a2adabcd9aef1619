"""A small language model with random weights that are large enough to have opinions."""

from functools import cache

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM, FeedForward
from jaxlin.models.lm import LanguageModel, build

VOCAB = 272  # more than the 257 ids of the byte tokenizer
HYBRID = "mixer + attention"


@cache
def tiny(pattern: str = "full") -> tuple[LanguageModel, dict]:
    """The model and its variables, float32."""
    config = LM(
        vocab=VOCAB,
        width=16,
        layers=2,
        pattern=pattern,
        mixer=GatedDeltaNet(heads=2, head_dim=8, expand_v=1.0),
        attention=Softmax(heads=2),
        ffn=FeedForward(hidden=16),
        init_std=0.3,
        dtype="float32",
    )
    model = build(config)
    init = jax.jit(model.init)
    return model, nn.meta.unbox(init(jax.random.key(0), jnp.zeros((1, 8), jnp.int32)))
