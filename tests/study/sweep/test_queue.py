"""The queue of a sweep: claims, torn lines, workers that are gone."""

import json
import os
import subprocess
import sys

import pytest

from jaxlin.config.errors import CheckpointError
from jaxlin.study.sweep.queue import RUNS, SILENCE, Queue
from jaxlin.train.lock import LOCK, Lock
from jaxlin.train.writer import this_process


def states(queue, *ids):
    return [event.state for event in queue.states(ids).values()]


def signed(queue, **changes):
    """An event "running" of another worker."""
    worker = {**queue.me, **changes}
    return json.dumps(
        {"time": 1000.0, "id": "a", "state": "running", "worker": worker, "reason": None}
    )


def gone():
    """The number of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-S", "-c", ""])
    done.wait()
    return done.pid


def test_points_are_pending_claimed_once_and_done(tmp_path):
    queue = Queue(tmp_path)
    assert states(queue, "a", "b") == ["pending", "pending"] and not queue.path.exists()
    groups = [("a",), ("b", "c")]
    assert [queue.claim(groups) for _ in range(3)] == [("a",), ("b", "c"), ()]
    queue.add(["a"], "done")
    queue.add(["b"], "failed", "why")
    assert states(queue, "a", "b", "c") == ["done", "failed", "running"]
    assert queue.claim(groups) == () and queue.claim(groups, frozenset("b")) == ("b",)
    assert queue.last()["a"].worker["pid"] == os.getpid()


def test_of_a_group_only_what_is_left_is_claimed(tmp_path):
    queue = Queue(tmp_path)
    queue.add(["a"], "done")
    assert queue.claim([("a", "b")]) == ("b",)


@pytest.mark.parametrize("torn", ['{"time": 1, "id": "a", "sta', "[1]", '"x"', '{"id": 3}', "\xff"])
def test_a_torn_line_is_passed_over_and_ended(tmp_path, torn):
    queue = Queue(tmp_path)
    queue.add(["a"], "done")
    with queue.path.open("ab") as file:
        file.write(torn.encode("latin-1"))
    assert states(queue, "a") == ["done"]
    queue.add(["b"], "failed", "why")
    assert states(queue, "a", "b") == ["done", "failed"]


def test_the_point_of_a_killed_worker_is_pending_again(tmp_path):
    queue = Queue(tmp_path)
    queue.path.write_text(signed(queue, pid=gone()) + "\n")
    event = queue.states(["a"])["a"]
    assert (event.state, event.reason) == ("pending", "its worker was killed")
    assert queue.claim([("a",)]) == ("a",)


def test_the_number_of_a_killed_worker_may_be_used_again(tmp_path):
    queue = Queue(tmp_path)
    queue.path.write_text(signed(queue, born=queue.me["born"] - 1) + "\n")
    assert states(queue, "a") == ["pending"]


def test_a_worker_that_lives_is_left_alone(tmp_path):
    queue = Queue(tmp_path)
    alive = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    try:
        queue.path.write_text(signed(queue, pid=alive.pid, born=None) + "\n")
        assert states(queue, "a") == ["running"] and queue.claim([("a",)]) == ()
    finally:
        alive.kill()
        alive.wait()


def test_a_worker_on_another_host_needs_silence_and_a_word(tmp_path):
    now = [1000.0]
    patient = Queue(tmp_path, clock=lambda: now[0])
    patient.path.write_text(signed(patient, host="elsewhere", boot="x") + "\n")
    taking = Queue(tmp_path, takeover=True, clock=lambda: now[0])
    assert states(patient, "a") == states(taking, "a") == ["running"]
    now[0] += SILENCE + 1
    assert (states(patient, "a"), states(taking, "a")) == (["running"], ["pending"])
    run = tmp_path / RUNS / "a"  # its run gives a sign of life
    run.mkdir(parents=True)
    (run / LOCK).write_text(this_process(now[0], 30.0).text())
    assert states(taking, "a") == ["running"]


def test_a_run_that_an_orphan_still_saves_is_waited_for(tmp_path):
    queue = Queue(tmp_path)
    queue.path.write_text(signed(queue, pid=gone()) + "\n")
    with Lock(tmp_path / RUNS / "a"):
        assert states(queue, "a") == ["pending"] and queue.claim([("a",)]) == ()
    assert queue.claim([("a",)]) == ("a",)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be locked and written"):
        Queue(tmp_path / "file").add(["a"], "done")


def test_a_child_leaves_the_claim_to_its_parent(tmp_path):
    queue = Queue(tmp_path)
    queue.path.write_text(signed(queue, pid=os.getppid(), born=None) + "\n")
    queue.begin(["a", "b"])
    assert queue.last()["a"].worker["pid"] == os.getppid()
    assert queue.last()["b"].worker == queue.me
