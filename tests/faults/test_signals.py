"""SIGTERM and Ctrl-C: saved, exit code 75, no traceback, and the same command goes on bitwise."""

import signal
import subprocess
import time

import pytest

from jaxlin.train import records
from tests.faults.driver import STEPS, Child, complete, differences, finish

GRACE = 30.0  # seconds; what schedulers give between SIGTERM and SIGKILL


def told(run, fault, said, forked=True):
    """A run that a fault tells to stop."""
    child = Child(run, fault, forked=forked)
    assert child.end() == 75, child.said()
    assert said in child.said() and "Traceback" not in child.said()


@pytest.mark.slow
def test_sigterm_saves_and_the_run_goes_on_bitwise(whole, tmp_path):
    run = tmp_path / "run"
    told(run, "compile:term", "told to stop by SIGTERM: saved step 1 of 30", forked=False)
    told(run, "step:int@4", "told to stop by SIGINT: saved step 6 of 30")
    assert differences(finish(run), whole, told=True) == []


def test_told_before_the_first_step_there_is_nothing_to_save(whole, tmp_path):
    run = tmp_path / "run"
    told(run, "start:term", "told to stop by SIGTERM: nothing to save yet at step 0 of 30")
    assert list((run / "checkpoints").iterdir()) == []
    assert differences(finish(run), whole) == []


@pytest.mark.slow
def test_a_second_sigterm_during_a_save_ends_it_at_once_and_loses_nothing(whole, tmp_path):
    run = tmp_path / "run"
    child = Child(run, "checkpoint.write:hang@2")
    child.wait_for("step 8/")  # the step before the third save, which waits for the second
    child.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):  # it hears the first one, and goes on saving
        child.process.wait(1.0)
    child.process.send_signal(signal.SIGTERM)
    assert child.end(GRACE) == -signal.SIGTERM
    assert "Traceback" not in child.said()
    assert sorted(p.name.partition(".")[0] for p in (run / "checkpoints").iterdir()) == ["3", "6"]
    assert complete(run) == [3]
    assert differences(finish(run), whole) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_told_during_a_real_compilation_it_stops_after_it(number, whole, tmp_path):
    run, cache = tmp_path / "run", tmp_path / "cache"
    child = Child(run, cache=cache)
    child.wait_for("compiling the step")
    compiling = child.phase() == "compiling"
    child.process.send_signal(number)
    assert child.end() == 75 and compiling, child.said()
    assert "saved step 1 of 30" in child.said() and "Traceback" not in child.said()
    assert differences(finish(run, cache), whole, told=True) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_told_twice_within_a_moment_nothing_is_lost(number, whole, tmp_path):
    run = tmp_path / "run"
    child = Child(run)
    child.wait_for("step 4/")
    child.process.send_signal(number)
    time.sleep(0.01)
    child.process.send_signal(number)
    # Ctrl-C lets a save that is on its way end first.
    assert child.end(GRACE) in (75, 130, -signal.SIGTERM)
    assert "Traceback" not in child.said()
    assert differences(finish(run), whole, told=True) == []


@pytest.mark.slow
def test_told_after_the_last_step_the_final_evaluation_comes_with_the_next_start(whole, tmp_path):
    run = tmp_path / "run"
    told(run, f"step:term@{STEPS - 1}", "saved step 30 of 30")
    assert not records.has(run, "eval", STEPS)
    assert differences(finish(run), whole, told=True) == []
