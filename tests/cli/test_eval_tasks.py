"""`jaxlin eval --task` and `--lm-eval` on finished runs."""

import io
import json

import jax
import pytest

from jaxlin.cli.main import main
from jaxlin.evals import harness
from jaxlin.train.loop import train
from jaxlin.train.records import read_metrics
from tests.train.test_task_run import CFG

MQAR = "mqar(pairs=3, vocab=16)"


@pytest.fixture(scope="module")
def recall(tmp_path_factory):
    """A run on mqar of a few steps."""
    run = tmp_path_factory.mktemp("recall") / "run"
    train(CFG, run, devices=jax.devices()[:1], out=io.StringIO())
    return run


def evaluated(capsys, *words):
    assert main(["eval", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_command_and_the_trainer_agree(recall, capsys):
    found = evaluated(capsys, recall, "--task", MQAR, "--examples", 10)["tasks"][0]
    recorded = [r for r in read_metrics(recall) if r["kind"] == "task"][-1]
    assert found == {k: v for k, v in recorded.items() if k not in ("kind", "step")}


@pytest.mark.slow
def test_longer_than_in_training_and_as_a_map(recall, capsys):
    needle = "needle_tokens(pairs=3, vocab=16, sizes=[16, 32])"
    words = [recall, "--task", f"{MQAR[:-1]}, length=32)", "--task", needle, "--examples", "10"]
    assert main(["eval", *map(str, words)]) == 0
    shown = capsys.readouterr().out
    assert "mqar" in shown and "by depth and length" in shown and "16, 32" in shown
    assert len([line for line in shown.splitlines() if line.startswith(("0 ", "25 "))]) == 2


def test_held_out_loss_of_a_task_has_no_bytes(recall, capsys):
    found = evaluated(capsys, recall)
    assert found["tokens"] == 30 and found["bits_per_byte"] is found["loss_per_word"] is None
    assert found["held_out"].startswith("10 held-out examples of mqar(")


def test_documents_longer_than_in_training_by_position(finished, capsys):
    found = evaluated(capsys, finished, "context=64")
    assert found["context"] == 64 and found["by_position"][-1]["last"] > 32


@pytest.mark.slow
def test_text_tasks_on_a_run_on_text(finished, capsys):
    words = ["--task", "needle(depths=[0,100],sizes=[256])", "--task", "ruler(subtask=qa_1)"]
    found = evaluated(capsys, finished, *words, "--examples", 2)
    (needle,) = found["tasks"]
    assert needle["grid"]["rows"] == [0, 100] and needle["grid"]["columns"] == [256]
    assert len(found["skipped"]) == 1 and "squad=PATH" in found["skipped"][0]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--task", "mqr"], 2, "--task: 'mqr' is no task; did you mean 'mqar'?"),
        (["--task", "mqar", "--length", "0"], 2, "--length: 0"),
        (["--length", "64"], 2, "name one with --task"),
        (["--task", "mqar", "--lm-eval", "piqa"], 2, "give one of them"),
        (["--tasks-from", "x"], 2, "name them with --lm-eval"),
        (["--task", MQAR, "--length", "8"], 2, "need at least 12 tokens, found 8"),
        (["--task", "mqar(vocab=512)", "--length", "64"], 2, "has 512 ids, the model has 384"),
        (["--task", "ruler(subtask=qa_1)"], 3, "ruler_qa_1: needs questions with passages"),
    ],
)
def test_mistakes(finished, capsys, words, code, message):
    assert main(["eval", str(finished), *words]) == code
    assert message in capsys.readouterr().err


def test_a_task_in_words_is_refused_on_a_run_on_a_task(recall, capsys):
    assert main(["eval", str(recall), "--task", "needle"]) == 2
    assert "is written in words" in capsys.readouterr().err


def test_lm_eval_as_a_table_and_without_the_package(finished, capsys, monkeypatch):
    monkeypatch.setattr(harness.importlib.util, "find_spec", lambda name: None)
    assert main(["eval", str(finished), "--lm-eval", "piqa"]) == 2
    assert "pip install 'jaxlin[eval]'" in capsys.readouterr().err

    six = {name: {"acc": 0.5, "acc_norm": 0.25} for name in harness.ZERO_SHOT}
    monkeypatch.setattr(harness, "check", lambda: None)
    monkeypatch.setattr(harness, "run", lambda bridge, names, **how: {n: six[n] for n in names})
    assert main(["eval", str(finished), "--lm-eval", "zero_shot"]) == 0
    shown = capsys.readouterr().out
    assert "mean of the six" in shown and "lambada_openai" in shown
