"""Several processes that train together: the same as one, and none is left waiting for another."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxlin.launch import local
from jaxlin.parallel import peers
from jaxlin.train import records
from tests.faults import driver, processes
from tests.faults.driver import ROOT, STEPS, WORDS, differences, result
from tests.faults.folders import truncate

pytestmark = pytest.mark.slow
SLACK = 20.0  # seconds beyond a bound: a busy machine


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What one process with two devices leaves."""
    return finish(tmp_path_factory.mktemp("one") / "run", 1, devices=2)


def finish(run, count, **more):
    """Lets so many processes end the run."""
    group = processes.start(run, count, **more)
    codes = processes.end(group)
    assert codes == [0] * count, "\n".join(one.said() for one in group)
    return result(run)


def end_both(run, limit, **more):
    """Exit codes and words of two processes that end by themselves within the limit."""
    group = processes.start(run, 2, **more)
    codes = processes.end(group, limit)
    return codes, [one.said() for one in group]


def launch(run, *options):
    """`jaxlin launch local`; output in a file beside the run directory."""
    log = run.with_name(run.name + ".log").open("w")
    command = [sys.executable, "-m", "jaxlin.cli.main", "launch", "local", *options, *WORDS]
    with log:
        return subprocess.Popen(
            [*command, "--run", str(run)],
            cwd=ROOT,
            env=processes.environment(1),
            stdout=log,
            stderr=log,
        )


def stop(launcher):
    """Whatever its processes do: a second signal kills them."""
    for _ in range(2):
        if launcher.poll() is None:
            launcher.terminate()
            time.sleep(0.5)
    launcher.wait(SLACK)


def said(run):
    return run.with_name(run.name + ".log").read_text()


def wait_for(text, run, launcher):
    end = time.monotonic() + processes.LIMIT
    while text not in said(run):
        assert launcher.poll() is None and time.monotonic() < end, said(run)
        time.sleep(0.02)


def process_of(launcher, index):
    """Pid of a process that the launcher started."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    for pid in children:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if words[words.index("--process-id") + 1] == str(index):
            return int(pid)
    raise AssertionError("no such process")


def test_two_processes_are_one_with_two_devices_bitwise(whole, tmp_path):
    """Also when one of them starts late."""
    assert differences(finish(tmp_path / "run", 2, late=3.0), whole) == []


def test_one_killed_ends_the_launch_and_another_number_goes_on_bitwise(whole, tmp_path):
    """Restarted as one process with both devices: the mesh is the same."""
    run = tmp_path / "run"
    launcher = launch(run, "-n", "2")
    try:
        wait_for("step 8/", run, launcher)
        os.kill(process_of(launcher, 1), signal.SIGKILL)
        code = launcher.wait(local.GRACE + SLACK)
    finally:
        stop(launcher)
    assert code == 128 + signal.SIGKILL
    assert "process 1 was ended by SIGKILL; the others have 10 s to end" in said(run)
    assert differences(finish(run, 1, devices=2), whole) == []


def test_told_to_stop_all_save_and_other_numbers_go_on(whole, tmp_path):
    """First 2 processes, then 4: another mesh, the same data and within 1e-5 the same loss."""
    run = tmp_path / "run"
    launcher = launch(run, "-n", "2")
    try:
        wait_for("step 4/", run, launcher)
        launcher.send_signal(signal.SIGTERM)
        code = launcher.wait(processes.LIMIT)
    finally:
        stop(launcher)
    assert code == 75, said(run)
    assert said(run).count("told to stop by a signal to one of the processes") == 2
    found = finish(run, 4)
    for key in (("train", STEPS), ("eval", STEPS)):
        ours, theirs = found.records[key], whole.records[key]
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
        assert ours.get("batch") == theirs.get("batch")
    assert [start["processes"] for start in records.starts(run)] == [2, 4]


def test_the_error_of_one_ends_the_other_with_its_words(tmp_path):
    codes, texts = end_both(tmp_path / "run", processes.LIMIT, faults={1: "eval:raise@2"})
    assert codes == [1, 1]
    assert "process 1: RuntimeError: JAXLIN_FAULT asked for this error" in texts[0]


def test_bad_input_of_one_is_refused_by_both(tmp_path):
    run = tmp_path / "run"
    codes, texts = end_both(run, processes.LIMIT, words={1: ["data.paths=/no/such", "data=text"]})
    assert codes == [2, 2] and not run.exists()
    assert all("process 1 (" in text and "config " in text for text in texts), texts


def test_a_missing_process_is_named_in_time(tmp_path):
    run = tmp_path / "run"
    (one,) = processes.start(run, 1, expected=2)
    begin = time.monotonic()
    assert one.end() == 2
    assert time.monotonic() - begin < 5 + SLACK
    assert "not all 2 processes of the run came together" in one.said()
    assert "--process-id I" in one.said() and not run.exists()


def test_a_killed_process_ends_the_other_without_a_launcher(tmp_path):
    """A save on its way would wait for it until its heartbeats are missed."""
    first, second = processes.start(tmp_path / "run", 2, saving=False)
    try:
        first.wait_for("step 8/")
        second.process.kill()
        assert first.end(peers.DEPART + SLACK) == 75
        assert "another process of the run is gone" in first.said()
    finally:
        first.process.kill()


def test_a_signal_to_one_stops_both(whole, tmp_path):
    run = tmp_path / "run"
    group = processes.start(run, 2, faults={1: "step:term@4"})
    assert processes.end(group) == [75, 75]
    assert differences(finish(run, 2), whole, told=True) == []


def test_a_part_that_one_cannot_read_is_damage_for_all(whole, tmp_path):
    run = tmp_path / "run"
    group = processes.start(run, 2, faults={1: "step:term@4"})
    assert processes.end(group) == [75, 75]
    steps = driver.complete(run)
    # A part that only the second process reads: rows of the embedding that it holds.
    truncate(run / "checkpoints" / str(steps[-1]))
    codes, texts = end_both(run, processes.LIMIT, expected=None)
    assert codes == [4, 4] and all("is damaged" in text for text in texts), texts
