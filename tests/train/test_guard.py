"""The guard of a step: what it refuses changes nothing, what it watches is remembered exactly."""

import functools
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.adapters.lora import LoRA
from jaxlin.config.guard import RING, Guard, Spike
from jaxlin.config.optimizers.muon import Muon
from jaxlin.config.run import Checkpoint
from jaxlin.train import guard, step
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.plan import make_plan
from jaxlin.train.step import make_step
from tests.train.helpers import (
    SMALL,
    assert_equal,
    batch,
    built,
    distance,
    host,
    put,
    snapshot,
    start,
)

VARIANTS = {
    "plain": SMALL,
    "adapters_ema": replace(SMALL, adapters=(LoRA(rank=2),), ema=0.9),
    "accumulated_muon_ema": replace(
        SMALL, accumulate=2, ema=0.9, optim=Muon(lr=2e-2, adam_lr=1e-2)
    ),
}
CASES = [
    pytest.param(cfg, id=name, marks=[] if name == "plain" else pytest.mark.slow)
    for name, cfg in VARIANTS.items()
]
LEARNT = ("params", "adapters", "opt_state", "ema")


def poisoned(n, value=np.nan):
    """A batch whose loss and gradients are `value`: one token has this weight."""
    given = batch(n)
    given.weights[0, 0] = value
    return given


def learnt(state):
    return snapshot({name: getattr(state, name) for name in LEARNT})


def steps(cfg, state, given, compiled=None):
    """The state and the metrics of each step."""
    _, mesh, own = built(cfg)
    out = []
    for one in given:
        state, metrics = (compiled or own)(state, put(one, mesh))
        out.append({name: float(value) for name, value in metrics.items()})
    return state, out


@functools.cache
def unguarded(cfg):
    """The compiled step as it would be without the guard's last word."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "keep", lambda good, after, before: after)
        plan, mesh, _ = built(cfg)
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch(0))
        return make_step(plan, mesh).lower(plan.shapes, shapes).compile()


@pytest.mark.parametrize("cfg", CASES)
def test_a_bad_step_changes_nothing_but_the_count(cfg):
    """NaN and infinity alike; after it training goes on as if the batch had never been."""
    state, _ = steps(cfg, start(cfg), [batch(0)])
    before = learnt(state)
    state, metrics = steps(cfg, state, [poisoned(1), poisoned(2, np.inf)])
    assert_equal(learnt(state), before)
    assert int(state.step) == 3
    assert [m["skipped_in_row"] for m in metrics] == [1, 2] and metrics[1]["skipped"] == 2
    assert not np.isfinite([m["grad_norm"] for m in metrics]).any()
    state, (good,) = steps(cfg, state, [batch(3)])
    assert good["skipped_in_row"] == 0 and good["skipped"] == 2
    assert good["lr"] == pytest.approx(cfg.optim.lr)  # the 2nd update: its warm-up counts updates
    without, _ = steps(cfg, start(cfg), [batch(0), batch(3)])
    assert_equal(learnt(state), learnt(without))
    assert distance(learnt(state), before) > 0


@pytest.mark.parametrize("cfg", CASES)
def test_without_the_guard_it_would_be_in_everything(cfg):
    """The control of the test above."""
    state, _ = steps(cfg, start(cfg), [poisoned(0)], unguarded(cfg))
    bad = {path.split("/")[0] for path, x in host(learnt(state)).items() if np.isnan(x).any()}
    trained = "adapters" if cfg.adapters else "params"
    assert bad == {trained, "opt_state"} | ({"ema"} if cfg.ema else set())


@pytest.mark.parametrize("cfg", CASES)
def test_a_healthy_run_keeps_its_bits(cfg):
    given = [batch(n) for n in range(4)]
    guarded, metrics = steps(cfg, start(cfg), given)
    bare, expected = steps(cfg, start(cfg), given, unguarded(cfg))
    assert_equal(learnt(guarded), learnt(bare))
    assert [m["loss"] for m in metrics] == [m["loss"] for m in expected]


def test_the_guard_only_selects(monkeypatch):
    """One select a leaf that is trained; nothing that waits for the host."""
    plan, mesh, _ = built(SMALL)
    given, shardings = put(batch(0), mesh), plan.shardings(mesh)

    def selects():
        traced = jax.make_jaxpr(lambda s, b: step.train_step(plan, shardings, s, b))
        return str(traced(plan.shapes, given)).count("select_n")

    guarded = selects()
    monkeypatch.setattr(step, "keep", lambda good, after, before: after)
    leaves = jax.tree.leaves([plan.shapes.params, plan.shapes.opt_state])
    assert guarded - selects() == len(leaves)
    text = make_step(plan, mesh).lower(plan.shapes, given).as_text()
    assert not re.search("callback|infeed|outfeed|send", text)


# ---- The rule for spikes.

RULE = Guard(spike=Spike(action="skip", window=16, sigmas=6.0))


def watched(losses, rule=RULE, state=None):
    """State and, for each loss, whether it was taken and its limit."""

    def one(state, loss):
        good, state, metrics = guard.judge(rule, state, {"loss": loss})
        return state, (good, metrics["loss_limit"])

    state = guard.fresh() if state is None else state
    state, (good, limits) = jax.lax.scan(one, state, jnp.asarray(losses, jnp.float32))
    return state, np.asarray(good), np.asarray(limits)


def noise(count, seed=0):
    return np.random.default_rng(seed).normal(3.0, 0.1, count).astype(np.float32)


def test_the_limit_is_mean_and_deviations_of_the_window():
    losses = noise(3 * RING)
    for window in (16, 128, RING):
        rule = replace(RULE, spike=Spike(action="log", window=window, sigmas=2.5))
        _, _, limits = watched(losses, rule)
        assert np.isinf(limits[:window]).all()
        for n in (window, RING + 3, 2 * RING + 5):
            last = losses[n - window : n].astype(np.float64)
            # float32 sums of up to 1024 values near 3
            assert limits[n] == pytest.approx(last.mean() + 2.5 * last.std(), rel=1e-5)


def test_it_fires_on_a_spike_and_not_on_noise():
    for seed in range(3):
        losses = noise(1000, seed)
        assert watched(losses, Guard(spike=Spike(action="skip")))[1].all()
        losses[500] += 2.0
        fired = ~watched(losses, Guard(spike=Spike(action="skip")))[1]
        assert fired.nonzero()[0].tolist() == [500]
    # The control: a lower limit fires on the same noise.
    assert not watched(noise(1000), Guard(spike=Spike(action="skip", sigmas=2.0)))[1].all()


def test_a_lasting_change_of_level_becomes_normal():
    losses = np.concatenate([noise(200), noise(200) + 5])
    fired = ~watched(losses)[1]
    assert fired[200] and 1 <= fired.sum() <= 16 and not fired[216:].any()


def test_equal_losses_are_no_spikes():
    assert watched(np.full(300, 0.1))[1].all()


def test_losses_that_are_not_finite_do_not_enter_the_window():
    losses = noise(200)
    losses[100:103] = np.nan, np.inf, -np.inf
    state, good, limits = watched(losses)
    assert (~good).nonzero()[0].tolist() == [100, 101, 102]
    assert np.isfinite(limits[16:]).all() and int(state.seen) == 197
    _, _, without = watched(np.delete(losses, [100, 101, 102]))
    np.testing.assert_array_equal(limits[103:], without[100:])


def test_its_state_in_a_checkpoint_goes_on_exactly(tmp_path):
    cfg = replace(SMALL, guard=Guard(spike=Spike(action="skip", window=4, sigmas=3.0)))
    plan, mesh, _ = built(cfg)
    given = [batch(n) for n in range(6)] + [poisoned(6), poisoned(7, 1e6), batch(8)]
    whole, metrics = steps(cfg, start(cfg), given)
    assert [m["skipped"] for m in metrics[5:]] == [0, 1, 2, 2]  # the last but one is a spike
    assert np.isfinite(metrics[7]["loss"])
    half, _ = steps(cfg, start(cfg), given[:7])
    checkpoints = Checkpoints(tmp_path, Checkpoint())
    checkpoints.save(7, half, {})
    again = checkpoints.restore(7, plan.shapes, plan.shardings(mesh))
    checkpoints.close()
    again, more = steps(cfg, again, given[7:])
    assert more == metrics[7:]
    assert_equal(again, whole)


def test_another_rule_fits_the_same_checkpoint():
    other = replace(SMALL, guard=Guard(nonfinite="rewind", spike=Spike(action="off", window=RING)))
    mesh = built(SMALL)[1]
    assert make_plan(other, mesh.shape).shapes == built(SMALL)[0].shapes


# ---- Rewinding, on the host.


@pytest.mark.parametrize(
    ("kept", "bad", "step"),
    [
        ([4, 8], 10, 8),
        ([4, 8, 9], 10, 8),  # 9 was saved by a stop: the run without it goes back to 8 as well
        ([7, 9], 10, 9),  # 8 was crowded out
        ([4, 8], 8, 4),  # the checkpoint of the bad step itself is none
        ([3], 4, 0),
        ([], 10, 0),
    ],
)
def test_where_a_rewind_goes(kept, bad, step):
    assert guard.rewind_to(kept, 4, bad) == step


def test_a_rewind_passes_over_the_batches_until_the_bad_one():
    state = start(SMALL).replace(step=jnp.int32(4))
    past = guard.fresh().replace(offset=jnp.int32(2), rewinds=jnp.int32(1), skipped=jnp.int32(9))
    after = guard.rewound(state, past, bad=7)
    # Step 7 took batch 6 + 2; step 5 takes the one after it.
    assert int(after.step + after.guard.offset) == 9
    assert int(after.guard.rewinds) == 2 and int(after.guard.skipped) == 0


@pytest.mark.parametrize(
    ("changed", "action", "reason"),
    [
        ({}, None, ""),
        ({"loss": np.nan, "grad_norm": np.inf}, "skip", "loss nan, grad_norm inf"),
        ({"z_loss": np.inf}, "skip", "z_loss inf"),
        ({"loss": 9.0}, "rewind", "loss 9.0000 is above 4.0000, mean + 6 std of the 128 before"),
    ],
)
def test_verdicts(changed, action, reason):
    rule = Guard(nonfinite="skip", spike=Spike(action="rewind"))
    counts = {"skipped": 3.0, "skipped_in_row": 2.0, "rewinds": 1.0}
    values = {"loss": 3.0, "z_loss": 0.1, "grad_norm": 1.0, "loss_limit": 4.0, **counts}
    event = guard.verdict(rule, 7, values | changed)
    assert event == (action and (7, action, reason, 3, 2, 1))
