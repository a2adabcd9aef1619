"""Writers beside metrics.jsonl: names of numbers, texts, a library that is missing."""

import json
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.config.run import Log
from jaxlin.train import loop, records, writers
from tests.train.helpers import SMALL

ON = replace(SMALL, log=Log(tensorboard=False, wandb="study"))


class Heard:
    """A writer that remembers."""

    def __init__(self):
        self.said = []

    def scalars(self, step, values):
        self.said.append((step, dict(values)))

    def text(self, step, name, text):
        self.said.append((step, name, text))

    def close(self):
        self.said.append("closed")


def test_writers_get_numbers_by_joined_names_and_texts(tmp_path):
    heard = Heard()
    assert isinstance(heard, writers.Writer)
    log = records.Records(tmp_path, [heard])
    log.write("stats", 3, {"layers": {"0": {"mixer": "gla", "decay": {"mean": 0.5}}}, "list": [1]})
    log.write("sample", 3, {"prompt": "a", "text": "b"})
    log.close()
    assert heard.said == [
        (3, {"stats/layers/0/decay/mean": 0.5}),
        (3, "sample/prompt", "a"),
        (3, "sample/text", "b"),
        "closed",
    ]


def test_nested_numbers_that_json_lacks_become_null(tmp_path):
    log = records.Records(tmp_path)
    log.write("stats", 1, {"a": {"b": float("inf"), "c": 1.0}})
    log.close()
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["a"] == {"b": None, "c": 1.0}


def test_tensorboard_shows_texts(tmp_path):
    board = writers.TensorBoard(tmp_path)
    board.text(1, "sample/text", "two\nlines")
    board.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"    two\n    lines" in events.read_bytes()


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the library; `calls` is what was asked of it."""
    calls = []

    def init(**options):
        calls.append(("init", options))
        return SimpleNamespace(
            define_metric=lambda *names, **options: calls.append(("metric", names, options)),
            log=lambda values: calls.append(("log", values)),
            summary={},
            finish=lambda: calls.append(("finish",)),
        )

    fake = ModuleType("wandb")
    fake.__spec__ = SimpleNamespace(name="wandb")
    fake.init, fake.util = init, SimpleNamespace(generate_id=lambda: f"id{len(calls)}")
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return calls


def test_weights_and_biases_gets_the_same_and_goes_on_with_its_run(wandb, tmp_path):
    for _ in range(2):
        (writer,) = writers.build(tmp_path, ON)
        log = records.Records(tmp_path, [writer])
        log.write("train", 5, {"loss": 2.0})
        log.close()
    first, second = (options for name, *options in wandb if name == "init")
    assert first[0]["project"] == "study" and first[0]["config"]["name"] == "small"
    assert first[0]["id"] == second[0]["id"] == "id0" and first[0]["resume"] == "allow"
    assert ("metric", ("*",), {"step_metric": "step"}) in wandb
    assert wandb.count(("log", {"step": 5, "train/loss": 2.0})) == 2
    assert wandb[-1] == ("finish",)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_missing_library_is_said_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"log.wandb: 'study' needs.*pip install 'jaxlin\[wandb"):
        loop.train(ON, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    writers.check(SMALL.log)  # nobody asked for it


def test_wandb_is_not_imported_unless_it_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it fails
    assert writers.build(tmp_path, replace(SMALL, log=Log(tensorboard=False))) == []
