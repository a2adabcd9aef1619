"""A sweep that is killed or told to stop: the same command ends it as if nothing had been."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from jaxlin.study.sweep.queue import RUNS, Queue
from jaxlin.train import records
from jaxlin.train.faults import VARIABLE
from tests.faults import driver
from tests.faults.driver import CACHE, EVERY, FLAGS, ROOT, STEPS, WORDS

pytestmark, LONG = pytest.mark.slow, pytest.mark.long
FILE = f"""
from jaxlin.config.points import product, seeds

def points():
    return product("tiny", *{WORDS[1:]!r}, seed=seeds(2))
"""
LIMIT = 300.0


class Sweep:
    """`jaxlin sweep` on a folder, in a process of its own."""

    def __init__(self, root, name, *words, fault=None):
        self.folder, self._log = root / name, root / f"{name}.log"
        (root / "points.py").write_text(FILE)
        environment = {**os.environ} | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": FLAGS,
            "JAX_COMPILATION_CACHE_DIR": str(CACHE),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "PYTHONPATH": str(ROOT),
        }
        environment.pop(VARIABLE, None)
        command = [sys.executable, "-m", "jaxlin.cli.main", "sweep", str(root / "points.py")]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--out", str(self.folder), *words],
                cwd=ROOT,
                env=environment if fault is None else {**environment, VARIABLE: fault},
                stdout=log,
                stderr=log,
            )

    def said(self):
        return self._log.read_text()

    def wait_for(self, pattern):
        """Returns once the folder holds such a file."""
        last = time.monotonic() + LIMIT
        while not any(self.folder.glob(pattern)):
            assert self.process.poll() is None and time.monotonic() < last, self.said()
            time.sleep(0.01)

    def end(self):
        try:
            return self.process.wait(LIMIT)
        finally:
            self.process.kill()


def left(folder):
    """What must be the same: results without times and commit, and all that a run leaves."""
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    runs = [driver.result(path) for path in sorted((folder / RUNS).iterdir())]
    same = [{k: v for k, v in line.items() if k not in ("seconds", "git")} for line in lines]
    return same, runs


def assert_alike(folder, whole, told=False):
    lines, runs = left(folder)
    assert lines == whole[0] and len(lines) == 2
    for run, other in zip(runs, whole[1], strict=True):
        assert driver.differences(run, other, told) == []
        assert {step for kind, step in run.records if kind == "train"} == set(range(1, STEPS + 1))


def states(folder):
    return {id: event.state for id, event in Queue(folder).last().items()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """An undisturbed sweep, point by point."""
    sweep = Sweep(tmp_path_factory.mktemp("whole"), "sweep", "--no-together")
    assert sweep.end() == 0, sweep.said()
    return left(sweep.folder)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """An undisturbed sweep, both points in one program."""
    sweep = Sweep(tmp_path_factory.mktemp("whole"), "sweep", "--together")
    assert sweep.end() == 0, sweep.said()
    return left(sweep.folder)


INSTANTS = ("queue.jsonl", f"{RUNS}/*/run.lock", f"{RUNS}/*/checkpoints/{EVERY}", "results.jsonl")


@pytest.mark.parametrize("how", [pytest.param("--no-together", marks=LONG), "--together"])
def test_killed_at_several_instants(request, tmp_path, how):
    """The second sweep starts while the children of the first may still be saving."""
    whole = request.getfixturevalue("alone" if how == "--no-together" else "together")
    for instant in INSTANTS[: 3 if how == "--together" else 4]:
        sweep = Sweep(tmp_path, "sweep", how)
        sweep.wait_for(instant)
        sweep.process.send_signal(signal.SIGKILL)
        assert sweep.end() == -signal.SIGKILL
    sweep = Sweep(tmp_path, "sweep", how)
    assert sweep.end() == 0, sweep.said()
    assert set(states(sweep.folder).values()) == {"done"}
    assert_alike(sweep.folder, whole, told=True)  # its children are told when it is killed


@pytest.mark.parametrize("how", ["--no-together", pytest.param("--together", marks=LONG)])
def test_told_to_stop_all_is_saved_and_pending(request, tmp_path, how):
    whole = request.getfixturevalue("alone" if how == "--no-together" else "together")
    sweep = Sweep(tmp_path, "sweep", how, "--parallel", "2")
    sweep.wait_for(f"{RUNS}/*/checkpoints/{EVERY}")
    sweep.process.send_signal(signal.SIGINT)
    assert sweep.end() == 75, sweep.said()
    assert "told to stop" in sweep.said() and "running" not in states(sweep.folder).values()
    assert Sweep(tmp_path, "sweep", how).end() == 0
    assert_alike(sweep.folder, whole, told=True)


@pytest.mark.parametrize(
    "point",
    [
        "checkpoint.commit:kill@2",
        pytest.param("metrics:kill@9", marks=LONG),
        pytest.param("checkpoint.gc:kill@3", marks=LONG),
        pytest.param("eval:kill@3", marks=LONG),
    ],
)
def test_a_child_that_dies_fails_alone_and_goes_on(request, tmp_path, point):
    """Together: two runs may have saved different steps, and go on from a common one."""
    whole = request.getfixturevalue("together")
    sweep = Sweep(tmp_path, "sweep", "--together", fault=point)
    assert sweep.end() == 1, sweep.said()
    event = next(iter(Queue(sweep.folder).last().values()))
    assert event.state == "failed" and event.reason.startswith("ended by SIGKILL")
    again = Sweep(tmp_path, "sweep", "--together", "--retry")
    assert again.end() == 0, again.said()
    assert_alike(sweep.folder, whole)


def test_an_unstarted_point_beside_a_done_one(alone, tmp_path):
    """One point of a group is done, the other is trained alone in the same way as in the group."""
    sweep = Sweep(tmp_path, "sweep", "--no-together", "--only", "seed1")
    assert sweep.end() == 0, sweep.said()
    assert list(states(sweep.folder).values()) == ["done"]
    assert Sweep(tmp_path, "sweep", "--no-together").end() == 0
    assert_alike(sweep.folder, alone)
    lines = [r for run in (sweep.folder / RUNS).iterdir() for r in records.read_metrics(run)]
    assert len([r for r in lines if r["kind"] == "eval"]) == 2 * STEPS / EVERY
