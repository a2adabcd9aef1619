"""What a run looks at while it trains: recorded at each evaluation, changing no bit."""

import io
import random
from dataclasses import replace
from pathlib import Path

import pytest

from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.run import Checkpoint, Eval, Log, Mesh
from jaxlin.config.sources.text import Text
from jaxlin.config.tasks.ruler import Ruler
from jaxlin.train import records
from jaxlin.train.loop import train
from jaxlin.train.restore import load_run
from tests.train.helpers import SMALL, assert_equal


@pytest.fixture(scope="module")
def cfg(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for name, seed in (("train", 0), ("held", 1)):
        words = random.Random(seed).choices("a state that forgets what it kept".split(), k=300)
        (folder / f"{name}.txt").write_text(" ".join(words))
    mixer = GatedDeltaNet(heads=2, head_dim=4)
    return replace(
        SMALL,
        steps=2,
        model=replace(SMALL.model, vocab=None, layers=1, pattern="pure", mixer=mixer),
        data=Text(paths=(f"{folder}/train.txt",), eval_paths=(f"{folder}/held.txt",)),
        checkpoint=Checkpoint(every=2, minutes=None),
        eval=Eval(every=1, batches=1, tasks=(Ruler(subtask="qa_1"),)),
        log=Log(every=1, tensorboard=False, samples=5),
    )


@pytest.fixture(scope="module")
def watched(cfg, tmp_path_factory):
    run = tmp_path_factory.mktemp("watched")
    out = io.StringIO()
    train(cfg, run, out=out)
    (run / "shown.txt").write_text(out.getvalue())
    return run


def of(run, kind):
    return {r["step"]: r for r in records.read_metrics(run) if r["kind"] == kind}


@pytest.mark.slow
def test_statistics_at_each_evaluation(watched, cfg):
    found = of(watched, "stats")
    assert found.keys() == of(watched, "eval").keys() == {1, 2}
    layer = found[2]["layers"]["0"]
    assert layer["mixer"] == "gated_deltanet" and 0 < found[2]["tokens"] <= 4096
    assert 0 < layer["decay"]["mean"] < 1 and layer["half_life"]["q50"] > 0
    assert 0 < layer["write_strength"]["mean"] < 1 and layer["state_norm"]["mean"] > 0
    assert layer != found[1]["layers"]["0"]


@pytest.mark.slow
def test_a_sample_goes_on_from_held_out_text(watched, cfg):
    held_out = Path(cfg.data.eval_paths[0]).read_text()
    for record in of(watched, "sample").values():
        assert record["prompt"] and held_out.startswith(record["prompt"])
        assert len(record["text"].encode()) <= 3 * 5  # five bytes, or marks for what is no UTF-8


@pytest.mark.slow
def test_a_task_that_cannot_be_scored_is_announced_and_left_out(watched):
    assert "skipped task ruler_qa_1: needs questions" in (watched / "shown.txt").read_text()
    assert not of(watched, "task")


@pytest.mark.slow
def test_wall_time_by_phase(watched):
    found = of(watched, "goodput")
    assert found.keys() == {1, 2}
    first, last = found[1]["seconds"], found[2]["seconds"]
    assert first["compile"] > 0 and last["compile"] == first["compile"]
    assert all(last[phase] >= first[phase] for phase in first)
    assert last["eval"] > first["eval"] > 0 and last["save"] > 0


@pytest.mark.slow
def test_looking_changes_no_bit_and_can_be_turned_off(watched, cfg, tmp_path):
    quiet = replace(cfg, log=Log(every=1, tensorboard=False, stats=False))
    train(quiet, tmp_path, out=io.StringIO())
    assert of(tmp_path, "stats") == of(tmp_path, "sample") == {}
    assert_equal(load_run(tmp_path).variables, load_run(watched).variables)
    losses = lambda run: [r["loss"] for r in of(run, "train").values()]  # noqa: E731
    assert losses(tmp_path) == losses(watched)


@pytest.mark.long
def test_on_a_mesh_the_same_is_seen(watched, cfg, tmp_path):
    train(replace(cfg, mesh=Mesh(data=2, fsdp=2, tensor=2)), tmp_path, out=io.StringIO())
    alone, spread = (of(run, "stats")[2] for run in (watched, tmp_path))
    assert spread["tokens"] == alone["tokens"]
    for quantity, summary in alone["layers"]["0"].items():
        if quantity != "mixer":
            assert spread["layers"]["0"][quantity] == pytest.approx(summary, rel=1e-3)
    assert of(tmp_path, "sample").keys() == {1, 2}
