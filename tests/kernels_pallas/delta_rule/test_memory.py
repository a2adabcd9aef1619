"""What the backward pass keeps: the inputs, and one state for each group of chunks."""

import jax
import jax.numpy as jnp
import pytest

from kernels_pallas.delta_rule import delta_rule

H, K, V, CHUNK = 2, 16, 16, 8
STATE = H * K * V


def specs(t: int, per_key: bool) -> list[jax.ShapeDtypeStruct]:
    shapes = [(1, t, H, K)] * 2 + [(1, t, H, V), (1, t, H)]
    shapes.append((1, t, H, K) if per_key else (1, t, H))
    return [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]


def numbers(tree) -> int:
    return sum(x.size for x in jax.tree.leaves(tree))


@pytest.mark.parametrize("per_key", (False, True))
def test_residuals(per_key: bool) -> None:
    """The leaves of the pullback are what a training step holds between forward and backward."""

    def saved(*arrays):
        return jax.vjp(lambda *a: delta_rule(*a, implementation="xla", chunk_size=CHUNK), *arrays)[
            1
        ]

    for t in (512, 1024):
        given = specs(t, per_key)
        kept = numbers(jax.eval_shape(saved, *given))
        assert numbers(given) <= kept <= numbers(given) + t // CHUNK * STATE


@pytest.mark.slow
@pytest.mark.parametrize("per_key", (False, True))
def test_temporaries(per_key: bool) -> None:
    def temporary(t: int) -> int:
        def loss(*arrays):
            outputs, state = delta_rule(*arrays, implementation="xla", chunk_size=CHUNK)
            return jnp.sum(outputs**2) + jnp.sum(state**2)

        compiled = jax.jit(jax.grad(loss, range(5))).lower(*specs(t, per_key)).compile()
        return compiled.memory_analysis().temp_size_in_bytes // 4

    # Measured 0.26 and 0.21: the cotangent of the outputs, which the loss makes, and one state a
    # group. Keeping what a chunk computes, of whatever kind, costs more than all inputs together.
    growth = temporary(2048) - temporary(1024)
    assert growth < 0.5 * (numbers(specs(1024, per_key)) + 1024 * H * V)
