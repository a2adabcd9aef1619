"""Children of a sweep: all points done once, failures told, kills and signals lose nothing."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jaxlin.study.sweep.queue import Queue
from tests.study.sweep import stub

ROOT = Path(__file__).parents[3]


def states(folder, ids):
    return {id: event.state for id, event in Queue(folder).states(ids).items()}


def work(folder, id):
    return [int(line) for line in (folder / "runs" / id / "work").read_text().split()]


def assert_done_once(folder, ids):
    assert states(folder, ids) == dict.fromkeys(ids, "done")
    for id in ids:
        assert work(folder, id) == list(range(stub.UNITS)), id


def test_all_points_are_done_once_and_told(tmp_path):
    ids, over = [f"p{i}" for i in range(5)], []
    assert stub.sweep(tmp_path, ids, 3, ended=over.append).run() is False
    assert_done_once(tmp_path, ids)
    assert sorted(over) == ids


def test_a_failure_is_told_and_the_others_go_on(tmp_path):
    ids = ["fails-a", "dies-b", "c"]
    said = []
    stub.sweep(tmp_path, ids, 2, say=said.append).run()
    last = Queue(tmp_path).last()
    assert [last[id].state for id in ids] == ["failed", "failed", "done"]
    assert last["fails-a"].reason == "exit code 5: step 7: loss nan\n  and why"
    assert last["dies-b"].reason.startswith("ended by SIGKILL (out of memory?)")
    assert any(line.startswith("failed fails-a: exit code 5") for line in said)
    again = len(Queue(tmp_path).path.read_bytes().splitlines())
    stub.sweep(tmp_path, ids).run()
    assert len(Queue(tmp_path).path.read_bytes().splitlines()) == again, "nothing was to be done"


def test_failed_points_are_tried_again_once_when_asked(tmp_path):
    stub.sweep(tmp_path, ["fails-a", "b"]).run()
    started = []
    retry = frozenset({"fails-a"})
    stub.sweep(tmp_path, ["fails-a", "b"], retry=retry, say=started.append).run()
    assert [line for line in started if line.startswith("started")] == ["started fails-a"]


def test_a_point_that_asks_to_be_started_again_without_end_fails(tmp_path):
    stub.sweep(tmp_path, ["asks-a"]).run()
    event = Queue(tmp_path).last()["asks-a"]
    assert event.state == "failed" and event.reason.startswith("ended 4 times with exit code 75")


def test_points_of_a_group_share_a_process(tmp_path):
    said = []
    stub.sweep(tmp_path, [], groups=[("a", "b"), ("c",)], say=said.append).run()
    assert said[0] == "started a, b"
    assert_done_once(tmp_path, ["a", "b", "c"])


def test_told_to_stop_children_save_and_the_same_command_goes_on(tmp_path):
    ids = [f"p{i}" for i in range(16)]  # far more than are done by then
    before = signal.getsignal(signal.SIGTERM)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    assert stub.sweep(tmp_path, ids, 2).run() is True
    found = states(tmp_path, ids)
    assert "running" not in found.values() and "pending" in found.values()
    assert signal.getsignal(signal.SIGTERM) == before
    stub.sweep(tmp_path, ids, 2).run()
    assert_done_once(tmp_path, ids)


def start(folder, ids, parallel):
    (folder / "ids").write_text(" ".join(ids))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.study.sweep.stub", "sweep", str(folder), str(parallel)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("delay", [0.05, 0.3, 0.7])
def test_killed_at_any_time_the_same_command_ends_it(tmp_path, delay):
    """Without a child's tie to its parent, which the stub has not: the orphan works on beside the
    next sweep, unless it is waited for; the units of work would be there twice."""
    ids = [f"p{i}" for i in range(4)]
    process = start(tmp_path, ids, 1)
    while not (tmp_path / "queue.jsonl").exists():
        time.sleep(0.01)
    time.sleep(delay)
    process.kill()
    process.wait()
    time.sleep(stub.UNITS * stub.UNIT * 2)  # the orphan has ended
    assert set(states(tmp_path, ids).values()) <= {"pending", "done"}
    assert start(tmp_path, ids, 2).wait(60) == 0
    assert_done_once(tmp_path, ids)


def test_several_workers_share_a_queue(tmp_path):
    ids = [f"p{i}" for i in range(9)]
    workers = [start(tmp_path, ids, 1) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert_done_once(tmp_path, ids)
    events = [json.loads(line) for line in (tmp_path / "queue.jsonl").read_text().splitlines()]
    claimed = [event["id"] for event in events if event["state"] == "running"]
    assert sorted(claimed) == ids
    assert len({event["worker"]["pid"] for event in events}) > 1
