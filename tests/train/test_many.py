"""Runs trained together: each is what it is when trained alone, up to rounding, and resumes."""

import io

import jax
import numpy as np
import pytest

from jaxlin.config.override import override
from jaxlin.config.presets import preset
from jaxlin.train import records
from jaxlin.train.loop import train
from jaxlin.train.many import train_many

WORDS = [
    "steps=4", "schedule.warmup=1", "model.layers=2", "model.pattern='mixer + attention'",
    "model.width=16", "data.held_out=0.3", "eval.batches=1", "eval.every=2", "checkpoint.every=2",
    "checkpoint.minutes=none", "mesh.data=1", "mesh.allow_unused_devices=true",
]  # fmt: skip
SEEDS = (0, 7, 2**32 - 1)
CFGS = [override(preset("tiny"), [*WORDS[:3], WORDS[3].replace("'", ""), *WORDS[4:], f"seed={s}"])
        for s in SEEDS]  # fmt: skip
DEVICES = jax.devices()[:1]
# Float32 sums in another order: of a loss near 5, and of parameters near 1 after 4 steps of AdamW.
LOSS, PARAMETERS = 2e-6, 2e-5


def group(root, cfgs=CFGS, **more):
    runs = [root / f"seed{cfg.seed}" for cfg in cfgs]
    told = {}
    train_many(
        cfgs, runs, lambda i, error: told.update({i: error}), devices=DEVICES,
        out=io.StringIO(), **more,
    )  # fmt: skip
    return runs, told


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    return group(tmp_path_factory.mktemp("together"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    root, runs = tmp_path_factory.mktemp("alone"), []
    for cfg in CFGS[2:]:
        runs.append(root / f"seed{cfg.seed}")
        train(cfg, runs[-1], devices=DEVICES, out=io.StringIO())
    return runs


def state(run, step=4):
    from tests.faults.driver import state as read

    return read(run, step)


def of(run, kind):
    return {r["step"]: r for r in records.read_metrics(run) if r["kind"] == kind}


def test_each_ends_well(together):
    assert together[1] == {0: None, 1: None, 2: None}


def test_a_run_is_what_it_is_alone(together, alone):
    ours, theirs = together[0][2], alone[0]
    assert (ours / "config.json").read_bytes() == (theirs / "config.json").read_bytes()
    assert (ours / "data.json").read_bytes() == (theirs / "data.json").read_bytes()
    a, b = of(ours, "train"), of(theirs, "train")
    assert [r["batch"] for r in a.values()] == [r["batch"] for r in b.values()]
    for name in ("loss", "grad_norm", "lr"):
        np.testing.assert_allclose(
            [r[name] for r in a.values()], [r[name] for r in b.values()], rtol=LOSS
        )
    a, b = of(ours, "eval"), of(theirs, "eval")
    assert list(a) == list(b) == [2, 4]
    np.testing.assert_allclose([r["loss"] for r in a.values()], [r["loss"] for r in b.values()],
                               rtol=LOSS)  # fmt: skip
    a, b = state(ours), state(theirs)
    assert a.keys() == b.keys()
    for path in a:
        np.testing.assert_allclose(a[path], b[path], rtol=0, atol=PARAMETERS, err_msg=path)


def test_seeds_differ(together):
    losses = [of(run, "train")[4]["loss"] for run in together[0]]
    assert len(set(losses)) == 3
