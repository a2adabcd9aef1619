"""Steps that stop coming are noticed, once, with the stacks; what merely takes long is not."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jaxlin.config.guard import Guard
from jaxlin.config.load import to_json
from jaxlin.config.override import override
from jaxlin.config.presets import preset
from jaxlin.train import diagnosis
from jaxlin.train.watchdog import Hang, Watchdog

ROOT = Path(__file__).parents[2]


class Seen:
    """A watchdog on a clock that the test moves, and what it did."""

    def __init__(self, run, **rule):
        self.now, self.said, self.ends, self.left = 0.0, [], [], []
        self.dog = Watchdog(
            Guard(**{"hang_seconds": 10.0} | rule),
            run,
            self.said.append,
            self.ends.append,
            clock=lambda: self.now,
            leave=self.left.append,
        )

    def after(self, seconds):
        self.now += seconds
        self.dog.look()
        return len(self.said)

    def beats(self, count, seconds):
        for step in range(1, count + 1):
            self.now += seconds
            self.dog.beat(step)


def test_a_step_that_does_not_come_leaves_the_stacks_once(tmp_path):
    seen = Seen(tmp_path)
    seen.beats(3, 0.1)
    assert seen.after(9.9) == 0
    assert seen.after(0.2) == 1
    text = (tmp_path / "stacks.txt").read_text()
    assert "no step was finished for 10 s after step 3" in text and "test_watchdog.py" in text
    assert text in seen.said[0] and f"pid {os.getpid()}" in text
    assert seen.after(100.0) == 1 and not seen.left  # one dump a hang; dump does not end the run
    seen.dog.beat(4)
    assert seen.after(9.0) == 1 and seen.after(2.0) == 2
    assert (tmp_path / "stacks.txt").read_text().count("no step was finished") == 2


def test_all_threads_are_shown(tmp_path):
    hold = threading.Event()
    thread = threading.Thread(target=hold.wait, name="stuck")
    thread.start()
    seen = Seen(tmp_path)
    seen.beats(1, 0.1)
    seen.after(11.0)
    hold.set()
    thread.join()
    assert (tmp_path / "stacks.txt").read_text().count("hread 0x") >= 2


def test_compilation_and_whatever_else_pauses_it_is_not_a_hang(tmp_path):
    seen = Seen(tmp_path)
    assert seen.after(10_000.0) == 0  # before the first step: it compiles
    seen.beats(2, 0.1)
    with seen.dog.paused():
        assert seen.after(10_000.0) == 0  # an evaluation, a save
    assert seen.after(9.0) == 0  # the clock starts anew after it
    assert seen.after(2.0) == 1


def test_a_pause_before_the_first_step_does_not_start_the_clock(tmp_path):
    seen = Seen(tmp_path)
    with seen.dog.paused():
        seen.now += 5.0
    assert seen.after(10_000.0) == 0


def test_slow_steps_have_a_longer_limit(tmp_path):
    """20 times the median: one long step in between does not change it."""
    seen = Seen(tmp_path)
    seen.beats(9, 2.0)
    seen.now += 30.0
    seen.dog.beat(10)
    assert seen.dog.limit() == 40.0
    assert seen.after(39.0) == 0 and seen.after(2.0) == 1


def test_exit_says_why_and_ends_with_75(tmp_path):
    seen = Seen(tmp_path, hang="exit")
    seen.beats(1, 0.1)
    seen.after(11.0)
    assert seen.left == [75]
    (end,) = seen.ends
    assert isinstance(end, Hang) and end.exit_code == 75 and "the same command" in str(end)


def test_a_folder_that_is_gone_does_not_hide_the_hang(tmp_path):
    seen = Seen(tmp_path / "gone")
    seen.beats(1, 0.1)
    assert seen.after(11.0) == 1
    assert "could not be written" in seen.said[0]


@pytest.mark.parametrize(("hang", "alive"), [("dump", True), ("off", False)])
def test_its_thread_lives_as_long_as_it_is_open(hang, alive, tmp_path):
    said = []
    with Watchdog(Guard(hang=hang, hang_seconds=0.05), tmp_path, said.append, said.append) as dog:
        assert dog._thread.is_alive() is alive
        dog.beat(1)
        for _ in range(100):
            if said or not alive:
                break
            time.sleep(0.02)
    assert not dog._thread.is_alive()
    assert len(said) == alive


# The data stop coming after step 4.
HANGING = """
import sys, time
from pathlib import Path
from jaxlin.config.load import read
from jaxlin.data.batches import Sampler
from jaxlin.train.loop import train

made = Sampler.batch_at
def stuck_here(self, step, rows=slice(None)):
    time.sleep(600 if step >= 4 else 0)
    return made(self, step, rows)
Sampler.batch_at = stuck_here
train(read(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_process_that_hangs_ends_itself_and_leaves_word(tmp_path):
    cfg = override(
        preset("tiny"),
        ["model.layers=1", "model.pattern=full", "checkpoint.every=2", "eval.every=0"]
        + ["guard.hang=exit", "guard.hang_seconds=5"]
        + ["mesh.data=1", "mesh.allow_unused_devices=true"],
    )
    (tmp_path / "config.json").write_text(to_json(cfg))
    (tmp_path / "hang.py").write_text(HANGING)
    run = tmp_path / "run"
    words = [sys.executable, tmp_path / "hang.py", tmp_path / "config.json", run]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 75, done.stderr
    assert "no step was finished" in done.stderr and "stuck_here" in done.stderr
    assert "stuck_here" in (run / "stacks.txt").read_text()
    found = diagnosis.diagnose(run)
    assert found.status == "hung" and found.checkpoint == 4 and found.command.endswith(str(run))
