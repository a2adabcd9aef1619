import numpy as np
import pytest

from jaxlin.data.tokenizer import ByteTokenizer
from jaxlin.evals import generation
from jaxlin.evals.generation import generate
from jaxlin.evals.settings import Sampling, Stop
from tests.evals.tiny import tiny

TOKENIZER = ByteTokenizer()


def scripted(monkeypatch, *rows):
    """Puts fixed continuations in the place of the model's."""
    seen = []

    def decode(model, variables, prompts, *, max_new, **settings):
        seen.append(settings)
        for column in list(zip(*rows, strict=True))[:max_new]:
            yield np.array(column, np.int32)

    monkeypatch.setattr(generation, "decode", decode)
    return seen


def run(rows, n, **settings):
    prompts = [[256]] * len(rows)
    return list(generate(*tiny(), prompts, tokenizer=TOKENIZER, max_new=n, **settings))


def test_rows_end_on_their_own_and_take_turns(monkeypatch):
    rows = [[*b"ab.cd"], [*b"xy", 256, *b"zz"]]
    scripted(monkeypatch, *rows)
    pieces = run(rows, 4, stop=Stop(ids=(256,), strings=(".",)))
    assert [(p.row, p.text, p.end) for p in pieces] == [
        (0, "a", None),
        (1, "x", None),
        (0, "b", None),
        (1, "y", None),
        (0, "", "stop"),
        (1, "", "stop"),
    ]


def test_the_length_ends_a_row_with_what_was_held_back(monkeypatch):
    rows = [[*b"a", *"€".encode()]]
    scripted(monkeypatch, *rows)
    pieces = run(rows, 3)
    assert "".join(p.text for p in pieces) == "a\ufffd"
    assert [p.end for p in pieces] == [None, None, "length"]


def test_decoding_stops_when_every_row_has_ended(monkeypatch):
    taken = []

    def endless(*args, **kwargs):
        while True:
            taken.append(1)
            yield np.array([256], np.int32)

    monkeypatch.setattr(generation, "decode", endless)
    assert [p.end for p in run([[]], 1000)] == ["stop"]
    assert len(taken) == 1


def test_ids_beyond_the_tokenizer_are_out_of_reach(monkeypatch):
    rows = [[*b"a"]]
    seen = scripted(monkeypatch, *rows)
    run(rows, 1)
    assert seen[0]["limit"] == 257


def test_the_separator_ends_a_text_unless_stops_say_otherwise(monkeypatch):
    rows = [[*b"a", 256, *b"b"]]
    scripted(monkeypatch, *rows)
    assert "".join(p.text for p in run(rows, 3)) == "a"
    assert "".join(p.text for p in run(rows, 3, stop=Stop())) == "ab"


@pytest.mark.parametrize("seed", [0, 1])
def test_a_model_speaks_and_repeats_itself_by_seed(seed):
    prompts = [[256, *b"def "], [256]]

    def speak():
        return list(
            generate(
                *tiny(),
                prompts,
                tokenizer=TOKENIZER,
                max_new=6,
                sampling=Sampling(seed=seed),
                stop=Stop(),
            )
        )

    pieces = speak()
    assert pieces == speak()
    assert [p.row for p in pieces] == [0, 1] * 6
    assert max(p.token for p in pieces) < 257
