"""Run directories as the report reads them."""

from pathlib import Path

import pytest

from jaxlin.config.errors import CheckpointError
from jaxlin.study.runs import flat, labels, read, spent
from tests.study.folders import lines, make


def train(*steps):
    return [{"kind": "train", "step": n, "loss": 1.0, "seconds_per_step": 2.0} for n in steps]


def start(n):
    return {"kind": "start", "step": n}


def goodput(n, **seconds):
    return {"kind": "goodput", "step": n, "seconds": seconds}


def test_a_whole_run(tmp_path):
    (run,) = read([make(tmp_path / "a", lines())])
    assert (run.label, run.step, run.lost, run.tokens_per_step) == ("a", 20, 0, 128)
    assert [r["step"] for r in run.of("eval")] == [10, 20] and run.last("eval")["loss"] == lines()[
        -4
    ]["loss"]
    assert run.seconds == {"step": 10.0, "compile": 4.0}
    assert run.config["optim"]["lr"] == 1e-2 and run.starts[0]["versions"] == {"jax": "0.12.0"}
    assert run.crash is None


def test_no_run_is_refused_and_a_run_without_metrics_is_empty(tmp_path):
    with pytest.raises(CheckpointError, match="is no run directory"):
        read([tmp_path])
    folder = make(tmp_path / "a", [])
    (folder / "metrics.jsonl").unlink()
    (folder / "environment.json").write_text("{broken")
    (folder / "parameters.json").unlink()
    (run,) = read([folder])
    assert (run.step, run.records, run.starts, run.written) == (0, {}, [], None)


def test_torn_and_foreign_lines_are_left_out(tmp_path):
    written = [*lines(), "[1]\n", '"x"\n', '{"kind": 3, "step": 4}\n', '{"kind": "train", "st']
    whole, torn = read([make(tmp_path / "a", lines()), make(tmp_path / "b", written)])
    assert torn.records == whole.records


def test_restarts_take_back_steps_and_their_time_is_estimated():
    written = [
        *(start(0), *train(1, 2, 3), goodput(2, step=4.0, compile=5.0), goodput(3, step=9.0)),
        *(start(2), *train(3, 4), goodput(4, step=3.0, compile=1.0)),
    ]
    assert spent(written) == ({"step": 7.0, "compile": 6.0, "lost": 2.0}, 1)


def test_a_run_told_to_stop_has_lost_nothing():
    written = [start(0), *train(1, 2), goodput(2, step=4.0), start(2), *train(3)]
    assert spent(written) == ({"step": 4.0}, 0)


def test_labels_tell_runs_apart():
    assert labels([Path("/x/a"), Path("/x/b")]) == ["a", "b"]
    assert labels([Path("/x/a/run"), Path("/x/b/run")]) == ["a/run", "b/run"]


def test_the_same_run_given_twice_is_shown_once(tmp_path):
    folder = make(tmp_path / "a", lines())
    assert len(read([folder, folder / ".." / "a"])) == 1


def test_flat_paths():
    nested = {"a": {"b": 1}, "c": [1, 2], "d": [{"e": None}], "f": {}}
    assert flat(nested) == {"a.b": 1, "c": [1, 2], "d.0.e": None}
