"""Whole runs on a small text: records, stops, resumes, refusals."""

import io
import json
import os
import random
import signal
from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxlin.config.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergedError,
    PreemptedError,
)
from jaxlin.config.optimizers.adamw import AdamW
from jaxlin.config.run import Checkpoint, Eval, Log, Mesh
from jaxlin.config.sources.text import Text
from jaxlin.train import records
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.loop import train
from jaxlin.train.restore import load_run
from tests.train.helpers import SMALL, At, assert_equal

WORDS = "the state of a linear model forgets what a softmax model keeps in its cache".split()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two files of random words: one to train on, one held out."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, seed, count in (("train", 0, 800), ("held", 1, 100)):
        words = random.Random(seed).choices(WORDS, k=count)
        (folder / f"{name}.txt").write_text(" ".join(words))
    return folder


@pytest.fixture(scope="module")
def cfg(corpus):
    return replace(
        SMALL,
        steps=6,
        model=replace(SMALL.model, vocab=None),
        data=Text(paths=(f"{corpus}/train.txt",), eval_paths=(f"{corpus}/held.txt",)),
        checkpoint=Checkpoint(every=4, minutes=None, keep=3),
        eval=Eval(every=3, batches=2),
        log=Log(every=1, tensorboard=False),
    )


@pytest.fixture(scope="module")
def whole(cfg, tmp_path_factory):
    """An uninterrupted run."""
    run = tmp_path_factory.mktemp("whole")
    return run, train(cfg, run, out=io.StringIO())


def losses(run, kind="train"):
    return {r["step"]: r["loss"] for r in records.read_metrics(run) if r["kind"] == kind}


def final(run):
    checkpoints = Checkpoints(run / "checkpoints", Checkpoint(), write=False)
    return checkpoints.steps(), load_run(run).variables


def test_a_run_learns_and_explains_itself(whole, cfg):
    run, result = whole
    assert result.step == 6
    assert losses(run).keys() == {1, 2, 3, 4, 5, 6}
    assert losses(run)[6] < losses(run)[1] - 0.1
    assert losses(run, "eval").keys() == {3, 6}
    assert losses(run, "eval")[6] == result.evaluation["loss"]
    assert {path.name for path in run.iterdir()} == {
        "config.json",
        "environment.json",
        "parameters.txt",
        "parameters.json",
        "data.json",
        "metrics.jsonl",
        "checkpoints",
    }
    assert records.read_config(run) == cfg
    (record,) = [r for r in records.read_metrics(run) if (r["kind"], r["step"]) == ("train", 3)]
    assert record["tokens"] == 3 * 8 * 16 and 0 <= record["input_wait_share"]
    assert final(run)[0] == [4, 6]
    assert load_run(run).cfg.model.vocab == 384


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_saves_and_the_same_command_ends_bitwise_alike(
    number, cfg, whole, tmp_path
):
    before = signal.getsignal(number)
    with pytest.raises(PreemptedError, match=rf"{number.name}.*saved step \d of 6"):
        train(cfg, tmp_path, out=At(2, lambda: os.kill(os.getpid(), number)))
    assert signal.getsignal(number) is before
    (stopped,) = final(tmp_path)[0]
    assert stopped in (3, 4) and losses(tmp_path).keys() == set(range(1, stopped + 1))
    out = io.StringIO()
    train(cfg, tmp_path, out=out)
    assert f"checkpoint of step {stopped}" in out.getvalue()
    assert_equal(final(tmp_path)[1], final(whole[0])[1])
    assert losses(tmp_path) == losses(whole[0])
    assert losses(tmp_path, "eval") == losses(whole[0], "eval")


def test_a_killed_run_repeats_the_lost_steps_exactly(cfg, whole, tmp_path):
    class Killed(Exception):
        pass

    class Kill(io.StringIO):
        def write(self, text):
            if text.startswith("step 5/"):
                raise Killed
            return super().write(text)

    with pytest.raises(Killed):
        train(cfg, tmp_path, out=Kill())
    assert losses(tmp_path).keys() == {1, 2, 3, 4, 5}
    train(cfg, tmp_path, out=io.StringIO())
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["step"] == 5 for line in lines) == 2
    assert losses(tmp_path) == losses(whole[0])
    assert_equal(final(tmp_path)[1], final(whole[0])[1])


def test_a_finished_run_has_nothing_to_do(cfg, whole):
    lines = (whole[0] / "metrics.jsonl").read_text()
    again = train(cfg, whole[0], out=io.StringIO())
    assert again == (6, None)
    assert (whole[0] / "metrics.jsonl").read_text().removeprefix(lines).count("\n") == 1


@pytest.mark.slow
def test_a_finished_run_goes_on_with_more_steps_on_another_mesh(cfg, whole, tmp_path):
    train(cfg, tmp_path, out=io.StringIO())
    longer = replace(cfg, steps=8, mesh=Mesh(data=2, fsdp=2, tensor=2))
    train(longer, tmp_path, out=io.StringIO())
    straight = tmp_path / "straight"
    train(replace(cfg, steps=8), straight, out=io.StringIO())
    assert losses(tmp_path).keys() == set(range(1, 9))
    for step in (7, 8):
        assert losses(tmp_path)[step] == pytest.approx(losses(straight)[step], abs=5e-6)


def test_evaluating_logging_and_saving_change_no_bit(cfg, whole, tmp_path):
    quiet = replace(
        cfg, log=Log(every=5, tensorboard=False), eval=Eval(every=0), checkpoint=Checkpoint()
    )
    train(quiet, tmp_path, out=io.StringIO())
    assert losses(tmp_path).keys() == {1, 5, 6} and losses(tmp_path, "eval").keys() == {6}
    assert_equal(final(tmp_path)[1], final(whole[0])[1])


def test_divergence_stops_the_run_and_saves_nothing_bad(cfg, tmp_path):
    hot = replace(cfg, optim=AdamW(lr=1e30, clip=None), eval=Eval(every=0))
    with pytest.raises(DivergedError, match=r"step [2-4]: .*(loss|grad_norm) nan"):
        train(hot, tmp_path, out=io.StringIO())
    assert not any((tmp_path / "checkpoints").iterdir())


def test_saving_by_time(cfg, tmp_path):
    now = [0.0]

    def clock():
        now[0] += 10.0  # every look at the clock
        return now[0]

    policy = Checkpoint(every=1000, minutes=1.0, keep=10, keep_best=0)
    train(replace(cfg, checkpoint=policy), tmp_path, clock=clock, out=io.StringIO())
    assert len(final(tmp_path)[0]) > 1


def test_init_from_starts_with_the_parameters(cfg, whole, tmp_path):
    again = replace(cfg, init_from=str(whole[0]), steps=2)
    train(again, tmp_path, out=io.StringIO())
    assert losses(tmp_path)[1] < losses(whole[0])[3]


def refused(error, match, cfg, run):
    """The error, before anything is written."""
    with pytest.raises(error, match=match):
        train(cfg, run, out=io.StringIO())


def test_refusals_come_before_anything_is_written(cfg, corpus, tmp_path):
    run = tmp_path / "run"
    refused(ConfigError, "use mesh.data=8", replace(cfg, mesh=Mesh(data=3)), run)
    refused(ConfigError, "batch: 6 is no multiple of 8", replace(cfg, batch=6, mesh=Mesh()), run)
    refused(ConfigError, "matches no", replace(cfg, optim=AdamW(no_decay=("x",))), run)
    refused(DataError, "fewer than one window", replace(cfg, context=10_000), run)
    refused(CheckpointError, "is no run", replace(cfg, init_from=str(corpus)), run)
    nothing = replace(cfg.data, eval_paths=(), held_out=0.0)
    refused(DataError, "held_out", replace(cfg, data=nothing), run)
    assert not run.exists()


def test_other_data_is_refused_with_what_differs(cfg, whole, tmp_path):
    run = whole[0]
    before = {path: path.read_bytes() for path in run.glob("*.*")}
    refused(DataError, "context: 16 -> 8", replace(cfg, context=8), run)
    refused(DataError, "seed: 0 -> 1", replace(cfg, seed=1), run)
    refused(ConfigError, "steps: 5 is below step 6", replace(cfg, steps=5), run)
    assert before == {path: path.read_bytes() for path in run.glob("*.*")}


def test_another_seed_is_another_run(cfg, whole, tmp_path):
    train(replace(cfg, seed=1), tmp_path, out=io.StringIO())
    assert losses(tmp_path) != losses(whole[0])
    leaf = lambda run: np.asarray(jax.tree.leaves(final(run)[1])[0])  # noqa: E731
    assert (leaf(tmp_path) != leaf(whole[0])).any()
