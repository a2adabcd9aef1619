"""`jaxlin data` as a user types it: from files to a batch."""

import json
import re
import subprocess
import sys

import pytest

from jaxlin.cli.main import main
from tests.data.helpers import TEXTS, write_jsonl, write_texts


def test_from_files_to_a_batch(tmp_path, capsys):
    pattern = write_texts(tmp_path / "corpus", TEXTS * 30)
    tok, packed = str(tmp_path / "tok.json"), str(tmp_path / "packed")
    assert main(["data", "tokenizer", "--vocab", "290", "--out", tok, pattern]) == 0
    assert "tok.json: 290 tokens; use it with  data.tokenizer=" in capsys.readouterr().out
    assert main(["data", "pack", "--tokenizer", tok, "--out", packed, pattern]) == 0
    index = json.loads((tmp_path / "packed" / "index.json").read_text())
    assert index["documents"] == 120 and index["vocab"] == 290
    line = f"120 documents, {index['tokens']} tokens, {index['text_bytes'] / index['tokens']:.2f} "
    assert line in capsys.readouterr().out
    words = ["data=packed", f"data.path={packed}", "context=32", "batch=4"]
    assert main(["data", "inspect", "quickstart", *words, "--rows", "1"]) == 0
    shown = capsys.readouterr().out
    assert "tokens       int32 [4, 32]" in shown
    assert "128 of 128 targets have weight 1" in shown
    assert "row 0\n" in shown and "row 1\n" not in shown and "starts here: '" in shown


def test_packing_shows_signs_of_life_where_there_is_no_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("jaxlin.cli.data.QUIET", 0.0)
    pattern = write_texts(tmp_path / "corpus", TEXTS)
    assert main(["data", "pack", "--out", str(tmp_path / "packed"), pattern]) == 0
    shown = capsys.readouterr().err.splitlines()
    assert shown and all(re.fullmatch(r"\d+ documents  \d+ tokens  .* MB/s", s) for s in shown)


def test_inspecting_the_held_out_batch_shows_its_padding(tmp_path, capsys):
    path = write_jsonl(tmp_path / "a.jsonl", ["abcdefghij"], field="body")
    words = ["data=text", f"data.paths={path}", "data.field=body", "data.held_out=0.3"]
    size = ["context=8", "batch=2", "--held-out"]
    assert main(["data", "inspect", "quickstart", *words, *size]) == 0
    shown = capsys.readouterr().out
    # Three bytes and the closing separator are predicted.
    assert "4 of 16 targets have weight 1; they stand for 3 bytes" in shown
    assert "segment 1  [0:4]  positions 0..3  starts here: 'hij'" in shown
    assert main(["data", "inspect", "quickstart", *words, *size, "--step", "1"]) == 3


@pytest.mark.parametrize("what", ["tokenizer", "pack"])
def test_mistakes_end_with_code_3_and_leave_nothing(tmp_path, capsys, what):
    out = str(tmp_path / "out")
    (tmp_path / "bad.txt").write_bytes(b"\xff")
    for files in (["nowhere/*.txt"], [str(tmp_path / "bad.txt")]):
        assert main(["data", what, "--out", out, *files]) == 3
        error = capsys.readouterr().err
        assert error.startswith("jaxlin: error: ") and error.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["bad.txt"]


def test_small_vocabularies_and_missing_words_are_config_errors(tmp_path, capsys):
    pattern = write_texts(tmp_path / "corpus", TEXTS)
    out = str(tmp_path / "t.json")
    assert main(["data", "tokenizer", "--vocab", "10", "--out", out, pattern]) == 2
    assert main(["data"]) == 2
    assert main(["data", "inspect"]) == 2
    assert main(["data", "inspect", "quickstart", "--step", "-1"]) == 2
    assert "--step: -1 is below 0" in capsys.readouterr().err


def test_the_command_is_described_without_heavy_imports():
    code = (
        "import sys, jaxlin.cli.data as d; from jaxlin.cli.main import Parser; d.add(Parser());"
        "print([m for m in ('jax', 'grain', 'numpy', 'tokenizers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_inspect_shows_the_questions_of_a_task(capsys):
    words = ["tiny", "data=task", "data.task=mqar(pairs=2, vocab=8)", "--rows", "1"]
    assert main(["data", "inspect", *words]) == 0
    shown = capsys.readouterr().out
    assert "8 of 128 targets have weight 1; 4 documents" in shown
    assert "starts here: 'k" in shown and "  answers  " in shown and ": v" in shown
