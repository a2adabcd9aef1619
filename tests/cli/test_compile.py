"""`jaxlin compile`: the report on a terminal and as JSON, and what it says of bad input."""

import json
from types import SimpleNamespace

import pytest

from jaxlin.cli.main import main
from kernels_pallas.static import CompileError
from tests.kernels_pallas.aot import aot

TINY = ["compile", "tiny", "batch=8", "model.layers=1", "model.pattern=pure"]


@aot
def test_the_report_and_the_file(capsys, tmp_path):
    file = tmp_path / "report.json"
    assert main([*TINY, "--topology", "v5e:2x2", "mesh.fsdp=2", "--json", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "v5e:2x2, 4 devices (data 2, fsdp 2)" in out
    assert "gated_deltanet: mesh.seq=1: no sequence is split" in out
    assert "collectives of a step" in out and "Fits: 0.0 of 16 GiB" in out
    assert "lowering for v5e:2x2: 4 devices ..." in err and "compiling ..." in err
    report = json.loads(file.read_text())
    assert report["mesh"] == {"data": 2, "fsdp": 2, "seq": 1, "tensor": 1}
    assert report["fits"] and report["memory"]["peak"] > report["memory"]["parameters"]
    assert {row["axis"] for row in report["collectives"]} <= {"data", "fsdp", "data+fsdp"}
    assert report["verdict"] in out
    assert report["prediction"]["step"] >= report["prediction"]["busy"]


@pytest.mark.parametrize(
    "words, said",
    [
        (["--topology", "v5e:3x3"], "v5e has no slice 3x3; did you mean v5e:4x4?"),
        ([], "--topology"),
    ],
)
def test_bad_input_is_one_paragraph(capsys, words, said):
    assert main([*TINY, *words]) == 2
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err


@aot
def test_a_mesh_that_cannot_be_formed(capsys):
    assert main([*TINY, "--topology", "v5p:8x8x8", "mesh.fsdp=16"]) == 2
    assert "every axis is a product of dimensions of its own" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "missing/report.json"])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(capsys, tmp_path, name):
    words = [*TINY, "--topology", "v5e:2x2", "--json", str(tmp_path / name)]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "cannot be written" in err and "nothing was compiled" in err and "lowering" not in err


POINTS = """
from jaxlin.config.points import Point, product, seeds

def points():
    words = ("batch=8", "model.layers=1", "model.pattern=pure")
    odd = Point("odd", "tiny", (*words, "mesh.tensor=4"))
    return product("tiny", *words, seed=seeds(2)) + [odd]
"""


@pytest.fixture
def refusing(monkeypatch):
    """A compiler that refuses everything."""

    def refuse(*args, **kwargs):
        raise CompileError("Mosaic failed to compile: no such\n  layout")

    monkeypatch.setattr("jaxlin.train.ahead.compile_step", refuse)
    monkeypatch.setattr("jaxlin.parallel.topology.named", lambda name: SimpleNamespace(name=name))


def test_a_refusal_of_the_compiler_is_one_paragraph(capsys, refusing):
    assert main([*TINY, "--topology", "v5e:2x2"]) == 6
    err = capsys.readouterr().err
    assert err.startswith("jaxlin: error: v5e:2x2: the compiler refused the step of tiny: Mosaic")
    assert "Traceback" not in err


def test_a_refusal_is_a_row_of_the_table_and_the_others_go_on(capsys, refusing, tmp_path):
    file, report = tmp_path / "points.py", tmp_path / "report.json"
    file.write_text(POINTS)
    words = ["compile", "--points", str(file), "--topology", "v5e:2x2", "--json", str(report)]
    assert main(words) == 6
    out, err = capsys.readouterr()
    assert "v5e:2x2, 2 programs" in out and "seed0: v5e:2x2: the compiler refused" in out
    assert "[1/2] seed0" in err and "[2/2] odd" in err  # of two seeds one is compiled
    rows = json.loads(report.read_text())["points"]
    assert [row["status"] for row in rows] == ["refused", "refused"]


def test_only_some_points(capsys, refusing, tmp_path):
    (tmp_path / "points.py").write_text(POINTS)
    words = ["--points", str(tmp_path / "points.py"), "--topology", "v5e:2x2"]
    assert main(["compile", *words, "--only", "od*"]) == 6
    assert "[1/1] odd" in capsys.readouterr().err
    assert main(["compile", *words, "--only", "even"]) == 2
    assert "'even' matches no point" in capsys.readouterr().err
    assert main([*TINY, "--topology", "v5e:2x2", "--only", "odd"]) == 2
    assert "--only: goes with --points" in capsys.readouterr().err


def test_points_have_presets_of_their_own(capsys, tmp_path):
    (tmp_path / "points.py").write_text(POINTS)
    words = ["compile", "tiny", "--points", str(tmp_path / "points.py"), "--topology", "v5e:2x2"]
    assert main(words) == 2
    assert "the file's points have presets of their own; found tiny" in capsys.readouterr().err


@pytest.mark.slow
@aot
def test_every_point_has_a_row(capsys, tmp_path):
    """One fits, one has a mesh that its heads do not take."""
    file, report = tmp_path / "points.py", tmp_path / "report.json"
    file.write_text(POINTS)
    words = ["compile", "--points", str(file), "--topology", "v5e:2x2", "--json", str(report)]
    assert main(words) == 6
    fits, odd = json.loads(report.read_text())["points"]
    assert (fits["name"], fits["status"]) == ("seed0", "fits") and fits["forecast"]["fits"]
    assert odd["status"] == "refused" and "mesh.tensor: 4 does not divide" in odd["reason"]
    assert "odd: mesh.tensor: 4" in capsys.readouterr().out
