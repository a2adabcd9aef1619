"""SIGKILL at every point and at any time: the same command ends the run as if nothing had been."""

import shutil
import signal
import time

import numpy as np
import pytest

from jaxlin.train.checkpoint import STATE
from jaxlin.train.faults import POINTS
from tests.faults import driver
from tests.faults.driver import EVERY, ONCE, STEPS, Blow, Child, differences, finish, strike, torn

KILLED = -signal.SIGKILL
EARLY = ("start", "compile", "compiled")  # nothing is saved yet: they wait for a release


def checkpoints(run):
    """The names among the checkpoints; those of incomplete ones end with ~."""
    names = [path.name for path in (run / "checkpoints").glob("*")]
    return sorted(name.split(".")[0] + "~" * ("tmp" in name) for name in names)


def kill(run, point, count=1, cache=driver.CACHE):
    assert strike(run, Blow("kill", point, count), cache) == (KILLED, point)


@pytest.mark.slow
def test_killed_again_and_again_a_run_ends_as_if_it_had_not_been(whole, tmp_path):
    run = tmp_path / "run"
    kill(run, "file")
    assert sorted(path.name for path in run.iterdir()) == [".config.json.tmp", "run.lock"]
    kill(run, "metrics", 3)
    assert torn(run) and checkpoints(run) == []
    for point in ("checkpoint.write", "checkpoint.commit"):
        kill(run, point)
        assert checkpoints(run) == ["3~"]
    kill(run, "checkpoint.gc", 2)
    assert checkpoints(run) == ["3", "6"]
    assert differences(finish(run), whole) == []


def test_differences_are_seen(whole):
    (path, leaf), *_ = whole.state.items()
    flipped = np.frombuffer(bytes([leaf.tobytes()[0] ^ 1]) + leaf.tobytes()[1:], leaf.dtype)
    changed = whole._replace(
        state=whole.state | {path: flipped.reshape(leaf.shape)},
        steps=[27, 30],
        names=[*whole.names, "x.tmp"],
        files=whole.files | {"data.json": b""},
        records={key: r for key, r in whole.records.items() if key != ("train", 7)},
    )
    found = "\n".join(differences(changed, whole))
    for part in (f"leaf {path}", "checkpoints: [27, 30]", "x.tmp", "data.json", "('train', 7)"):
        assert part in found
    assert differences(whole, whole) == []
    assert {kind for kind, _ in whole.records} == {"train", "eval"}
    assert {path.partition("/")[0] for path in whole.state} == {
        "step",
        "params",
        "opt_state",
        "ema",
        "guard",
    }


@pytest.mark.slow
def test_killed_after_the_last_save_the_old_checkpoint_goes_at_the_next_start(whole, tmp_path):
    run = tmp_path / "run"
    kill(run, "checkpoint.gc", STEPS // EVERY)
    assert checkpoints(run) == ["27", "30"]
    again = finish(run)
    assert differences(again, whole) == [] and again.steps == [30]


@pytest.mark.slow
def test_an_old_checkpoint_that_is_half_deleted_goes_too(whole, tmp_path):
    run = tmp_path / "run"
    kill(run, "checkpoint.gc", 2)
    shutil.rmtree(run / "checkpoints" / "3" / STATE / "d")
    assert differences(finish(run), whole) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    [pytest.param(p, marks=pytest.mark.long if p in EARLY else []) for p in POINTS],
)
def test_killed_at_a_point(point, whole, tmp_path):
    run = tmp_path / "run"
    kill(run, point, 1 if point in ONCE else 4)
    assert differences(finish(run), whole) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 2, 3))])
def test_killed_at_random(seed, whole, tmp_path):
    """Five times in a row, at points or at times; seed 0 compiles everything anew."""
    run, random = tmp_path / "run", np.random.default_rng(seed)
    cache = driver.CACHE if seed else tmp_path / "cache"
    seconds = driver.timed(tmp_path / "timed")[1]
    for _ in range(5):
        blow = driver.random_blow(random, tuple(POINTS), seconds)._replace(action="kill")
        if not driver.struck(strike(run, blow, cache)[0], "kill"):
            break
    assert differences(finish(run, cache), whole) == []


@pytest.mark.slow
@pytest.mark.parametrize("share", [pytest.param(0.2, marks=pytest.mark.long), 0.6])
def test_killed_during_the_first_compilation(share, whole, tmp_path):
    """In a process without compiled code from earlier ones, and with what a killed one left."""
    run, cache = tmp_path / "run", tmp_path / "cache"
    child = Child(run, cache=cache)
    child.wait_for("compiling the step")
    time.sleep(share)
    compiling = child.phase() == "compiling"
    child.process.kill()
    assert child.end() == KILLED and compiling
    assert differences(finish(run, cache), whole) == []
