"""`jaxlin doctor` on runs that ended in every way."""

import json
import os
import platform
import subprocess
import sys
import time

import pytest

from jaxlin.cli.main import main
from jaxlin.config import errors
from jaxlin.train import records
from jaxlin.train.crash import Crash
from jaxlin.train.watchdog import Hang
from tests.train.helpers import SMALL


def a_run(run, reached=17, kept=(10, 15), starts=1):
    """A run of 20 steps, as far as the records and folders tell."""
    records.create(run, SMALL)
    log = records.Records(run)
    log.write("start", 0, {})
    for step in range(1, reached + 1):
        log.write("train", step, {"loss": 5 - step / 10, "skipped": 0.0, "rewinds": 0.0})
    log.close()
    for name in [*kept, "18.orbax-checkpoint-tmp"]:
        (run / "checkpoints" / str(name)).mkdir(parents=True)
    for _ in range(starts):
        records.add_start(run, {"step": 0})
    return run


def end(run, error, step=17):
    with pytest.raises(type(error)), Crash(run, ()) as crash:
        crash.begin(0)
        crash.step = step
        raise error


def lock(run, age=0.0, pid=None, host=None):
    pid, host = pid or os.getpid(), host or platform.node()
    text = json.dumps({"host": host, "pid": pid, "heartbeat": time.time() - age})
    (run / "run.lock").write_text(text)


def doctor(capsys, run):
    assert main(["doctor", str(run), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("error", "status", "command"),
    [
        (errors.PreemptedError("told to stop by SIGTERM"), "stopped", "{}"),
        (Hang("no step was finished"), "hung", "{}"),
        (errors.DivergedError("step 17: loss nan"), "diverged", "{} guard.nonfinite=rewind"),
        (errors.CheckpointError("no space left"), "save error", "{}"),
        (errors.DataError("shard 3, offset 7"), "data error", "{}"),
        (ZeroDivisionError("division by zero"), "failed", "{}"),
        (KeyboardInterrupt(), "interrupted", "{}"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_that_left_word(error, status, command, tmp_path, capsys):
    run = a_run(tmp_path / "a run")
    end(run, error)
    found = doctor(capsys, run)
    assert found["status"] == status
    assert type(error).__name__ in found["what"] and str(error) in found["what"]
    assert found["command"] == command.format(f"jaxlin resume '{run}'")
    assert (found["step"], found["checkpoint"], found["lost"]) == (17, 15, 2)
    assert found["losses"] == {str(n): 5 - n / 10 for n in range(13, 18)}


def test_killed_without_a_word(tmp_path, capsys):
    run = a_run(tmp_path)
    assert main(["doctor", str(run)]) == 0
    said = capsys.readouterr().out
    assert f"{run}: killed\n" in said and "kill -9" in said
    assert "reached     step 17 of 20" in said
    assert "checkpoint  step 15; 2 steps after it are lost" in said
    assert said.endswith(f"next        jaxlin resume {run}\n")


def test_an_earlier_end_is_history(tmp_path, capsys):
    run = a_run(tmp_path)
    end(run, errors.DivergedError("step 17: loss nan"))
    assert doctor(capsys, run)["status"] == "diverged"
    records.add_start(run, {"step": 15})
    assert doctor(capsys, run)["status"] == "killed"


@pytest.mark.parametrize(
    ("holder", "status"),
    [
        (dict(), "running"),
        (dict(age=300), "killed"),
        (dict(pid=2**22 + 1), "killed"),  # above the largest process id
        (dict(pid=2**22 + 1, host="elsewhere"), "running"),
        (dict(age=300, host="elsewhere"), "killed"),
    ],
)
def test_a_lock_counts_while_it_is_fresh_and_held(holder, status, tmp_path, capsys):
    run = a_run(tmp_path)
    lock(run, **holder)
    assert doctor(capsys, run)["status"] == status


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", '{"pid": "x"}', '{"heartbeat": null}'])
def test_a_damaged_lock_or_crash_file_is_no_word(text, tmp_path, capsys):
    run = a_run(tmp_path)
    for name in ("run.lock", "crash.json"):
        (run / name).write_bytes(text.encode("latin-1"))
    assert doctor(capsys, run)["status"] == "killed"


def test_a_finished_run(finished, capsys):
    found = doctor(capsys, finished)
    assert (found["status"], found["step"], found["lost"]) == ("finished", 3, 0)
    assert found["command"] == f"jaxlin resume {finished} steps=6"


def test_without_its_last_evaluation_it_is_not_finished(tmp_path, capsys):
    run = a_run(tmp_path, reached=20, kept=(15, 20))
    assert doctor(capsys, run)["status"] == "killed"


def test_a_run_that_was_killed_before_its_first_step(tmp_path, capsys):
    records.create(tmp_path, SMALL)
    found = doctor(capsys, tmp_path)
    assert (found["status"], found["step"], found["checkpoint"]) == ("not started", 0, None)
    records.add_start(tmp_path, {"step": 0})
    found = doctor(capsys, tmp_path)
    assert found["status"] == "killed" and found["losses"] == {}


def test_what_the_guard_did_is_told(tmp_path, capsys):
    run = a_run(tmp_path)
    log = records.Records(run)
    log.write("train", 18, {"loss": float("nan"), "skipped": 3.0, "rewinds": 1.0})
    log.close()
    assert main(["doctor", str(run)]) == 0
    said = capsys.readouterr().out
    assert "3 steps left out, 1 rewinds" in said and "18: not finite" in said


def test_a_folder_that_is_no_run(tmp_path, capsys):
    assert main(["doctor", str(tmp_path)]) == 4
    assert "is no run directory" in capsys.readouterr().err


def test_it_needs_no_jax_and_changes_nothing(tmp_path):
    run = a_run(tmp_path)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    script = (
        "import sys; sys.modules['jax'] = None\n"
        "from jaxlin.cli.main import main\n"
        f"assert main(['doctor', {str(run)!r}]) == 0\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
