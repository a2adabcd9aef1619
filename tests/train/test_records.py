"""What a run directory holds, and that each step is read once however often the run was killed."""

import json
from dataclasses import replace

import pytest

from jaxlin.config.errors import CheckpointError
from jaxlin.parallel import table
from jaxlin.train import environment, records, writers
from tests.train.helpers import SMALL, built


def write(run, *written):
    log = records.Records(run)
    for kind, step, values in written:
        log.write(kind, step, values)
    log.close()


def test_a_line_is_on_disk_when_write_returns(tmp_path):
    log = records.Records(tmp_path)
    log.write("train", 1, {"loss": 2.5})
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line) == {"kind": "train", "step": 1, "loss": 2.5} and line.endswith("\n")
    log.close()


def test_each_step_once_after_kill_and_resume(tmp_path):
    write(tmp_path, ("start", 0, {}), *[("train", n, {"loss": n}) for n in range(1, 6)])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')  # killed within a line
    write(tmp_path, ("start", 3, {}), *[("train", n, {"loss": 10 * n}) for n in (4, 5, 6)])
    write(tmp_path, ("eval", 6, {"loss": 1.0}))
    found = [(r["kind"], r["step"], r["loss"]) for r in records.read_metrics(tmp_path)]
    assert found == [
        *[("train", n, n) for n in (1, 2, 3)],
        *[("train", n, 10 * n) for n in (4, 5, 6)],
        ("eval", 6, 1.0),
    ]
    assert records.has(tmp_path, "eval", 6) and not records.has(tmp_path, "eval", 5)


def test_steps_that_the_resumed_run_does_not_log_are_taken_back(tmp_path):
    write(tmp_path, ("start", 0, {}), ("train", 4, {}), ("train", 5, {}), ("start", 4, {}))
    assert [r["step"] for r in records.read_metrics(tmp_path)] == [4]


def test_numbers_that_json_lacks_become_null(tmp_path):
    write(tmp_path, ("train", 1, {"loss": float("nan"), "grad_norm": float("inf")}))
    assert records.read_metrics(tmp_path) == [
        {"kind": "train", "step": 1, "loss": None, "grad_norm": None}
    ]


def test_tensorboard_gets_the_numbers(tmp_path):
    log = records.Records(tmp_path, [writers.TensorBoard(tmp_path)])
    log.write("eval", 3, {"loss": 1.5, "by_position": [{"first": 0}]})
    log.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"eval/loss" in events.read_bytes() and b"by_position" not in events.read_bytes()


def test_the_config_comes_back(tmp_path):
    records.create(tmp_path / "new", SMALL)
    assert records.read_config(tmp_path / "new") == SMALL
    other = replace(SMALL, seed=7)
    records.create(tmp_path / "new", other)
    assert records.read_config(tmp_path / "new") == other
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["config.json"]


def test_a_run_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        records.create(tmp_path / "file" / "run", SMALL)


def test_the_parameter_table_is_written_both_ways(tmp_path):
    rows = built(SMALL)[0].rows
    records.write_parameters(tmp_path, rows)
    found = json.loads((tmp_path / "parameters.json").read_text())
    assert found["totals"] == table.totals(rows)
    assert len(found["rows"]) == len(rows)
    text = (tmp_path / "parameters.txt").read_text()
    assert "blocks_0/layer_0/mixer/q/kernel" in text and "parameters: " in text


def test_environment_lists_the_starts(tmp_path):
    mesh = built(SMALL)[1]
    for step in (0, 4):
        records.add_start(tmp_path, {"step": step, **environment.describe(mesh, ["jaxlin", "x"])})
    starts = json.loads((tmp_path / "environment.json").read_text())
    assert [start["step"] for start in starts] == [0, 4]
    assert starts[0]["command"] == ["jaxlin", "x"] and starts[0]["mesh"]["fsdp"] == 1
    assert "jax" in starts[0]["versions"] and starts[0]["devices"]["count"] == 1
