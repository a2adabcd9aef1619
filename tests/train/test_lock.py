"""run.lock: one writer, dead ones replaced, silent ones only on demand, nothing lost unnoticed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from jaxlin.config.errors import CheckpointError
from jaxlin.train import writer
from jaxlin.train.lock import LOCK, Lock
from jaxlin.train.writer import dead, read, this_process

HOLD = """
import sys, time
from pathlib import Path
from jaxlin.train.lock import Lock
with Lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

CONTEST = """
import sys, time
from pathlib import Path
from jaxlin.config.errors import CheckpointError
from jaxlin.train.lock import Lock
run, go, end = map(Path, sys.argv[1:])
print("ready", flush=True)
while not go.exists():
    pass
try:
    with Lock(run):
        print("held", flush=True)
        while not end.exists():
            time.sleep(0.01)
except CheckpointError:
    print("refused", flush=True)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock of tmp_path."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def sign(run, **changes):
    """Leaves a lock of this process, with changes, in the directory."""
    signed = replace(this_process(time.time(), 30.0), **changes)
    (run / LOCK).write_text(signed.text())
    return signed


def refused(run, match, **kwargs):
    before = (run / LOCK).read_bytes()
    with pytest.raises(CheckpointError, match=match):
        with Lock(run, **kwargs):
            pass
    assert (run / LOCK).read_bytes() == before


def test_it_says_who_holds_it_and_goes_at_the_end(tmp_path):
    with Lock(tmp_path) as lock:
        lock.check()
        held = read(tmp_path / LOCK)
        assert held.pid == os.getpid() and abs(held.heartbeat - time.time()) < 60
        refused(tmp_path, rf"{LOCK} is held by process {held.pid} on .*, last sign of life \d+ s")
    assert list(tmp_path.iterdir()) == []


def test_it_goes_also_when_the_run_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), Lock(tmp_path):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_folders_that_nothing_came_into_go_again(tmp_path):
    with Lock(tmp_path / "a/b"):
        assert (tmp_path / "a/b" / LOCK).is_file()
    assert list(tmp_path.iterdir()) == []
    with Lock(tmp_path / "a/b"):
        (tmp_path / "a/b/config.json").write_text("x")
    assert (tmp_path / "a/b/config.json").is_file()


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path, other):
    refused(tmp_path, f"held by process {other.pid}")
    refused(tmp_path, f"held by process {other.pid}", takeover=True)
    other.send_signal(signal.SIGSTOP)  # stopped is not dead
    refused(tmp_path, f"held by process {other.pid}")
    other.send_signal(signal.SIGKILL)
    while writer._born(other.pid) not in (-1, None):  # until it is a zombie
        time.sleep(0.01)
    with Lock(tmp_path):
        assert read(tmp_path / LOCK).pid == os.getpid()


def test_a_number_used_again_by_another_process_does_not_count(tmp_path):
    born = this_process(0.0, 1.0).born
    if born is None:
        pytest.skip("no /proc: the start of a process is unknown")
    refused_by = sign(tmp_path)
    assert not dead(refused_by, 1e9)
    sign(tmp_path, born=born - 1)
    with Lock(tmp_path):
        pass


@pytest.mark.parametrize(
    "elsewhere", [{"host": "elsewhere"}, {"space": "pid:[1]"}], ids=["host", "container"]
)
def test_what_cannot_be_seen_from_here_needs_silence_and_a_word(tmp_path, elsewhere):
    now = time.time()
    sign(tmp_path, pid=2**30, heartbeat=now - 80, **elsewhere)
    refused(tmp_path, "--takeover is possible after 90 s")
    refused(tmp_path, "--takeover is possible after 90 s", takeover=True)
    sign(tmp_path, pid=2**30, heartbeat=now - 100, **elsewhere)
    refused(tmp_path, "cannot be seen from here. If it is, add --takeover")
    with Lock(tmp_path, takeover=True):
        assert read(tmp_path / LOCK).pid == os.getpid()


def test_a_machine_that_was_started_anew(tmp_path):
    now = time.time()
    sign(tmp_path, boot="another", heartbeat=now - 80)
    refused(tmp_path, "--takeover is possible")
    sign(tmp_path, boot="another", heartbeat=now - 100)
    with Lock(tmp_path):
        pass


def test_a_process_killed_before_it_signed_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxlin.train.lock.PATIENCE", 0.1)
    (tmp_path / LOCK).touch()
    with Lock(tmp_path):
        assert read(tmp_path / LOCK).pid == os.getpid()


def test_a_process_is_given_the_time_to_sign(tmp_path):
    (tmp_path / LOCK).touch()
    timer = threading.Timer(0.3, sign, (tmp_path,))
    timer.start()
    with pytest.raises(CheckpointError, match=f"held by process {os.getpid()}"):
        with Lock(tmp_path):
            pass
    timer.join()


@pytest.mark.parametrize(
    "text",
    [
        "junk",
        "[]",
        "{}",
        json.dumps(asdict(this_process(0.0, 1.0)) | {"pid": -1}),
        json.dumps(asdict(this_process(0.0, 1.0)) | {"pid": 2**70}),
        json.dumps(asdict(this_process(0.0, 1.0)) | {"heartbeat": "now"}),
        json.dumps(asdict(this_process(0.0, 1.0)) | {"interval": -1}),
    ],
)
def test_a_file_that_is_no_lock_is_not_overwritten_unasked(tmp_path, text):
    path = tmp_path / LOCK
    path.write_text(text)
    refused(tmp_path, "is no lock of a jaxlin process")
    os.utime(path, (time.time() - 100,) * 2)
    refused(tmp_path, "add --takeover")
    with Lock(tmp_path, takeover=True):
        pass


def test_a_link_to_itself_in_its_place_is_an_error(tmp_path):
    (tmp_path / LOCK).symlink_to(LOCK)
    with pytest.raises(CheckpointError, match="cannot be written"), Lock(tmp_path):
        pass


def test_the_heartbeat_goes_on_by_itself(tmp_path):
    now = [1000.0]
    with Lock(tmp_path, interval=0.02, clock=lambda: now[0]) as lock:
        now[0] = 2000.0
        end = time.monotonic() + 20
        while read(tmp_path / LOCK).heartbeat != 2000.0 and time.monotonic() < end:
            time.sleep(0.01)
        assert read(tmp_path / LOCK).heartbeat == 2000.0
        assert read(tmp_path / LOCK).started == 1000.0
        lock.check()


@pytest.mark.parametrize("taken", [True, False], ids=["taken over", "removed"])
def test_who_was_taken_for_dead_stops_and_leaves_the_lock_of_the_other(tmp_path, taken):
    """It was stopped for longer than its heartbeats: it looks before the next step."""
    now = [1000.0]
    with pytest.raises(CheckpointError, match="taken over by another process"):
        with Lock(tmp_path, clock=lambda: now[0]) as lock:
            (tmp_path / LOCK).unlink()
            if taken:
                sign(tmp_path, host="elsewhere")
            lock.check()  # within its heartbeats nobody else may have it
            now[0] += 61.0
            lock.check()
    assert (tmp_path / LOCK).exists() == taken


def test_a_full_disk_does_not_end_the_run(tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device")

    with Lock(tmp_path) as lock:
        monkeypatch.setattr("jaxlin.train.lock.write_text", full)
        lock.beat()
        lock.check()
    assert list(tmp_path.iterdir()) == []


def test_only_one_of_many_gets_it(tmp_path):
    """A dead writer's lock, and processes that want to replace it at the same moment."""
    run, go, end = tmp_path / "run", tmp_path / "go", tmp_path / "end"
    run.mkdir()
    sign(run, pid=2**30)
    command = [sys.executable, "-c", CONTEST, *map(str, (run, go, end))]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    go.touch()
    said = [child.stdout.readline().strip() for child in children]
    end.touch()
    for child in children:
        assert child.wait() == 0
        child.stdout.close()
    assert sorted(said) == ["held", "refused", "refused", "refused"]


def test_other_processes_of_a_run_do_not_write(tmp_path):
    with Lock(tmp_path / "run", held=False) as lock:
        lock.check()
    assert list(tmp_path.iterdir()) == []
