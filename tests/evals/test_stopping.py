import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.data.tokenizer import ByteTokenizer
from jaxlin.evals.settings import Stop
from jaxlin.evals.stopping import RowText


def run(tokens: bytes | list[int], *strings: str, ids: tuple[int, ...] = ()) -> list[str]:
    """The pieces that come out, then 'STOP' or, after a flush, the rest."""
    row, pieces = RowText(ByteTokenizer().decode_stream(), Stop(ids=ids, strings=strings)), []
    for token in tokens:
        text, ended = row.push(token)
        pieces.append(text)
        if ended:
            return [*pieces, "STOP"]
    text, ended = row.flush()
    return [*pieces, text, *(["STOP"] if ended else [])]


def test_text_comes_at_once_without_stops():
    assert run(b"abc") == ["a", "b", "c", ""]


def test_a_character_of_many_bytes_comes_whole():
    assert run("é€".encode()) == ["", "é", "", "", "€", ""]


def test_a_broken_character_is_marked_at_the_end():
    assert run("é".encode()[:1]) == ["", "\ufffd"]


def test_a_stop_string_over_many_tokens_leaves_no_trace():
    assert run(b"ab\n\ncd", "\n\n") == ["a", "b", "", "", "STOP"]


def test_what_turns_out_to_be_no_stop_string_comes_late():
    assert run(b"xENx", "END") == ["x", "", "", "ENx", ""]


def test_an_overlapping_start_is_not_lost():
    assert "".join(run(b"aabaaab..", "aaab")) == "aabSTOP"


def test_held_text_comes_at_the_end():
    assert run(b"xEN", "END") == ["x", "", "", "EN"]


def test_the_earliest_of_several_strings_wins():
    assert "".join(run(b"one,two.", ".", ",")) == "oneSTOP"


def test_a_stop_id_ends_with_what_was_held_back():
    assert run([*b"xE", 256, *b"y"], "END", ids=(256,)) == ["x", "", "E", "STOP"]


def test_an_empty_stop_string_is_refused():
    with pytest.raises(ConfigError, match="stop"):
        Stop(strings=("",))
