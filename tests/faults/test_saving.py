"""Whole runs with damaged steps, second writers and disks that fail."""

import io
import os
import random
import shutil
import subprocess
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.cli.main import main
from jaxlin.config.errors import CheckpointError
from jaxlin.config.run import Eval, Log
from jaxlin.config.sources.text import Text
from jaxlin.train import records
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.lock import LOCK, Lock
from jaxlin.train.loop import train
from jaxlin.train.restore import load_run
from tests.faults.folders import POLICY, files, kinds, names, truncate
from tests.train.helpers import SMALL, At, assert_equal

# Orbax leaves coroutines unawaited when a read fails.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def cfg(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    words = "the state of a linear model forgets what a softmax model keeps".split()
    for name, count in (("train", 800), ("held", 100)):
        (folder / f"{name}.txt").write_text(" ".join(random.Random(count).choices(words, k=count)))
    return replace(
        SMALL,
        steps=6,
        model=replace(SMALL.model, vocab=None),
        data=Text(paths=(f"{folder}/train.txt",), eval_paths=(f"{folder}/held.txt",)),
        checkpoint=POLICY,
        eval=Eval(every=0, batches=1),
        log=Log(every=1, tensorboard=False),
    )


@pytest.fixture(scope="module")
def whole(cfg, tmp_path_factory):
    """An uninterrupted run, with steps 2, 4 and 6."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(cfg, run, out=io.StringIO())
    return run


def test_the_command_names_fallback_and_ends_alike(whole, tmp_path, capsys):
    """Exit code 4, then with --fallback the lost steps again, bit by bit."""
    run = shutil.copytree(whole, tmp_path / "run")
    truncate(run / "checkpoints/6")
    before = {path: path.read_bytes() for path in files(run)}
    assert main(["resume", str(run)]) == 4
    assert "6/state is damaged" in (said := capsys.readouterr().err) and "--fallback" in said
    assert {path: path.read_bytes() for path in files(run)} == before
    assert main(["resume", str(run), "--fallback"]) == 0
    said = capsys.readouterr().err
    assert "Going on from step 4 (--fallback)" in said and "checkpoint of step 4" in said
    assert names(run) == ["2", "4", "6", "damaged-6"]
    assert_equal(load_run(run).variables, load_run(whole).variables)
    steps = [r["step"] for r in records.read_metrics(run) if r["kind"] == "train"]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_a_run_that_another_process_writes_to_is_refused(whole, tmp_path, capsys):
    run = shutil.copytree(whole, tmp_path / "run")
    (run / "checkpoints/8.orbax-checkpoint-tmp").mkdir()  # its save, under way
    with Lock(run):
        before = {path: path.read_bytes() for path in files(run)}
        for switches in ([], ["--takeover"]):
            assert main(["resume", str(run), "steps=8", *switches]) == 4
            assert f"{LOCK} is held by process {os.getpid()} on" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in files(run)} == before
        assert (run / "checkpoints/8.orbax-checkpoint-tmp").is_dir()


def test_a_lock_that_is_lost_ends_the_run_before_its_next_step(cfg, whole, tmp_path, monkeypatch):
    run = shutil.copytree(whole, tmp_path / "run")
    now = [1000.0]

    def lose():
        (run / LOCK).unlink()
        now[0] += 100.0

    lock = lambda *args, **kwargs: Lock(*args, **kwargs, clock=lambda: now[0])  # noqa: E731
    monkeypatch.setattr("jaxlin.train.loop.Lock", lock)
    with pytest.raises(CheckpointError, match="was removed or taken over"):
        train(replace(cfg, steps=12), run, out=At(8, lose))
    assert Checkpoints(run / "checkpoints", POLICY, write=False).latest() == 8


def test_too_little_room_is_noticed_before_the_save(cfg, whole, tmp_path, monkeypatch):
    run = shutil.copytree(whole, tmp_path / "run")
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(load_state_shapes(cfg)))
    usage = lambda free: lambda path: SimpleNamespace(free=free)  # noqa: E731
    short = int(1.2 * size) - 1
    monkeypatch.setattr(shutil, "disk_usage", usage(short))
    with pytest.raises(CheckpointError, match=f"{size:,} bytes.*{short:,} are") as error:
        train(replace(cfg, steps=8), run, out=io.StringIO())
    assert "step 8 was not saved" in str(error.value)
    assert names(run) == ["2", "4", "6"] and LOCK not in os.listdir(run)
    monkeypatch.setattr(shutil, "disk_usage", usage(int(1.2 * size) + 1))
    train(replace(cfg, steps=8), run, out=io.StringIO())
    assert names(run) == ["4", "6", "8"]


def load_state_shapes(cfg):
    from jaxlin.parallel.mesh import make
    from jaxlin.train.plan import make_plan

    mesh = make(cfg.mesh)
    model = replace(cfg.model, vocab=384)
    return jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, leaf.dtype),
        make_plan(replace(cfg, model=model), mesh.shape).shapes,
    )


def await_step(run, step):
    """Until it is complete: it is saved in the background."""
    while not (run / "checkpoints" / str(step)).is_dir():
        time.sleep(0.01)


def test_a_folder_that_is_removed_ends_the_run(cfg, tmp_path):
    run = tmp_path / "run"

    def remove():
        await_step(run, 2)
        shutil.rmtree(run)

    with pytest.raises(CheckpointError, match="checkpoints: the folder was removed"):
        train(cfg, run, out=At(3, remove))
    assert not (run / "checkpoints").exists()


def test_a_failed_save_does_not_hide_the_error_that_ends_the_run(tmp_path):
    """It is said beside it; without another error it is the error."""
    said = []
    for error, expected in ((KeyError, KeyError), (None, CheckpointError)):
        folder = tmp_path / str(expected.__name__)
        with pytest.raises(expected):
            with Checkpoints(folder, POLICY, say=said.append) as checkpoints:
                checkpoints.save(1, kinds(), {})
                (folder / "1.orbax-checkpoint-tmp").rename(tmp_path / f"gone-{expected.__name__}")
                if error:
                    raise error
    assert len(said) == 1 and "the last step could not be saved" in said[0]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 700 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=700k", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_noticed_at_the_next_steps(cfg, small_disk, monkeypatch):
    """Orbax's save returns before it fails; the check before it is made to see room enough."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**40))
    run = small_disk / "run"
    many = replace(cfg, steps=500, checkpoint=replace(POLICY, every=4))

    def fill():
        await_step(run, 4)
        (small_disk / "other").write_bytes(b"x" * room(small_disk))

    with pytest.raises(
        CheckpointError, match="last step could not be saved, earlier ones|metrics.jsonl: cannot be"
    ):
        train(many, run, out=At(6, fill))
    reader = Checkpoints(run / "checkpoints", POLICY, write=False)
    assert reader.latest() == 4
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert len(lines) < 100


def room(folder):
    found = os.statvfs(folder)
    return max(0, found.f_bavail * found.f_frsize - 20_000)  # for metrics, not for a checkpoint


def test_a_disk_that_becomes_read_only(cfg, small_disk):
    """As file systems do after an error."""
    checkpoints = Checkpoints(small_disk / "checkpoints", POLICY)
    checkpoints.save(1, {"w": jnp.ones(3)}, {})
    checkpoints.wait()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    before = set(threading.enumerate())
    with pytest.raises(CheckpointError, match="Read-only file system"):
        checkpoints.save(2, {"w": jnp.ones(3)}, {})
        while True:
            checkpoints.check()
    # Threads that wait for the folder of step 2, for minutes, would keep the process from ending.
    for thread in set(threading.enumerate()) - before:
        thread.join(0 if thread.daemon else 10)
    assert not [t for t in set(threading.enumerate()) - before if not t.daemon]
    checkpoints.close()
    assert checkpoints.steps() == [1]
    with pytest.raises(CheckpointError, match="run directory cannot be written.*Read-only"):
        train(cfg, small_disk, out=io.StringIO())
