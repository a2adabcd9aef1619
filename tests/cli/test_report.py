"""`jaxlin report`: where the page goes, refusals, exit codes."""

import subprocess
import sys

import pytest

from jaxlin.cli.main import main
from tests.study.folders import lines, make


@pytest.fixture
def run(tmp_path):
    return make(tmp_path / "a", lines())


def test_the_page_of_one_run_lies_in_it(run, capsys):
    assert main(["report", str(run)]) == 0
    assert f"wrote {run / 'report.html'}" in capsys.readouterr().out
    assert b"jaxlin report" in (run / "report.html").read_bytes()
    assert main(["report", str(run)]) == 0  # its own page it writes again


def test_a_real_run(finished, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["report", str(finished), "--out", str(out)]) == 0
    assert "finished: 3 steps" in out.read_text(encoding="utf-8")


def test_several_runs_need_a_place(run, tmp_path, capsys):
    other = make(tmp_path / "b", lines())
    assert main(["report", str(run), str(other)]) == 2
    assert "--out: give a file to write" in capsys.readouterr().err
    assert main(["report", str(run), str(other), "--out", str(tmp_path / "x.html")]) == 0
    assert "2 runs side by side" in (tmp_path / "x.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("broken", ["nowhere", "."])
def test_a_folder_that_is_no_run(broken, run, tmp_path, capsys):
    out = tmp_path / "x.html"
    assert main(["report", str(run), str(tmp_path / broken), "--out", str(out)]) == 4
    assert "is no run directory" in capsys.readouterr().err
    assert not out.exists()


def test_a_file_of_somebody_else_is_left_alone(run, tmp_path, capsys):
    thesis = tmp_path / "thesis.html"
    thesis.write_text("mine")
    assert main(["report", str(run), "--out", str(thesis)]) == 2
    assert "left as it is" in capsys.readouterr().err and thesis.read_text() == "mine"


def test_neither_jax_nor_a_network_is_needed(run):
    """Imports of jax and connections are made to fail."""
    script = (
        "import socket, sys; sys.modules['jax'] = None\n"
        "def refuse(*_): raise AssertionError('a connection')\n"
        "socket.socket.connect = refuse\n"
        "from jaxlin.cli.main import main\n"
        f"sys.exit(main(['report', {str(run)!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
