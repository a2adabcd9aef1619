"""Training on a task: scored at each evaluation, replayed bit by bit, told apart in the records."""

import io
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pytest

from jaxlin.config.errors import ConfigError, DataError
from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM, FeedForward, Loss
from jaxlin.config.optimizers.adamw import AdamW
from jaxlin.config.registry import tasks
from jaxlin.config.run import Checkpoint, Eval, Log, RunConfig
from jaxlin.config.sources.task import Task
from jaxlin.config.tasks.recall import MQAR, NeedleTokens
from jaxlin.data.tasks import recall
from jaxlin.train import records
from jaxlin.train.loop import train
from jaxlin.train.restore import load_run
from tests.train.helpers import ONE, SMALL, assert_equal

CFG = replace(
    SMALL,
    steps=4,
    data=Task(task=MQAR(pairs=3, vocab=16, examples=10)),
    model=replace(SMALL.model, vocab=None, layers=1),
    checkpoint=Checkpoint(every=2, minutes=None),
    eval=Eval(every=2, batches=1),
    log=Log(every=1, tensorboard=False, samples=3),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run, out = tmp_path_factory.mktemp("task"), io.StringIO()
    train(CFG, run, out=out)
    return run, out.getvalue()


def of(run, kind):
    return [r for r in records.read_metrics(run) if r["kind"] == kind]


def test_the_task_that_is_trained_on_is_scored(whole):
    run, shown = whole
    found = of(run, "task")
    assert [(r["step"], r["task"], r["examples"], r["answers"]) for r in found] == [
        (2, "mqar", 10, 30),
        (4, "mqar", 10, 30),
    ]
    assert all(0 <= r["accuracy"] <= 1 and r["length"] == 16 for r in found)
    assert set(found[0]["by"]["gap"]) <= {"2", "4", "6", "8", "10", "12", "14"}
    assert f"step 4  mqar: accuracy {found[-1]['accuracy']:.4f}" in shown
    assert load_run(run).cfg.model.vocab == 16


def test_loss_is_of_answers_and_samples_are_words(whole):
    run, _ = whole
    assert {r["tokens"] for r in of(run, "eval")} == {8 * 3}
    assert of(run, "eval")[0]["bits_per_byte"] is None
    (first, _) = of(run, "sample")
    assert first["prompt"].split()[0][0] == "k" and len(first["text"].split()) <= 3


def test_a_run_in_two_parts_is_the_same(whole, tmp_path):
    run, _ = whole
    train(replace(CFG, steps=2), tmp_path, out=io.StringIO())
    train(CFG, tmp_path, out=io.StringIO())
    assert_equal(load_run(run).variables, load_run(tmp_path).variables)
    batches = lambda run: [r["batch"] for r in of(run, "train")]  # noqa: E731
    assert batches(run) == batches(tmp_path) and len(set(batches(run))) == 4


def test_another_generator_is_refused_before_it_goes_on(whole, tmp_path, monkeypatch):
    train(replace(CFG, steps=2), tmp_path, out=io.StringIO())
    draw = recall.MQAR.pairs
    monkeypatch.setattr(recall.MQAR, "pairs", lambda *a: tuple(x[::-1] for x in draw(*a)))
    with pytest.raises(DataError, match="data is not what the run was trained on.*\n  examples:"):
        train(CFG, tmp_path, out=io.StringIO())


def test_a_task_that_does_not_fit_the_model_is_refused_first(tmp_path):
    cfg = replace(CFG, eval=Eval(tasks=(NeedleTokens(pairs=3, vocab=64),)))
    with pytest.raises(ConfigError, match="task needle_tokens: has 64 ids, the model has 16"):
        train(cfg, tmp_path / "run", out=io.StringIO())
    assert not (tmp_path / "run").exists()


class Curves:
    """A writer that keeps the names of what it gets."""

    def __init__(self):
        self.names = []

    def scalars(self, step, values):
        self.names += values

    def text(self, step, name, text):
        self.names.append(name)

    def close(self):
        pass


def test_two_tasks_of_one_step_are_two_records_and_two_curves(tmp_path):
    curves = Curves()
    log = records.Records(tmp_path, [curves])
    for name in ("mqar", "copy", "copy"):
        log.write("task", 5, {"task": name, "accuracy": 0.5, "by": {"gap": {"2-3": 1.0}}})
    log.close()
    assert [r["task"] for r in of(tmp_path, "task")] == ["mqar", "copy"]
    assert {"task/mqar/accuracy", "task/copy/by/gap/2-3"} <= set(curves.names)
    assert "task/task" not in curves.names


@tasks.register("mqar_shuffled", "tests.train.test_task_run:Shuffled")
@dataclass(frozen=True, kw_only=True)
class ShuffledConfig(MQAR):
    """A control: the values that are asked for are those of other keys."""

    kind: Literal["mqar_shuffled"] = "mqar_shuffled"  # type: ignore[assignment]


class Shuffled(recall.MQAR):
    def example(self, random, index, length):
        found = super().example(random, index, length)
        asked = np.flatnonzero(found.targets)
        found.targets[asked] = random.permutation(found.targets[asked])
        return found


def learnt(task, run):
    cfg = RunConfig(
        name="mqar",
        steps=200,
        batch=32,
        context=32,
        model=LM(
            width=32,
            layers=2,
            pattern="mixer + attention",
            mixer=GatedDeltaNet(heads=2, head_dim=8),
            attention=Softmax(heads=2),
            ffn=FeedForward(hidden=64),
            dtype="float32",
        ),
        loss=Loss(chunk=1024),
        data=Task(task=task),
        optim=AdamW(lr=3e-3),
        mesh=ONE,
        eval=Eval(every=0, batches=2),
        log=Log(every=50, tensorboard=False, stats=False),
    )
    train(cfg, run, out=io.StringIO())
    return of(run, "task")[-1]["accuracy"]


@pytest.mark.slow
def test_one_softmax_layer_learns_recall_and_nothing_learns_shuffled_answers(tmp_path):
    assert learnt(MQAR(pairs=4, vocab=32), tmp_path / "right") > 0.9
    # One of four values is right by chance; 1024 answers: three deviations are 0.04.
    assert learnt(ShuffledConfig(pairs=4, vocab=32), tmp_path / "shuffled") < 0.30
