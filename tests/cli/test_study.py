"""`jaxlin study report`: where the page and its tables go, refusals, exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from jaxlin.cli.main import main
from tests.study import sweeps

PUBLISHED = Path(__file__).parents[2] / "experiments/hybrid_study/published.json"


@pytest.fixture
def sweep(tmp_path):
    points = sweeps.plan(("mqar",), 1, sweeps.MIXERS[:2])
    return sweeps.make(tmp_path / "s", points, file="points.py")


def test_the_page_lies_in_the_sweep_with_its_tables_beside_it(sweep, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["study", "report", str(sweep)]) == 0
    shown = capsys.readouterr().out
    assert f"wrote {sweep / 'study.html'}" in shown and "published figures: none" in shown
    assert b'content="jaxlin study report"' in (sweep / "study.html").read_bytes()[:1000]
    assert (sweep / "study_tables" / "points.csv").is_file()
    assert (sweep / "study_tables" / "points.tex").is_file()
    assert main(["study", "report", str(sweep)]) == 0  # its own page it writes again


def test_a_place_and_published_figures_of_choice(sweep, capsys, tmp_path):
    out = tmp_path / "page.html"
    words = ["study", "report", str(sweep), "--out", str(out), "--published", str(PUBLISHED)]
    assert main(words) == 0
    assert f"published figures: {PUBLISHED}" in capsys.readouterr().out
    text = out.read_text(encoding="utf-8")
    assert "arXiv 2507.06457v1, Table 5" in text and f"--published {PUBLISHED}" in text
    assert (tmp_path / "page_tables" / "published-recall-by-ratio.csv").is_file()
    assert not (sweep / "study.html").exists()


def test_a_folder_that_is_no_sweep(tmp_path, capsys):
    assert main(["study", "report", str(tmp_path)]) == 4
    assert "is no sweep folder" in capsys.readouterr().err


def test_results_of_other_code(sweep, capsys):
    path = sweep / "results.jsonl"
    path.write_text(path.read_text().replace('"hash": "', '"hash": "0'))
    assert main(["study", "report", str(sweep)]) == 4
    shown = capsys.readouterr().err
    assert "come from other code or another sweep" in shown and shown.count("\n") == 1
    assert not (sweep / "study.html").exists()


def test_a_published_file_that_is_none(sweep, capsys):
    words = ["study", "report", str(sweep), "--published", str(sweep / "sweep.json")]
    assert main(words) == 3
    shown = capsys.readouterr().err
    assert "holds no published figures" in shown and shown.count("\n") == 1


def test_a_file_of_somebody_else_is_left_alone(sweep, tmp_path, capsys):
    thesis = tmp_path / "thesis.html"
    thesis.write_text("mine")
    assert main(["study", "report", str(sweep), "--out", str(thesis)]) == 2
    assert "no page of `jaxlin study report`" in capsys.readouterr().err
    assert thesis.read_text() == "mine" and not (tmp_path / "thesis_tables").exists()


def test_neither_jax_nor_a_network_is_needed(sweep):
    """Imports of jax and connections are made to fail."""
    script = (
        "import socket, sys; sys.modules['jax'] = None\n"
        "def refuse(*_): raise AssertionError('a connection')\n"
        "socket.socket.connect = refuse\n"
        "from jaxlin.cli.main import main\n"
        f"sys.exit(main(['study', 'report', {str(sweep)!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
