"""Who trains what, what decays, and that the updates are those of the papers."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.config.optimizers.adamw import AdamW
from jaxlin.config.optimizers.muon import Muon
from jaxlin.train.optimizer import Group, build, is_matrix

AXES = {
    "embed/embedding": ("vocab", "embed"),
    "layer/conv/kernel": ("layers", "conv", "heads"),
    "layer/norm/scale": ("layers", None),
    "layer/q/kernel": ("layers", "embed", "heads"),
    "out/kernel": ("embed", "vocab"),
}
SHAPES = {
    "embed/embedding": (12, 8),
    "layer/conv/kernel": (2, 4, 6),
    "layer/norm/scale": (2, 8),
    "layer/q/kernel": (2, 8, 6),
    "out/kernel": (8, 12),
}
NO_CLIP = AdamW(lr=0.1, clip=None, weight_decay=0.5)


def tree(seed):
    random = np.random.default_rng(seed)
    found = {}
    for path, shape in SHAPES.items():
        node = found
        *folders, name = path.split("/")
        for folder in folders:
            node = node.setdefault(folder, {})
        node[name] = jnp.asarray(random.normal(size=shape), jnp.float32)
    return found


def ones(step):
    return jnp.ones(())


def update(config, grads, params, axes=AXES):
    transform = build(config, ones, axes).transform
    return transform.update(grads, transform.init(params), params)[0]


def test_adamw_decays_only_what_no_pattern_names():
    groups = build(NO_CLIP, ones, AXES).groups
    assert {path for path, group in groups.items() if not group.decay} == {"layer/norm/scale"}
    params, zeros = tree(0), jax.tree.map(jnp.zeros_like, tree(0))
    change = update(NO_CLIP, zeros, params)
    # With a zero gradient only the decay moves: -lr * weight_decay * p.
    np.testing.assert_allclose(
        change["layer"]["q"]["kernel"], -0.05 * params["layer"]["q"]["kernel"]
    )
    assert not change["layer"]["norm"]["scale"].any()


def test_adamw_first_update_is_the_formula():
    config = replace(NO_CLIP, weight_decay=0.0)
    grads = tree(1)
    change = update(config, grads, tree(0))["out"]["kernel"]
    g = grads["out"]["kernel"]
    np.testing.assert_allclose(change, -0.1 * g / (jnp.abs(g) + config.eps), rtol=1e-6)


def test_without_weight_decay_nothing_is_said_to_decay():
    groups = build(replace(NO_CLIP, weight_decay=0.0), ones, AXES).groups
    assert not any(group.decay for group in groups.values())


@pytest.mark.parametrize("field", ["no_decay", "adam"])
def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest(field):
    config = replace(Muon(), **{field: ("layer/q",)})
    with pytest.raises(ConfigError, match=f"optim.{field}: 'layer/q' matches no .*layer/q/kernel"):
        build(config, ones, AXES)


def test_a_pattern_may_aim_at_parameters_that_are_frozen():
    trained = {"layer/q/kernel": AXES["layer/q/kernel"]}
    groups = build(Muon(), ones, trained, known=AXES).groups
    assert groups == {"layer/q/kernel": Group("muon", True)}


def test_muon_trains_matrices_only():
    groups = build(Muon(adam=("embed/.*",)), ones, AXES).groups
    assert {path for path, group in groups.items() if group.optimizer == "muon"} == {
        "layer/q/kernel",
        "out/kernel",
    }
    assert not is_matrix(("layers", "conv", "heads")) and not is_matrix(("layers", None))
    assert is_matrix(("experts", "embed", "mlp")) and is_matrix(("embed", "mlp"))


def test_muon_orthogonalises_each_matrix_of_a_stack():
    config = Muon(lr=1.0, adam=("embed/.*",), weight_decay=0.0, clip=None)
    change = np.asarray(update(config, tree(1), tree(0))["layer"]["q"]["kernel"])
    for matrix in change:
        # The five Newton-Schulz steps leave singular values within about 0.3 of 1 (Jordan 2024).
        values = np.linalg.svd(matrix, compute_uv=False)
        assert 0.5 < values.min() and values.max() < 1.4
    alone = update(config, jax.tree.map(lambda g: 100 * g, tree(1)), tree(0))
    np.testing.assert_allclose(alone["layer"]["q"]["kernel"], change, atol=1e-4)


def test_muon_leaves_the_rest_to_adamw():
    config = Muon(lr=1.0, adam_lr=0.1, adam=("embed/.*",), weight_decay=0.5, clip=None)
    muon = update(config, tree(1), tree(0))
    adamw = update(AdamW(lr=0.1, weight_decay=0.5, clip=None), tree(1), tree(0))
    np.testing.assert_array_equal(muon["embed"]["embedding"], adamw["embed"]["embedding"])
    np.testing.assert_array_equal(muon["layer"]["norm"]["scale"], adamw["layer"]["norm"]["scale"])


def test_muon_decays_by_its_own_rate_and_spares_no_decay():
    config = Muon(lr=0.2, adam_lr=0.1, adam=("embed/.*",), weight_decay=0.5, clip=None)
    config = replace(config, no_decay=("out/kernel",))
    params, zeros = tree(0), jax.tree.map(jnp.zeros_like, tree(0))
    change = update(config, zeros, params)
    np.testing.assert_allclose(
        change["layer"]["q"]["kernel"], -0.1 * params["layer"]["q"]["kernel"]
    )
    np.testing.assert_allclose(change["embed"]["embedding"], -0.05 * params["embed"]["embedding"])
    assert not change["out"]["kernel"].any()


def test_clip_bounds_the_norm_of_the_whole_gradient():
    config = AdamW(lr=1.0, clip=0.5, weight_decay=0.0, b1=0.0, b2=0.0, eps=1e6)
    grads = tree(1)
    # With b1 = b2 = 0 and a huge eps the update is -g / eps: it shows the clipped gradient.
    seen = jax.tree.map(lambda u: -1e6 * u, update(config, grads, tree(0)))
    assert float(optax.tree.norm(grads)) > 1
    assert float(optax.tree.norm(seen)) == pytest.approx(0.5, rel=1e-4)
    small = jax.tree.map(lambda g: 1e-3 * g, grads)
    kept = jax.tree.map(lambda u: -1e6 * u, update(config, small, tree(0)))
    np.testing.assert_allclose(kept["out"]["kernel"], small["out"]["kernel"], rtol=1e-4)


def test_the_schedule_multiplies_the_peak():
    config = replace(NO_CLIP, weight_decay=0.0)
    half = build(config, lambda step: jnp.float32(0.5), AXES).transform
    change = half.update(tree(1), half.init(tree(0)), tree(0))[0]["out"]["kernel"]
    full = update(config, tree(1), tree(0))["out"]["kernel"]
    np.testing.assert_allclose(change, 0.5 * full, rtol=1e-6)
