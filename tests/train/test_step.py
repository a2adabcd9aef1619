"""One step: loss, accumulation, donation, average, randomness, adapters."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxlin.config.adapters.lora import LoRA
from jaxlin.config.model import Loss
from jaxlin.config.optimizers.muon import Muon
from jaxlin.parallel.paths import flatten
from jaxlin.train.plan import make_plan, place_state
from jaxlin.train.state import STEP, key
from jaxlin.train.step import gradient, make_step
from tests.train.helpers import (
    SMALL,
    assert_equal,
    batch,
    built,
    distance,
    host,
    put,
    run,
    snapshot,
    start,
)


def test_the_loss_is_the_weighted_mean_and_the_z_term_joins_it():
    cfg = replace(SMALL, loss=Loss(chunk=64, z=0.1))
    plan, mesh, step = built(cfg)
    state, given = start(cfg), put(batch(0, ragged=True), built(SMALL)[1])
    variables = {"params": state.params}
    hidden, _ = plan.model.apply(variables, given.tokens)
    logits = plan.model.apply(variables, hidden, method="logits")
    lse = jax.nn.logsumexp(logits, axis=-1)
    nll = lse - jnp.take_along_axis(logits, given.targets[..., None], -1)[..., 0]
    total = given.weights.sum()
    _, metrics = step(state, given)
    # float32 means of 128 values near 5 and 25.
    expected = float((given.weights * nll).sum() / total)
    assert float(metrics["loss"]) == pytest.approx(expected, rel=1e-6)
    expected = float(0.1 * (given.weights * lse**2).sum() / total)
    assert float(metrics["z_loss"]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("ragged", [False, True])
def test_accumulation_equals_the_big_batch(ragged):
    """Also where micro-batches hold different numbers of tokens."""
    split = replace(SMALL, accumulate=4, loss=Loss(chunk=64, z=0.01))
    whole = replace(split, accumulate=1)
    given = put(batch(0, ragged=ragged), built(SMALL)[1])
    state = start(SMALL)
    results = [
        jax.jit(lambda s, b, plan=plan: gradient(plan, s, b, jax.random.key(0)))(state, given)
        for plan in (make_plan(cfg, built(SMALL)[1].shape) for cfg in (whole, split))
    ]
    (grads, sums), (split_grads, split_sums) = results
    assert distance(grads, split_grads) < 2e-7  # gradients up to 0.5, summed in another order
    for name in sums:
        assert float(sums[name]) == pytest.approx(float(split_sums[name]), rel=1e-6)


def test_the_state_is_donated_and_the_step_counts():
    plan, mesh, step = built(SMALL)
    before = start(SMALL)
    after, _ = step(before, put(batch(0), mesh))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
    assert int(after.step) == 1 and after.step.dtype == jnp.int32


def test_metrics_are_those_of_the_given_state():
    plan, mesh, step = built(SMALL)
    state = start(SMALL)
    for n, lr in enumerate((0.005, 0.01, 0.01)):  # warm-up of two steps to 0.01
        state, metrics = step(state, put(batch(n), mesh))
        assert float(metrics["lr"]) == pytest.approx(lr)
        counts = {"skipped", "skipped_in_row", "rewinds", "loss_limit"}
        assert set(metrics) == {"loss", "grad_norm", "lr", "batch"} | counts
    given = put(batch(3), mesh)
    grads, _ = gradient(plan, state, given, jax.random.key(0))
    expected = np.sqrt(sum(float((g**2).sum()) for g in jax.tree.leaves(grads)))
    assert float(step(state, given)[1]["grad_norm"]) == pytest.approx(expected, rel=1e-5)


def test_nothing_moves_between_host_and_devices_unasked():
    _, mesh, step = built(SMALL)
    state = start(SMALL)
    with jax.transfer_guard("disallow"):
        state, metrics = step(state, put(batch(0), mesh))
        jax.device_get(metrics)


def test_the_average_follows_its_formula():
    cfg = replace(SMALL, ema=0.8)
    state = start(cfg)
    expected = host(state.params)
    assert_equal(state.ema, state.params)
    for n in range(3):
        state, _ = run(cfg, state, [n])
        expected = {p: 0.8 * expected[p] + 0.2 * x for p, x in host(state.params).items()}
    for path, leaf in host(state.ema).items():
        np.testing.assert_allclose(leaf, expected[path], atol=1e-6)
    assert state.variables()["params"] is state.ema
    assert distance(state.ema, state.params) > 1e-3
    plain, _ = run(SMALL, start(SMALL), range(3))
    assert_equal(plain.params, state.params)


def test_muon_trains_the_model():
    cfg = replace(SMALL, optim=Muon(lr=2e-2, adam_lr=1e-2))
    groups = built(cfg)[0].optimizer.groups
    assert groups["embed/embedding"].optimizer == groups["final_norm/scale"].optimizer == "adamw"
    assert groups["blocks_0/layer_0/ffn/up/kernel"].optimizer == "muon"
    _, losses = run(cfg, start(cfg), [0] * 6)
    assert losses[-1] < losses[0] - 0.5


ADAPTED = replace(SMALL, adapters=(LoRA(rank=2),), ema=0.9)


def test_adapters_train_and_the_base_stays_bit_for_bit():
    state = start(ADAPTED)
    base, adapters = snapshot(state.params), snapshot(state.adapters)
    state, losses = run(ADAPTED, state, [0] * 5)
    assert_equal(state.params, base)
    moved = {p for p, x in host(state.adapters).items() if (x != host(adapters)[p]).any()}
    assert moved == {p for p in host(adapters) if p.endswith(("/a", "/b"))}
    assert losses[-1] < losses[0]


def test_the_optimizer_and_the_average_know_only_the_adapters():
    plan = built(ADAPTED)[0]
    adapters = flatten(plan.shapes.adapters)
    for path, leaf in flatten(plan.shapes.opt_state).items():
        assert leaf.shape == () or any(path.endswith(f"/{own}") for own in adapters), path
    assert flatten(plan.shapes.ema).keys() == adapters.keys()
    frozen = {row.path for row in plan.rows if row.optimizer == "frozen"}
    assert frozen == set(flatten(plan.shapes.params))


class Noisy(nn.Module):
    """As small as the API of a model allows; its loss depends on the random key."""

    @nn.compact
    def __call__(self, tokens, segment_ids=None, positions=None, cache=None):
        scale = self.param("scale", nn.initializers.ones, (4,))
        drop = nn.Dropout(0.5, deterministic=self.is_initializing())
        return drop(jnp.ones((*tokens.shape, 4)) * scale), None

    def cross_entropy(self, hidden, targets, chunk):
        return hidden.sum(-1), hidden.sum(-1)


def test_randomness_is_a_function_of_seed_and_step():
    mesh = built(SMALL)[1]

    def losses(seed):
        cfg = replace(SMALL, seed=seed)
        plan = make_plan(cfg, mesh.shape, model=Noisy())
        step, state = make_step(plan, mesh), place_state(plan, mesh)
        out = []
        for _ in range(3):
            state, metrics = step(state, put(batch(0), mesh))
            out.append(float(metrics["loss"]))
        return out

    first = losses(0)
    assert first == losses(0)
    assert len(set(first)) == 3 and first != losses(1)
    data = [jax.random.key_data(key(0, STEP, n)).tolist() for n in range(3)]
    assert data[0] != data[1] != data[2]
