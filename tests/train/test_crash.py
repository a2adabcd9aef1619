"""What a run leaves behind when it does not finish."""

import io
import json
import os
import random
from dataclasses import replace

import pytest

from jaxlin.config.errors import CheckpointError, ConfigError, DataError, DivergedError
from jaxlin.config.run import Checkpoint, Eval, Log
from jaxlin.config.sources.text import Text
from jaxlin.data.batches import Sampler
from jaxlin.train import crash, records
from jaxlin.train.crash import Crash
from jaxlin.train.loop import train
from tests.train.helpers import SMALL


def entries(run):
    return json.loads((run / "crash.json").read_text())


def ended(run, error, lines=(), begin=True):
    """A start of a run that ends by an error (None: well)."""
    records.add_start(run, {"step": 3})
    with pytest.raises(type(error)) if error else Crash(run, ()), Crash(run, lines) as end:
        if begin:
            end.begin(3)
        end.step = 5
        if error:
            raise error


def test_an_entry_says_what_when_and_where(tmp_path):
    for name in ("4", "8", "9.orbax-checkpoint-tmp"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    ended(tmp_path, DivergedError("step 5: loss nan"), lines=[f"line {n}" for n in range(3)])
    (entry,) = entries(tmp_path)
    assert entry["exit_code"] == 5 and entry["type"] == "DivergedError"
    assert entry["message"] == "step 5: loss nan" and entry["lines"][-1] == "line 2"
    assert "raise error" in entry["traceback"] and entry["pid"] == os.getpid()
    assert (entry["step"], entry["checkpoint"], entry["start"]) == (5, 8, 1)
    assert len(entry["memory"]) == 8 and "cpu" in entry["memory"][0]["device"].lower()
    assert {"time", "host"} <= entry.keys()


@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), 130), (SystemExit(7), 7), (ZeroDivisionError("x"), 1)]
    + [(CheckpointError("x"), 4), (DataError("x"), 3), (ConfigError("x"), 2)],
)
def test_exit_codes(error, code, tmp_path):
    ended(tmp_path, error)
    assert entries(tmp_path)[0]["exit_code"] == code


def test_later_ends_are_appended_and_the_oldest_forgotten(tmp_path):
    for n in range(crash.KEPT + 2):
        ended(tmp_path, DataError(f"end {n}"))
    found = entries(tmp_path)
    assert len(found) == crash.KEPT
    assert found[-1]["message"] == f"end {crash.KEPT + 1}"
    assert found[-1]["start"] == crash.KEPT + 2 == len(records.starts(tmp_path))


def test_refusals_and_good_ends_write_nothing(tmp_path):
    ended(tmp_path, ConfigError("mesh"), begin=False)
    ended(tmp_path, None)
    assert not (tmp_path / "crash.json").exists()


def test_a_folder_that_is_gone_does_not_hide_the_error(tmp_path):
    with pytest.raises(ZeroDivisionError), Crash(tmp_path / "gone", ()) as end:
        end.begin(0)
        raise ZeroDivisionError


def test_whoever_calls_train_gets_it(tmp_path, monkeypatch):
    """An error from anywhere within, with the last lines that were shown."""
    for name, count in (("train", 500), ("held", 60)):
        words = random.Random(0).choices(["some", "words", "again"], k=count)
        (tmp_path / f"{name}.txt").write_text(" ".join(words))
    cfg = replace(
        SMALL,
        steps=6,
        model=replace(SMALL.model, vocab=None),
        data=Text(paths=(f"{tmp_path}/train.txt",), eval_paths=(f"{tmp_path}/held.txt",)),
        checkpoint=Checkpoint(every=2, minutes=None),
        eval=Eval(every=0, batches=1),
        log=Log(every=1, tensorboard=False),
    )
    made, run = Sampler.batch_at, tmp_path / "run"

    def batch_at(self, step, rows=slice(None)):
        if step == 5:
            raise DataError("file x, offset 17: unreadable")
        return made(self, step, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Sampler, "batch_at", batch_at)
        with pytest.raises(DataError, match="offset 17"):
            train(cfg, run, out=io.StringIO())
    (entry,) = entries(run)
    assert (entry["exit_code"], entry["step"], entry["checkpoint"]) == (3, 4, 4)
    assert any(line.startswith("step 4/6") for line in entry["lines"])
    train(cfg, run, out=io.StringIO())  # the entry stays; that a start follows makes it history
    assert entries(run) == [entry] and len(records.starts(run)) == 2
