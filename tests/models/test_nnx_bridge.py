"""The models load through flax's bridge to NNX."""

import jax
import numpy as np
import pytest
from flax import nnx
from flax.nnx import bridge

from jaxlin.models.lm import build
from tests.models.tiny import EACH, KINDS, config, ready


@pytest.mark.slow
@pytest.mark.parametrize("kind", EACH)
def test_equal_outputs_with_our_parameters(kind):
    model = ready(config(**KINDS[kind]))
    wrapped = bridge.ToNNX(build(model.config), rngs=nnx.Rngs(params=0))
    with nnx.use_eager_sharding(False):  # logical names stand for no mesh here
        bridge.lazy_init(wrapped, model.tokens)
        state = nnx.state(wrapped, nnx.Param)
        before = jax.tree.map(np.shape, nnx.to_pure_dict(state))
        assert before == jax.tree.map(np.shape, model.variables["params"])
        nnx.replace_by_pure_dict(state, model.variables["params"])
        nnx.update(wrapped, state)
        hidden, cache = wrapped(model.tokens)
    assert cache is None
    np.testing.assert_allclose(hidden, model.hidden(model.variables, model.tokens), atol=2e-5)
