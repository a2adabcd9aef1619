"""The launcher of local processes, with children that only sleep and end."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.launch import local

SLEEP = "import time; time.sleep(60)"
# Children that are told to stop do so, as a run does.
LISTEN = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
    "print('ready', flush=True)\n"
    "time.sleep(60)"
)


def python(*scripts):
    return [[sys.executable, "-S", "-c", script] for script in scripts]


def run(*scripts, grace=0.2, leaving=0.2):
    grace, leaving = float(grace), float(leaving)
    said = []
    begin = time.monotonic()
    code = local.run(python(*scripts), dict(os.environ), said.append, grace, leaving)
    assert time.monotonic() - begin < 30
    return code, "\n".join(said)


def test_all_well_is_zero():
    assert run("", "", "") == (0, "")


def test_lines_have_the_number_of_their_process(capfd):
    run("print('a\\nb')", "import sys; print('é' * 3, file=sys.stderr)")
    out, err = capfd.readouterr()
    assert out == "[0] a\n[0] b\n" and err == "[1] ééé\n"


def test_one_that_fails_ends_the_others():
    code, said = run(SLEEP, "raise SystemExit(4)", SLEEP)
    assert code == 4
    assert "process 1 ended with exit code 4; the others have 0 s to end" in said
    assert "process 0, 2 did not end and is killed" in said


def test_one_that_is_killed_ends_the_others():
    code, said = run(SLEEP, "import os; os.kill(os.getpid(), 9)")
    assert code == 128 + 9 and "process 1 was ended by SIGKILL" in said


def test_those_that_end_by_themselves_in_time_are_not_killed():
    code, said = run("import time; time.sleep(0.5)", "raise SystemExit(3)", grace=20)
    assert code == 3 and "is killed" not in said


def test_one_that_is_done_does_not_wait_for_ever():
    code, said = run("", SLEEP)
    assert "process 1 did not end and is killed" in said and code == 128 + 9


def test_a_signal_goes_to_all(capfd):
    before = signal.getsignal(signal.SIGTERM)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    assert run(LISTEN, LISTEN, leaving=20)[0] == 75
    assert signal.getsignal(signal.SIGTERM) == before
    capfd.readouterr()


def test_a_second_signal_kills():
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    timers = [threading.Timer(s, os.kill, (os.getpid(), signal.SIGINT)) for s in (1.0, 1.5)]
    for timer in timers:
        timer.start()
    assert run(deaf, deaf, grace=20)[0] == 128 + 9


@pytest.mark.parametrize(
    "codes, told, code",
    [
        ([0, 0], False, 0),
        ([0, 75], False, 75),
        ([75, -9], False, 137),
        ([-9, 4], False, 4),
        ([1, 2], False, 2),
        ([-15, 75], True, 75),
        ([-15, 75], False, 143),
        ([], False, 0),
    ],
)
def test_the_worst_code(codes, told, code):
    assert local.worst(codes, told) == code


def test_a_free_port_is_free():
    local.refuse_taken(local.free_port())


def test_a_taken_port_is_refused():
    with socket.socket() as taken:
        taken.bind((local.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"--port: {port} cannot be used \(Address already"):
            local.refuse_taken(port)
    with pytest.raises(ConfigError, match="--port: 70000 cannot be used"):
        local.refuse_taken(70000)


def test_children_end_with_their_parent(tmp_path):
    """However the parent ends: here by SIGKILL."""
    mark = tmp_path / "pid"
    child = (
        "import os, sys, time\n"
        "import jaxlin.cli._child as child\n"
        f"child.main = lambda words: (open({str(mark)!r}, 'w').write(str(os.getpid())), "
        "time.sleep(60))\n"
        "child.run(os.getppid(), [])"
    )
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])",
        ]
    )
    try:
        wait_for(lambda: mark.exists() and mark.read_text())
    finally:
        parent.kill()
        parent.wait()
    pid = int(mark.read_text())
    wait_for(lambda: _ended(pid))


def wait_for(true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def _ended(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True
