"""Whole runs that meet bad data: they skip, stop or rewind, and end alike however often killed."""

import functools
import io
import json
import os
import random
import signal
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.errors import DivergedError, PreemptedError
from jaxlin.config.guard import Guard, Spike
from jaxlin.config.optimizers.adamw import AdamW
from jaxlin.config.run import Checkpoint, Eval, Log
from jaxlin.config.sources.text import Text
from jaxlin.data import corpus as corpora
from jaxlin.data.batches import Sampler
from jaxlin.parallel.mesh import make
from jaxlin.train import loop, reaction, records
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.loop import train
from jaxlin.train.plan import make_plan
from jaxlin.train.restore import load_run
from jaxlin.train.step import make_step
from tests.train.helpers import SMALL, At, assert_equal, host, put, start


@pytest.fixture(scope="module")
def cfg(tmp_path_factory):
    """Eight steps, saved after 4 and 8."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, seed, count in (("train", 0, 900), ("held", 1, 60)):
        words = random.Random(seed).choices("a run that meets bad data goes on".split(), k=count)
        (folder / f"{name}.txt").write_text(" ".join(words))
    return replace(
        SMALL,
        steps=8,
        model=replace(SMALL.model, vocab=384),
        data=Text(paths=(f"{folder}/train.txt",), eval_paths=(f"{folder}/held.txt",)),
        checkpoint=Checkpoint(every=4, minutes=None, keep=3, keep_best=0),
        eval=Eval(every=0, batches=1),
        log=Log(every=1, tensorboard=False),
    )


@functools.cache
def compiled(cfg, mesh):
    return make_step(make_plan(cfg, mesh.shape), mesh)


@pytest.fixture(autouse=True)
def one_compilation(monkeypatch):
    """Of the step: the rest of the guard's rule is for the host."""

    def shared(plan, mesh):
        return compiled(replace(plan.cfg, guard=Guard(spike=plan.cfg.guard.spike)), mesh)

    monkeypatch.setattr(loop, "make_step", shared)


@pytest.fixture
def poison(monkeypatch):
    """Makes the weights of the batches with these numbers NaN, wherever a run meets them."""

    def apply(*numbers):
        made = Sampler.batch_at

        def batch_at(self, step, rows=slice(None)):
            batch = made(self, step, rows)
            return batch._replace(
                weights=batch.weights * np.float32(np.nan if step in numbers else 1)
            )

        monkeypatch.setattr(Sampler, "batch_at", batch_at)

    return apply


def guarded(cfg, **rule):
    return replace(cfg, guard=Guard(**rule))


def fit(cfg, run, out=None):
    return train(cfg, run, out=out or io.StringIO())


class Killed(Exception):
    pass


def kill():
    raise Killed


def stop():
    os.kill(os.getpid(), signal.SIGTERM)


def of_kind(run, kind):
    return {r["step"]: r for r in records.read_metrics(run) if r["kind"] == kind}


def losses(run):
    return {step: record["loss"] for step, record in of_kind(run, "train").items()}


def state_at(run, cfg, step):
    mesh = make(cfg.mesh)
    plan = make_plan(cfg, mesh.shape)
    checkpoints = Checkpoints(run / "checkpoints", Checkpoint(), write=False)
    return checkpoints.restore(step, plan.shapes, plan.shardings(mesh))


def trained_on(cfg, numbers):
    """The parameters after one step on each of the batches with these numbers: the oracle."""
    mesh = make(cfg.mesh)
    step, state = compiled(replace(cfg, guard=Guard()), mesh), start(cfg)
    stream = corpora.load(cfg.data).train
    sampler = Sampler(stream, seed=cfg.seed, batch=cfg.batch, context=cfg.context)
    for number in numbers:
        state, _ = step(state, put(sampler.batch_at(number), mesh))
    return state.params


@pytest.mark.slow
def test_skip_leaves_the_batch_out_and_tells(cfg, poison, tmp_path):
    """C15. Its count is in the checkpoint: a run killed after it ends alike."""
    poison(3)
    skip = guarded(cfg, nonfinite="skip")
    out = io.StringIO()
    assert fit(skip, tmp_path / "whole", out).step == 8
    assert "step 4  loss nan, grad_norm nan; left out, 1 in a row, 1 in all" in out.getvalue()
    event = of_kind(tmp_path / "whole", "guard")[4]
    assert (event["action"], event["in_row"], event["reason"][:8]) == ("skip", 1, "loss nan")
    assert losses(tmp_path / "whole")[4] is None
    last = of_kind(tmp_path / "whole", "train")[8]
    assert last["skipped"] == 1 and last["skipped_in_row"] == 0
    assert_equal(
        load_run(tmp_path / "whole").variables["params"], trained_on(cfg, [0, 1, 2, 4, 5, 6, 7])
    )
    saved = state_at(tmp_path / "whole", skip, 4)
    assert int(saved.guard.skipped) == int(saved.guard.in_row) == 1 and int(saved.step) == 4

    with pytest.raises(Killed):
        fit(skip, tmp_path / "killed", At(6, kill))
    fit(skip, tmp_path / "killed")
    assert_equal(state_at(tmp_path / "killed", skip, 8), state_at(tmp_path / "whole", skip, 8))
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


def test_too_many_skips_in_a_row_stop_with_the_last_good_step(cfg, poison, tmp_path):
    """C15. What was saved in between is the state of that step."""
    poison(2, 3, 4)
    with pytest.raises(
        DivergedError, match="the last good step is 2, .* checkpoint is step 4"
    ) as e:
        fit(guarded(cfg, nonfinite="skip", max_skips=2), tmp_path)
    assert "bad step 3 in a row (guard.max_skips is 2)" in str(e.value) and e.value.exit_code == 5
    assert {n: r["action"] for n, r in of_kind(tmp_path, "guard").items()} == {
        3: "skip",
        4: "skip",
        5: "stop",
    }
    assert_equal(state_at(tmp_path, cfg, 4).params, trained_on(cfg, [0, 1]))


def test_one_skip_more_is_allowed(cfg, poison, tmp_path):
    """The control of the limit."""
    poison(2, 3, 4)
    assert fit(guarded(cfg, nonfinite="skip", max_skips=3), tmp_path).step == 8


@pytest.mark.parametrize(("number", "kept"), [(5, [4]), (3, [])])
def test_stop_ends_at_once_and_saves_nothing_bad(number, kept, cfg, poison, tmp_path):
    """C15. The second case is bad at the very step whose state would be saved."""
    poison(number)
    for _ in range(2):  # the same command meets the same end
        with pytest.raises(DivergedError, match=rf"step {number + 1}: loss nan.* good step is "):
            fit(cfg, tmp_path)
        assert records.checkpoint_steps(tmp_path) == kept
    if kept:
        assert all(np.isfinite(x).all() for x in host(state_at(tmp_path, cfg, 4)).values())


def test_rewind_goes_back_and_never_sees_the_window_again(cfg, poison, tmp_path):
    """C15. Bad at step 6: from the checkpoint of step 4 with the batches after the bad one."""
    poison(5)
    back = guarded(cfg, nonfinite="rewind")
    out = io.StringIO()
    assert fit(back, tmp_path, out).step == 8
    assert "back to step 4, without the 2 batches until here" in out.getvalue()
    assert_equal(load_run(tmp_path).variables["params"], trained_on(cfg, [0, 1, 2, 3, 6, 7, 8, 9]))
    assert losses(tmp_path).keys() == set(range(1, 9)) and None not in losses(tmp_path).values()
    event = of_kind(tmp_path, "guard")[4]
    assert (event["action"], event["from"], event["rewinds"]) == ("rewind", 6, 1)
    lines = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert [r.get("rewound_from") for r in lines if r["kind"] == "start"] == [None, 6]
    saved = state_at(tmp_path, back, 8)
    assert (int(saved.guard.offset), int(saved.guard.rewinds)) == (2, 1)
    longer = replace(back, steps=9)  # the offset goes on after a restart
    fit(longer, tmp_path)
    expected = trained_on(replace(cfg, steps=9), [0, 1, 2, 3, 6, 7, 8, 9, 10])
    assert_equal(load_run(tmp_path).variables["params"], expected)


def test_rewind_before_the_first_checkpoint_starts_anew(cfg, poison, tmp_path):
    poison(1)
    fit(guarded(cfg, nonfinite="rewind"), tmp_path)
    assert_equal(load_run(tmp_path).variables["params"], trained_on(cfg, range(2, 10)))


OFTEN = [(3, stop), (5, stop), (7, kill)]
ONCE = {
    "killed_before": (5, kill),
    "killed_after": (7, kill),
    "stopped_before": (4, stop),
    "stopped_after": (6, stop),
}


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param(OFTEN, id="often"),
        *(pytest.param([end], id=name, marks=pytest.mark.slow) for name, end in ONCE.items()),
    ],
)
def test_a_rewound_run_ends_alike_however_often_it_is_killed(ends, cfg, poison, tmp_path):
    """Two bad stretches; a stop saves between the regular checkpoints."""
    poison(5, 8)
    back = guarded(cfg, nonfinite="rewind")
    fit(back, tmp_path / "whole")
    params = trained_on(cfg, [0, 1, 2, 3, 9, 10, 11, 12])
    assert_equal(load_run(tmp_path / "whole").variables["params"], params)
    for step, act in ends:
        with pytest.raises((Killed, PreemptedError)):
            fit(back, tmp_path / "killed", At(step, act))
    fit(back, tmp_path / "killed")
    assert_equal(state_at(tmp_path / "killed", back, 8), state_at(tmp_path / "whole", back, 8))
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert of_kind(tmp_path / "killed", "guard") == of_kind(tmp_path / "whole", "guard")


def test_too_many_rewinds_stop(cfg, poison, tmp_path):
    poison(*range(5, 99))
    with pytest.raises(DivergedError, match=r"after 2 rewinds \(guard.max_rewinds is 2\)"):
        fit(guarded(cfg, nonfinite="rewind", max_rewinds=2), tmp_path)
    assert records.checkpoint_steps(tmp_path) == [4]


@pytest.mark.slow
def test_a_spike_stops_or_rewinds_the_run(cfg, tmp_path):
    """C16: at the step at which a rule that only logs sees the first one."""
    cfg = replace(cfg, optim=AdamW(lr=1e-5))  # slow enough for losses to go up and down

    def watched(action):
        spike = Spike(action=action, window=2, sigmas=1e-6)  # fires on noise
        return guarded(cfg, spike=spike, max_rewinds=1), tmp_path / action

    assert fit(*watched("log")).step == 8
    first = min(of_kind(tmp_path / "log", "guard"))
    with pytest.raises(DivergedError, match=rf"step {first}: loss .* is above .*good step is"):
        fit(*watched("stop"))
    with pytest.raises(DivergedError, match="guard.max_rewinds is 1"):
        fit(*watched("rewind"))
    lines = map(json.loads, (tmp_path / "rewind/metrics.jsonl").read_text().splitlines())
    assert [r.get("rewound_from") for r in lines if r["kind"] == "start"] == [None, first]


@pytest.mark.slow
def test_a_logged_spike_changes_no_bit(cfg, tmp_path):
    """C20: a rule that fires on noise and only says so, against none at all."""
    cfg = replace(cfg, optim=AdamW(lr=1e-5))  # slow enough for losses to go up and down
    for action in ("log", "off"):
        rule = Spike(action=action, window=2, sigmas=1e-6)
        fit(guarded(cfg, spike=rule), tmp_path / action)
    assert len(of_kind(tmp_path / "log", "guard")) > 0 == len(of_kind(tmp_path / "off", "guard"))
    assert losses(tmp_path / "log") == losses(tmp_path / "off")
    variables = [load_run(tmp_path / action).variables for action in ("log", "off")]
    assert_equal(*variables)


def test_a_state_that_is_not_finite_is_never_saved(cfg, tmp_path, monkeypatch):
    """Finite gradients may make infinite parameters, as here after step 4, the last before a save.
    The control saves them."""
    shared = loop.make_step

    def overflowing(plan, mesh):
        step = shared(plan, mesh)

        def wrapped(state, batch):
            after, metrics = step(state, batch)
            return after.replace(params=jax.tree.map(lambda x: x + jnp.inf, after.params)), metrics

        return lambda state, batch: (wrapped if int(state.step) == 3 else step)(state, batch)

    monkeypatch.setattr(loop, "make_step", overflowing)
    with pytest.raises(DivergedError, match="step 4: params of the state are not finite.*no state"):
        fit(cfg, tmp_path / "guarded")
    assert records.checkpoint_steps(tmp_path / "guarded") == []
    monkeypatch.setattr(reaction, "refuse_bad_state", lambda *_: None)
    with pytest.raises(DivergedError, match="step 5: loss nan"):
        fit(cfg, tmp_path / "control")
    assert records.checkpoint_steps(tmp_path / "control") == [4]
