"""`jaxlin generate` on a finished run."""

import io
import sys

import pytest

from jaxlin.cli.main import main


class Stdin:
    """Standard input with these bytes."""

    def __init__(self, raw):
        self.buffer = io.BytesIO(raw)

    def isatty(self):
        return False


def generated(capsys, *words):
    assert main(["generate", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_a_prompt_is_continued_the_same_way_each_time(finished, capsys):
    words = (finished, "--prompt", "line ", "--tokens", 12, "--seed", 4)
    shown = generated(capsys, *words)
    assert shown.startswith("line ") and len(shown) > len("line \n")
    assert generated(capsys, *words) == shown
    assert generated(capsys, *words[:-1], 5) != shown


def test_standard_input_is_the_prompt_without_one(finished, capsys, monkeypatch):
    settings = ("--tokens", 6, "--temperature", 0)
    told = generated(capsys, finished, "--prompt", "été", *settings)
    for words in ((), ("--prompt", "-")):
        monkeypatch.setattr(sys, "stdin", Stdin("été".encode()))
        assert generated(capsys, finished, *words, *settings) == told


def test_several_prompts_are_a_batch(finished, capsys):
    settings = ("--tokens", 6, "--temperature", 0)
    shown = generated(capsys, finished, "--prompt", "a", "--prompt", "long prompt", *settings)
    for i, prompt in enumerate(("a", "long prompt"), 1):
        alone = generated(capsys, finished, "--prompt", prompt, *settings)
        assert f"--- {i} of 2 ---\n{alone}" in shown


def test_a_stop_string_is_not_shown(finished, capsys):
    settings = ("--prompt", "line ", "--tokens", 12, "--seed", 4)
    whole = generated(capsys, finished, *settings).removesuffix("\n")
    stop = whole[7:9]
    cut = whole[: whole.index(stop, len("line "))]
    assert generated(capsys, finished, *settings, "--stop", stop) == cut + "\n"


def test_text_comes_piece_by_piece(finished, monkeypatch):
    written = []
    monkeypatch.setattr(sys.stdout, "write", lambda text: written.append(text))
    assert main(["generate", str(finished), "--prompt", "l", "--tokens", "8", "--seed", "1"]) == 0
    assert written[0] == "l" and len([text for text in written if text]) > 4


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--temperature", "-1"], 2, "temperature: -1.0"),
        (["--top-p", "0"], 2, "top_p: 0.0"),
        (["--top-k", "0"], 2, "top_k: 0"),
        (["--tokens", "0"], 2, "--tokens: 0"),
        (["--stop", ""], 2, "stop: an empty string"),
        (["batch=3"], 2, "batch: belongs to the trained model"),
    ],
)
def test_mistakes(finished, capsys, words, code, message):
    assert main(["generate", str(finished), "--prompt", "x", *words]) == code
    assert message in capsys.readouterr().err


def test_input_that_is_no_text(finished, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Stdin(b"ab\xff"))
    assert main(["generate", str(finished)]) == 3
    assert "standard input: byte 2 is not UTF-8" in capsys.readouterr().err
