"""`jaxlin eval` on a finished run."""

import json

import pytest

from jaxlin.cli.main import main
from jaxlin.train.records import read_metrics
from tests.cli.conftest import LINES

HELD = [line * 3 for line in LINES[50:]]


def evaluated(capsys, *words):
    assert main(["eval", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_all_held_out_bytes_and_words_are_counted(finished, capsys):
    found = evaluated(capsys, finished)
    assert found["step"] == 3 and found["context"] == 16
    assert found["bytes"] == sum(len(text.encode()) for text in HELD)
    assert found["tokens"] == found["bytes"] + len(HELD)  # a separator ends each document
    assert found["words"] == sum(len(text.split()) for text in HELD)
    assert sum(part["tokens"] for part in found["by_position"]) == found["tokens"]
    nats = found["loss"] * found["tokens"]
    assert found["loss_per_word"] == pytest.approx(nats / found["words"])


def test_the_trainer_and_the_command_agree(finished, capsys):
    recorded = read_metrics(finished)
    ours = evaluated(capsys, finished, "--batches", 1)
    theirs = next(record for record in recorded if record["kind"] == "eval")
    assert ours["tokens"] == theirs["tokens"]
    # The same float32 sums on one device and on eight.
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-6)


def test_tables_name_the_denominators(finished, capsys):
    assert main(["eval", str(finished), "--batches", "2"]) == 0
    shown = capsys.readouterr().out
    assert "step 3" in shown
    for row, over in (("per token", "tokens"), ("per byte", "bytes"), ("per word", "words")):
        line = next(line for line in shown.splitlines() if row in line)
        assert line.endswith(f" {over}")
    assert "8-15" in shown


def test_other_data_is_measured_and_remarked_on(finished, capsys, tmp_path):
    (tmp_path / "other.txt").write_text("something else entirely\n" * 3)
    assert main(["eval", str(finished), f"data.eval_paths={tmp_path}/other.txt", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["words"] == 9
    assert "is not what" in shown.err and "seen in training" in shown.err


def test_earlier_steps_can_be_measured(finished, capsys):
    assert evaluated(capsys, finished, "--step", 2, "--batches", 1)["step"] == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--batches", "0"], 2, "--batches: 0"),
        (["model.width=32"], 2, "model.width: belongs to the trained model"),
        (["data.tokenizer=nothing.json"], 3, "nothing.json"),
        (["--step", "1"], 4, "no checkpoint of step 1"),
        (["mesh.fsdp=3"], 2, "mesh"),
    ],
)
def test_mistakes(finished, capsys, words, code, message):
    assert main(["eval", str(finished), *words]) == code
    assert message in capsys.readouterr().err


def test_a_folder_that_is_no_run(capsys, tmp_path):
    assert main(["eval", str(tmp_path)]) == 4
    assert "is no run directory" in capsys.readouterr().err
