"""Ids, bytes and text agree; bad tokenizer files are refused by name."""

import json

import numpy as np
import pytest

from jaxlin.config.errors import ConfigError, DataError
from jaxlin.data.tokenizer import decode, load_tokenizer, model_vocab
from jaxlin.data.train_bpe import train_bpe
from tests.data.helpers import TEXTS, byte_level_tokenizer, documents


@pytest.fixture(params=["bytes", "byte-level"])
def tokenizer(request, tmp_path):
    if request.param == "bytes":
        return load_tokenizer("bytes")
    return load_tokenizer(str(byte_level_tokenizer(tmp_path / "tok.json")))


@pytest.mark.parametrize("text", [*TEXTS, "the thin thing <|endoftext|> <s>", "\0\x7f\u00ad\u0143"])
def test_round_trip_and_bytes_of_ids(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.bos not in ids
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert tokenizer.encode(text.encode()).tolist() == ids.tolist()
    for i in ids.tolist():
        assert tokenizer.token_bytes[i] == len(tokenizer.decode_bytes([i]))
    assert tokenizer.token_bytes[tokenizer.bos] == 0
    assert len(tokenizer.token_bytes) == tokenizer.size


def test_a_merge_stands_for_its_bytes(tmp_path):
    tokenizer = load_tokenizer(str(byte_level_tokenizer(tmp_path / "t.json")))
    ids = tokenizer.encode("that")
    assert tokenizer.token_bytes[ids].tolist() == [2, 1, 1]
    assert tokenizer.size == 258 and tokenizer.bos == 257


@pytest.mark.parametrize("text", TEXTS)
def test_streaming_gives_whole_characters(tokenizer, text):
    stream = tokenizer.decode_stream()
    pieces = [stream.push(int(i)) for i in tokenizer.encode(text)]
    assert "".join(pieces) + stream.flush() == text
    assert all("\ufffd" not in piece for piece in pieces)


def test_an_unfinished_character_is_flushed_as_replacement(tokenizer):
    stream = tokenizer.decode_stream()
    ids = tokenizer.encode("é")
    assert stream.push(int(ids[0])) == "" and stream.flush() == "\ufffd"
    assert decode(tokenizer, ids[:1]) == "\ufffd"


def test_specials_and_padding_ids_decode_to_nothing(tokenizer):
    beyond = tokenizer.size + 5
    stream = tokenizer.decode_stream()
    assert tokenizer.decode_bytes([tokenizer.bos, beyond]) == b""
    assert stream.push(tokenizer.bos) + stream.push(beyond) == ""


def test_sentencepiece_spelling_is_counted_though_not_exact(tmp_path):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocab = {"<unk>": 0, "<s>": 1, "<0x0A>": 2, "▁a": 3, "b": 4, "▁": 5, "a": 6}
    made = Tokenizer(models.BPE(vocab, [("▁", "a")], unk_token="<unk>", byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    made.add_special_tokens(["<unk>", "<s>"])
    made.save(str(tmp_path / "sp.json"))
    tokenizer = load_tokenizer(str(tmp_path / "sp.json"))
    ids = tokenizer.encode("a b")
    assert not tokenizer.exact_bytes
    assert ids.tolist() == [3, 5, 4]
    assert tokenizer.token_bytes.tolist() == [0, 0, 1, 2, 1, 1, 1]
    assert tokenizer.decode_bytes(ids) == b"a b"
    stream = tokenizer.decode_stream()
    assert "".join(stream.push(int(i)) for i in ids) + stream.flush() == "a b"


def test_truncation_and_padding_of_the_file_are_switched_off(tmp_path):
    path = byte_level_tokenizer(tmp_path / "t.json")
    spec = json.loads(path.read_text())
    spec["truncation"] = {
        "direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0
    }  # fmt: skip
    path.write_text(json.dumps(spec))
    assert len(load_tokenizer(str(path)).encode("abcdef")) == 6


def test_model_vocab_is_padded_and_checked():
    tokenizer = load_tokenizer("bytes")
    assert model_vocab(None, tokenizer) == 384
    assert model_vocab(257, tokenizer) == 257
    with pytest.raises(ConfigError, match="model.vocab is 256.*at least 257"):
        model_vocab(256, tokenizer)


def test_trained_tokenizers_are_reproducible_and_exact(tmp_path):
    docs = documents(TEXTS * 20)
    sizes = {train_bpe(docs, 300, tmp_path / name / "t.json") for name in "ab"}
    assert len(sizes) == 1
    assert (tmp_path / "a/t.json").read_bytes() == (tmp_path / "b/t.json").read_bytes()
    tokenizer = load_tokenizer(str(tmp_path / "a/t.json"))
    assert tokenizer.size == sizes.pop() and tokenizer.exact_bytes
    text = "".join(TEXTS)
    assert tokenizer.decode_bytes(tokenizer.encode(text)) == text.encode()
    assert len(tokenizer.encode(text)) < len(text.encode())
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["t.json"]


def test_training_refuses_small_vocabularies_and_existing_files(tmp_path):
    with pytest.raises(ConfigError, match="--vocab is 256"):
        train_bpe(documents(TEXTS), 256, tmp_path / "t.json")
    (tmp_path / "t.json").write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        train_bpe(documents(TEXTS), 300, tmp_path / "t.json")
    assert (tmp_path / "t.json").read_text() == "mine"


def break_json(path):
    path.write_text(path.read_text()[:-40])


def not_utf8(path):
    path.write_bytes(b"\xff\xfe{}")


def no_model(path):
    path.write_text('{"model": 3}')


def a_list(path):
    path.write_text("[1]")


def deep(path):
    path.write_text("[" * 100_000)


def unknown_model(path):
    spec = json.loads(path.read_text())
    spec["model"]["type"] = "Nonsense"
    path.write_text(json.dumps(spec))


def huge_id(path):
    spec = json.loads(path.read_text())
    spec["model"]["vocab"]["far"] = 2**31
    path.write_text(json.dumps(spec))


def merge_of_strangers(path):
    spec = json.loads(path.read_text())
    spec["model"]["merges"] = [["nope", "nada"]]
    path.write_text(json.dumps(spec))


@pytest.mark.parametrize(
    "spoil",
    [break_json, not_utf8, no_model, a_list, deep, unknown_model, huge_id, merge_of_strangers],
)
def test_malformed_files_are_refused_by_name(tmp_path, spoil):
    path = byte_level_tokenizer(tmp_path / "tok.json")
    spoil(path)
    with pytest.raises(DataError, match=r"tok\.json: not a tokenizer\.json"):
        load_tokenizer(str(path))


def test_a_missing_separator_lists_what_was_looked_for(tmp_path):
    path = byte_level_tokenizer(tmp_path / "tok.json", special="<odd>")
    with pytest.raises(DataError, match=r"tok\.json: no token to separate documents; looked for "):
        load_tokenizer(str(path))


@pytest.mark.parametrize("name", ["missing.json", "byte", ""])
def test_a_missing_file_is_named(name):
    with pytest.raises(DataError, match="neither 'bytes' nor a tokenizer.json"):
        load_tokenizer(name)


def test_a_folder_is_answered_with_the_file_in_it(tmp_path):
    with pytest.raises(DataError, match=r"try .*tokenizer\.json"):
        load_tokenizer(str(tmp_path))


def test_ids_are_small_integers(tokenizer):
    assert tokenizer.encode("abc").dtype == np.uint16
