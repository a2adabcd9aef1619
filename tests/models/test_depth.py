"""What is traced and compiled does not grow with depth."""

import jax
import jax.numpy as jnp
import pytest

from jaxlin.models.lm import build
from tests.models.jaxprs import equations
from tests.models.tiny import EACH, KINDS, config

TOKENS = jax.ShapeDtypeStruct((1, 8), jnp.int32)


def loss_gradient(changes):
    model = build(config(**changes))
    params = jax.eval_shape(model.init, jax.random.key(0), TOKENS)

    def loss(variables, tokens):
        hidden, _ = model.apply(variables, tokens)
        return model.apply(variables, hidden, tokens, 4, method="cross_entropy")[0].sum()

    return jax.jit(jax.grad(loss)), params


@pytest.mark.parametrize("kind", EACH)
@pytest.mark.parametrize("remat", ["none", pytest.param("full", marks=pytest.mark.slow)])
def test_equations_do_not_grow_with_depth(kind, remat):
    def size(layers):
        step, params = loss_gradient(KINDS[kind] | {"layers": layers, "remat": remat})
        return sum(1 for _ in equations(step.trace(params, TOKENS).jaxpr.jaxpr))

    assert size(6) == size(48) > 100


@pytest.mark.slow
@pytest.mark.parametrize("kind", EACH)
def test_lowered_program_does_not_grow_with_depth(kind):
    def lines(layers):
        step, params = loss_gradient(KINDS[kind] | {"layers": layers})
        return step.lower(params, TOKENS).as_text().count("\n")

    assert lines(6) == lines(48) > 100


def test_an_unfolded_list_of_layers_does_grow():
    """The control: kinds that never repeat cannot be folded."""
    kinds = [f"softmax(heads=2, window={w})" for w in range(1, 5)]
    sizes = []
    for layers in (2, 4):
        step, params = loss_gradient({"layers": layers, "pattern": tuple(kinds[:layers])})
        sizes.append(sum(1 for _ in equations(step.trace(params, TOKENS).jaxpr.jaxpr)))
    assert sizes[1] > 1.5 * sizes[0]
