"""`jaxlin compile`: the report on a terminal and as JSON, and what it says of bad input."""

import json

import pytest

from jaxlin.cli.main import main
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


@aot
def test_a_file_that_cannot_be_written(capsys, tmp_path):
    words = [*TINY, "--topology", "v5e:2x2", "--json", str(tmp_path)]
    assert main(words) == 2
    assert "cannot be written" in capsys.readouterr().err
