"""The cut into groups: blocks of heads and sequences change nothing, and gather nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from kernels_pallas import delta_rule
from kernels_pallas.chunks import Plan, plan
from kernels_pallas.delta_rule.api import prepare
from kernels_pallas.delta_rule.xla import delta_rule_chunked, plan_for


def arrays(b: int, t: int, h: int, k: int) -> list[jax.Array]:
    """q, k, v, beta, log decay, initial state."""
    rng = np.random.default_rng(0)
    shapes = [(b, t, h, k)] * 3 + [(b, t, h)] * 2 + [(b, h, k, k)]
    q, key, v, beta, decay, state = (rng.standard_normal(s).astype(np.float32) for s in shapes)
    key /= np.linalg.norm(key, axis=-1, keepdims=True)
    given = (q, key, v, 1 / (1 + np.exp(-beta)), -np.abs(decay), state)
    return [jnp.asarray(x) for x in given]


def outputs_and_gradients(cut: Plan, given: list[jax.Array], ids: jax.Array) -> list[np.ndarray]:
    def run(*given: jax.Array) -> tuple[jax.Array, jax.Array]:
        tokens, state = prepare(*given, ids)
        return delta_rule_chunked(cut, tokens, state)

    (outputs, state), pull = jax.vjp(run, *given)
    return [np.asarray(x) for x in (outputs, state, *pull((outputs, state)))]


@pytest.mark.parametrize(
    ("sequences", "heads"),
    [(1, 1), (2, 4), *(pytest.param(1, heads, marks=pytest.mark.slow) for heads in (2, 4))],
)
def test_blocks_change_nothing(sequences: int, heads: int) -> None:
    given = arrays(4, 37, 4, 8)
    ids = jnp.cumsum(jnp.arange(37) % 11 == 5)[None] + jnp.arange(4)[:, None]
    cut = plan("delta_rule", given[1], 1.0, 8, 16)
    assert (cut.sequences, cut.heads, cut.groups) == (4, 4, 3)  # there are several devices here
    whole = outputs_and_gradients(cut, given, ids)
    parts = outputs_and_gradients(cut._replace(sequences=sequences, heads=heads), given, ids)
    for found, want in zip(parts, whole, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "shape, blocks",
    [
        ((4, 1000, 16, 128), (1, 1, 256)),
        ((4, 1000, 3, 512), (1, 1, 256)),
        ((1, 5000, 4, 64), (1, 4, 256)),
        ((64, 64, 2, 64), (8, 2, 64)),
    ],
)
def test_a_group_on_one_cpu_fits_its_cache(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], blocks: tuple[int, int, int]
) -> None:
    """At most 65,536 numbers of k, but for 256 tokens of one head; all heads or one."""
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    cut = plan_for(jnp.zeros(shape), 1.0, None)
    assert (cut.sequences, cut.heads, cut.chunks * cut.rows) == blocks


def test_sequences_and_heads_of_several_devices_are_not_gathered() -> None:
    mesh = jax.make_mesh((4, 2), ("data", "tensor"), (jax.sharding.AxisType.Auto,) * 2)

    def place(x: jax.Array, *names: str | None) -> jax.Array:
        return jax.device_put(x, NamedSharding(mesh, PartitionSpec(*names)))

    *along, state = arrays(4, 600, 2, 8)
    along = [place(x, "data", None, "tensor") for x in along]

    def loss(*along: jax.Array) -> jax.Array:
        outputs, _ = delta_rule(*along, initial_state=state, implementation="xla")
        return jnp.sum(outputs**2)

    compiled = jax.jit(jax.grad(loss, range(5))).lower(*along).compile()
    text = compiled.as_text()
    assert not any(name in text for name in ("all-gather", "all-to-all", "collective-permute"))
    for x in compiled.output_shardings:
        assert tuple(x.spec)[:3] == ("data", None, "tensor")
