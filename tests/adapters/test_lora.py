"""LoRA end to end on a two-layer model: the seam between base, sites and adapters."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlin.adapters import attach, load, merge, save, weight_sites
from jaxlin.config.adapters.lora import LoRA
from jaxlin.config.errors import CheckpointError, ConfigError
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM, FeedForward
from jaxlin.models import lm

CONFIG = LM(
    vocab=32,
    width=16,
    layers=3,
    pattern="full",
    attention=Softmax(heads=2),
    ffn=FeedForward(hidden=24),
    dtype="float32",
)
LORA = LoRA(at=r"blocks/[02]/mixer/(q|v)|blocks/\d+/ffn/up", rank=2, alpha=4.0)
MODEL = lm.build(CONFIG)


@pytest.fixture(scope="module")
def tokens():
    return jax.random.randint(jax.random.key(0), (2, 10), 0, 32)


@pytest.fixture(scope="module")
def params(tokens):
    return nn.meta.unbox(jax.jit(MODEL.init)(jax.random.key(1), tokens))["params"]


@pytest.fixture(scope="module")
def adapters(params):
    """Attached, with B moved away from zero so that they do something."""
    tree = attach((LORA,), params, jax.random.key(2))
    return jax.tree.map(lambda leaf: leaf + 0.3 * (leaf == 0), tree)


def logits(params, adapters, tokens):
    variables = {"params": params} | ({"adapters": adapters} if adapters else {})
    hidden, _ = MODEL.apply(variables, tokens)
    return MODEL.apply(variables, hidden, method="logits")


def test_sites_have_the_public_names(params):
    names = [site.name for site in weight_sites(params)]
    assert names[:7] == [
        f"blocks/0/{n}" for n in "ffn/down ffn/gate ffn/up mixer/k mixer/o mixer/q mixer/v".split()
    ]
    assert names[-2:] == ["embed", "unembed"]
    assert len(names) == 3 * 7 + 2


def test_without_adapters_the_jaxpr_is_the_base_models(params, tokens):
    base = jax.make_jaxpr(lambda p: MODEL.apply({"params": p}, tokens))(params)
    empty = jax.make_jaxpr(lambda p: MODEL.apply({"params": p, "adapters": {}}, tokens))(params)
    assert str(base) == str(empty)


def test_a_new_adapter_changes_nothing(params, tokens):
    fresh = attach((LORA,), params, jax.random.key(2))
    np.testing.assert_array_equal(logits(params, fresh, tokens), logits(params, {}, tokens))


def test_merged_equals_attached(params, adapters, tokens):
    attached, merged = logits(params, adapters, tokens), logits(merge(params, adapters), {}, tokens)
    assert np.abs(attached - logits(params, {}, tokens)).max() > 1e-2
    np.testing.assert_allclose(attached, merged, atol=2e-5)


def test_merge_is_exact_and_leaves_the_rest(params, adapters):
    merged = merge(params, adapters)
    low = adapters["blocks_0"]["layer_0"]["mixer"]["q"]["kernel"]["lora"]
    base = params["blocks_0"]["layer_0"]["mixer"]
    expected = base["q"]["kernel"] + 2.0 * jnp.einsum("nir,nro->nio", low.a, low.b)
    np.testing.assert_allclose(
        merged["blocks_0"]["layer_0"]["mixer"]["q"]["kernel"], expected, rtol=1e-6
    )
    assert merged["blocks_0"]["layer_0"]["mixer"]["k"]["kernel"] is base["k"]["kernel"]


@pytest.mark.slow
def test_unmatched_layers_stay_exactly_zero_in_training(params, tokens):
    tree = attach((LORA,), params, jax.random.key(2))
    optimizer = optax.adamw(1e-2, weight_decay=0.1)
    state = optimizer.init(tree)

    def loss(tree):
        variables = {"params": params, "adapters": tree}
        hidden, _ = MODEL.apply(variables, tokens)
        return MODEL.apply(variables, hidden, tokens, 64, method="cross_entropy")[0].mean()

    first = loss(tree)
    for _ in range(3):
        updates, state = optimizer.update(jax.grad(loss)(tree), state, tree)
        tree = optax.apply_updates(tree, updates)
    low = tree["blocks_0"]["layer_0"]["mixer"]["q"]["kernel"]["lora"]
    assert loss(tree) < first
    assert not np.any(low.a[1]) and not np.any(low.b[1])
    assert np.any(low.b[0]) and np.any(low.b[2])
    moments = jax.tree.leaves(state[0].mu)
    assert sum(m.size for m in moments) == sum(x.size for x in jax.tree.leaves(tree))


def test_saved_alone_and_loaded(params, adapters, tokens, tmp_path):
    save(tmp_path / "a", adapters, (LORA,), params)
    configs, tree = load(tmp_path / "a", params)
    assert configs == (LORA,)
    np.testing.assert_array_equal(logits(params, tree, tokens), logits(params, adapters, tokens))
    size = sum(f.stat().st_size for f in (tmp_path / "a").iterdir())
    assert size < 4 * sum(x.size for x in jax.tree.leaves(params)) / 2


def test_refused_on_another_base(params, adapters, tmp_path):
    save(tmp_path / "a", adapters, (LORA,), params)
    other = jax.tree.map(lambda x: x + 1e-3, params)
    with pytest.raises(CheckpointError, match="another base"):
        load(tmp_path / "a", other)


def test_damaged_files_are_refused(params, adapters, tmp_path):
    save(tmp_path / "a", adapters, (LORA,), params)
    file = tmp_path / "a" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match="its content is not what adapter_config.json"):
        load(tmp_path / "a", params)


def test_pattern_that_matches_nothing_lists_the_sites(params):
    with pytest.raises(ConfigError, match=r"blocks/N/mixer/q.*unembed"):
        attach((LoRA(at="blocks/9/mixer/q"),), params, jax.random.key(0))


def test_two_adapters_of_one_name_are_refused(params):
    with pytest.raises(ConfigError, match="used twice"):
        attach((LORA, LORA), params, jax.random.key(0))


def test_two_adapters_add_up(params, tokens):
    second = LoRA(name="second", at="unembed|embed", rank=2)
    tree = attach((LORA, second), params, jax.random.key(2))
    tree = jax.tree.map(lambda leaf: leaf + 0.3 * (leaf == 0), tree)
    np.testing.assert_allclose(
        logits(params, tree, tokens), logits(merge(params, tree), {}, tokens), atol=2e-5
    )
