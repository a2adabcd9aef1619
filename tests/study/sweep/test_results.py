"""results.jsonl: what a line holds, that it is made from the run directory alone."""

import json

from jaxlin.study.sweep import results
from jaxlin.study.sweep.queue import RUNS
from tests.study.folders import lines, make
from tests.study.sweep.made import finished, written

KEYS = {
    "id", "name", "labels", "hash", "group", "preset", "overrides", "status", "reason", "seconds",
    "parameters", "tokens", "versions", "git", "layers", "accounting", "final", "curves", "grids",
}  # fmt: skip


def test_a_line_for_each_point_that_is_over(tmp_path):
    sweep, queue = finished(tmp_path)
    results.collect(sweep, queue)
    done, with_tasks, failed = written(sweep)
    assert set(done) == KEYS
    assert (done["status"], done["reason"], done["labels"]) == (
        "done", None, {"mixer": "gla", "seed": 0},
    )  # fmt: skip
    assert done["layers"] == ["gla", "gla", "gla", "softmax"]
    assert (done["parameters"], done["tokens"], done["seconds"]) == (512, 20 * 128, 14.0)
    assert done["versions"] == {"jax": "0.12.0"} and done["preset"] == "tiny"
    assert done["final"]["train.loss"] == 3 / 20 + 1 and done["final"]["eval.bits_per_byte"] == 2.0
    assert done["curves"]["eval.loss"] == [[10, 1.5], [20, 1.35]]
    assert (failed["status"], failed["reason"]) == ("failed", "exit code 5: loss nan")
    assert failed["final"]["train.loss"] == 3 / 4 + 1
    assert with_tasks["group"] == done["group"] and with_tasks["hash"] != done["hash"]


def test_tasks_give_flat_numbers_curves_and_grids(tmp_path):
    sweep, queue = finished(tmp_path)
    results.collect(sweep, queue)
    found = written(sweep)[1]
    assert found["final"]["task.mqar.accuracy"] == 0.75
    assert found["final"]["task.mqar.by.gap.8"] == 0.5
    assert "task.mqar.examples" not in found["final"]
    assert found["curves"]["task.mqar.accuracy"] == [[10, 0.25], [20, 0.75]]
    assert found["grids"]["task.needle"]["values"] == [[1.0, 0.5], [0.25, 0.0]]


def test_curves_are_thinned(tmp_path):
    sweep, queue = finished(tmp_path)
    run = sweep.folder / RUNS / sweep.points[0].id
    make(run, lines(1000))
    results.collect(sweep, queue)
    curve = written(sweep)[0]["curves"]["train.loss"]
    assert 50 <= len(curve) <= results.MOST and curve[-1][0] == 1000
    assert all(value == float(f"{value:.4g}") for _, value in curve)


def test_collected_again_it_is_the_same_and_what_is_known_is_kept(tmp_path):
    sweep, queue = finished(tmp_path)
    first = results.collect(sweep, queue)
    before = (sweep.folder / "results.jsonl").read_bytes()
    results.collect(sweep, queue)
    assert (sweep.folder / "results.jsonl").read_bytes() == before
    known = {first[0]["id"]: {**first[0], "name": "kept"}, first[2]["id"]: {"status": "failed"}}
    results.collect(sweep, queue, known)
    assert written(sweep)[0]["name"] == "kept" and written(sweep)[2]["name"] == first[2]["name"]


def test_lines_that_are_none_are_left_out(tmp_path):
    sweep, queue = finished(tmp_path)
    lines = results.collect(sweep, queue)
    with (sweep.folder / "results.jsonl").open("ab") as file:
        file.write(b'\xff\xfe\n[1]\n{"id": 3}\n{"id": "x", "sta')
    assert list(results.read(sweep.folder)) == [line["id"] for line in lines]


def test_a_failed_point_without_a_run_directory(tmp_path):
    sweep, queue = finished(tmp_path)
    last = sweep.points[3].id
    queue.add([last], "failed", "exit code 3: no data")
    found = results.collect(sweep, queue)[3]
    assert (found["seconds"], found["final"], found["tokens"]) == (None, {}, 0)
    json.dumps(found, allow_nan=False)


def test_whole_runs_that_the_queue_knows_nothing_of_are_done(tmp_path):
    sweep, queue = finished(tmp_path)
    last = sweep.points[3]
    run = make(sweep.folder / RUNS / last.id, lines(20))
    assert results.reconcile(sweep, queue) == []  # no checkpoint yet
    (run / "checkpoints" / "20").mkdir(parents=True)
    assert results.reconcile(sweep, queue) == [last.id]
    assert queue.last()[last.id].state == "done"
    assert results.reconcile(sweep, queue) == []
