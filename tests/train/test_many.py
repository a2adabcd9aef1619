"""Runs trained together: each is what it is when trained alone, up to rounding, and resumes."""

import io
import shutil

import jax
import numpy as np
import pytest

from jaxlin.config.errors import CheckpointError, ConfigError, DivergedError
from jaxlin.config.override import override
from jaxlin.config.presets import preset
from jaxlin.config.together import obstacles
from jaxlin.train import guard, many_step, records, tokens
from jaxlin.train.job import make_job
from jaxlin.train.lock import Lock
from jaxlin.train.loop import train
from jaxlin.train.many import train_many
from jaxlin.train.many_step import steps_a_call
from tests.faults.driver import state

pytestmark = pytest.mark.slow

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
    a, b = state(ours, 4), state(theirs, 4)
    assert a.keys() == b.keys()
    for path in a:
        np.testing.assert_allclose(a[path], b[path], rtol=0, atol=PARAMETERS, err_msg=path)


def test_seeds_differ(together):
    losses = [of(run, "train")[4]["loss"] for run in together[0]]
    assert len(set(losses)) == 3


def test_the_directory_says_how_many_there_were(together):
    (entry,) = records.starts(together[0][0])
    assert entry["together"] == 3 and entry["mesh"]["data"] == 1
    assert {"parameters.txt", "data.json"} <= {path.name for path in together[0][0].iterdir()}
    speeds = [r for r in of(together[0][0], "train").values() if "seconds_per_step" in r]
    assert [r["step"] for r in speeds] == [3, 4]  # the first call compiles


@pytest.mark.long
def test_those_that_are_done_are_left_alone_and_the_others_go_on(together, tmp_path):
    """One is done, two are at step 2: as if they had been killed after their save."""
    for run in together[0]:
        shutil.copytree(run, tmp_path / run.name)
    for run in together[0][1:]:
        shutil.rmtree(tmp_path / run.name / "checkpoints" / "4")
    before = (tmp_path / "seed0" / "metrics.jsonl").read_bytes()
    runs, told = group(tmp_path)
    assert told == {0: None, 1: None, 2: None}
    assert (runs[0] / "metrics.jsonl").read_bytes() == before
    for ours, theirs in zip(runs, together[0], strict=True):
        a, b = state(ours, 4), state(theirs, 4)
        assert all(a[path].tobytes() == b[path].tobytes() for path in b)
        assert list(of(ours, "train")) == [1, 2, 3, 4]


@pytest.mark.long
def test_a_common_step_is_taken_where_one_was_further(together, tmp_path):
    for run in together[0][:2]:
        shutil.copytree(run, tmp_path / run.name)
    shutil.rmtree(tmp_path / "seed0" / "checkpoints" / "4")
    lines = (tmp_path / "seed7" / "metrics.jsonl").read_text().splitlines()
    kept = [line for line in lines if '"eval", "step": 4' not in line]
    (tmp_path / "seed7" / "metrics.jsonl").write_text("\n".join(kept) + "\n")
    runs, _ = group(tmp_path, CFGS[:2])
    assert [records.starts(run)[-1]["step"] for run in runs] == [2, 2]
    for ours, theirs in zip(runs, together[0], strict=False):
        assert [r["loss"] for r in of(ours, "train").values()] == [
            r["loss"] for r in of(theirs, "train").values()
        ]


def test_one_that_diverges_ends_alone(tmp_path, monkeypatch):
    """Its updates are left out from the step on; the others train on."""
    plain_verdict = guard.verdict

    def verdict(rule, step, values):
        if step == 3 and values["batch"] == batches[1]:
            return guard.Event(step, "stop", "loss nan", 1, 1, 0)
        return plain_verdict(rule, step, values)

    batches = {}
    for index, cfg in enumerate(CFGS[:2]):
        job = make_job(cfg, DEVICES)
        source = job.batches_after(2, 0, slice(0, cfg.batch))
        batches[index] = int(tokens.digest(jax.numpy.asarray(next(source).tokens)))
        source.close()
    monkeypatch.setattr(guard, "verdict", verdict)
    runs, told = group(tmp_path, CFGS[:2])
    assert told[0] is None and isinstance(told[1], DivergedError) and "step 3" in str(told[1])
    assert (runs[1] / "crash.json").is_file() and not (runs[0] / "crash.json").exists()
    assert list(of(runs[0], "train")) == [1, 2, 3, 4] and list(of(runs[1], "train")) == [1, 2]
    assert records.checkpoint_steps(runs[1]) == [2]


def test_what_is_no_group_is_refused(tmp_path):
    other = override(CFGS[0], ["optim.lr=1e-4"])
    with pytest.raises(ConfigError, match="differ in more than their seed. Train them one by one"):
        group(tmp_path, [CFGS[0], other])
    assert list(tmp_path.iterdir()) == []
    assert obstacles(CFGS) == []


def test_a_live_directory_is_refused(tmp_path):
    with Lock(tmp_path / "seed7"):
        with pytest.raises(CheckpointError, match="is held by"):
            group(tmp_path, CFGS[:2])
    assert not (tmp_path / "seed0").exists()


@pytest.mark.parametrize(
    "steps, save, look, k", [(100, 50, 20, 10), (60, 1000, 0, 30), (7, 7, 7, 7), (9, 2, 0, 1)]
)
def test_calls_end_where_something_happens(steps, save, look, k):
    words = [f"steps={steps}", f"checkpoint.every={save}", f"eval.every={look}"]
    assert steps_a_call(override(CFGS[0], [*words, "schedule.warmup=1"])) == k


@pytest.mark.long
def test_all_at_a_time_equal_one_after_the_other():
    """vmap against a loop, on the same states and batches."""
    job = make_job(CFGS[0], DEVICES)
    seeds = jax.numpy.array(SEEDS, jax.numpy.uint32)
    sources = [job.with_seed(s).batches_after(0, 0, slice(0, job.cfg.batch)) for s in SEEDS]
    batches = many_step.stack([many_step.stack([next(s) for s in sources]) for _ in range(2)])
    found = []
    for width in (1, 3):
        states = many_step.first_states(job.plan, seeds)
        states, metrics = many_step.make_steps(job.plan, job.mesh, width)(seeds, states, batches)
        found.append((jax.device_get(states.params), jax.device_get(metrics["loss"])))
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=LOSS)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=PARAMETERS),
        found[0][0], found[1][0],
    )  # fmt: skip
    for source in sources:
        source.close()
