"""Own files become documents; every bad file is refused by name, with what to do."""

import gzip
import json

import numpy as np
import pytest

from jaxlin.config.errors import DataError
from jaxlin.config.sources.text import Packed, Text
from jaxlin.data import corpus, files
from jaxlin.data.document import Document, first_bytes
from jaxlin.data.pack import pack
from jaxlin.data.text import read
from jaxlin.data.tokenizer import load_tokenizer
from tests.data.helpers import TEXTS, byte_level_tokenizer, documents, write_jsonl, write_texts


def load(*paths, **fields) -> corpus.Corpus:
    return corpus.load(Text(paths=tuple(map(str, paths)), **fields))


def tokens(stream) -> list[int]:
    return stream.read(0, len(stream)).tolist()


def texts_of(path) -> list[str]:
    return [d.text.decode() for d in read(files.expand([str(path)], "f"))]


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
@pytest.mark.parametrize("many", [False, True])
def test_text_jsonl_and_packed_give_the_same_streams(tmp_path, kind, many):
    texts = [f"document {i}: {TEXTS[i % 3]}" for i in range(300)] if many else TEXTS
    tokenizer = "bytes" if kind == "bytes" else str(byte_level_tokenizer(tmp_path / "t.json"))
    how = {"tokenizer": tokenizer, "held_out": 0.2}
    plain = load(write_texts(tmp_path / "texts", texts), **how)
    jsonl = write_jsonl(tmp_path / "a.jsonl", texts)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    pack(documents(texts), load_tokenizer(tokenizer), tmp_path / "packed")
    packed = corpus.load(Packed(path=str(tmp_path / "packed"), held_out=0.2))
    for other in (load(jsonl, **how), load(tmp_path / "b.jsonl.gz", **how), packed):
        assert tokens(other.train) == tokens(plain.train)
        assert tokens(other.held_out) == tokens(plain.held_out)
        assert other.tokenizer.digest == plain.tokenizer.digest
    assert 0.1 < len(plain.held_out) / len(plain.train) < 0.4


def test_files_are_read_in_order_each_once(tmp_path):
    pattern = write_texts(tmp_path / "d", ["a", "b", "c"])
    last = str(tmp_path / "d" / "002.txt")
    got = [d.text for d in read(files.expand([last, pattern, last], "f"))]
    assert got == [b"c", b"a", b"b"]


def test_plain_text_is_kept_byte_for_byte(tmp_path):
    text = " \r\n leading and trailing \n\n"
    (tmp_path / "a.md").write_bytes(text.encode())
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode()))
    assert texts_of(tmp_path / "a.md") == texts_of(tmp_path / "b.txt.gz") == [text]


def test_few_documents_hold_out_the_tail_of_each(tmp_path):
    c = load(write_texts(tmp_path / "d", ["abcdefghij", "ABCDEFGHIJ"]), held_out=0.2)
    assert list(c.train_text()) == [b"abcdefgh", b"ABCDEFGH"]
    assert list(c.held_out_text()) == [b"ij", b"IJ"]


def test_many_documents_are_held_out_by_content(tmp_path):
    texts = [f"text number {i}" for i in range(400)]
    a = load(write_jsonl(tmp_path / "a.jsonl", texts), held_out=0.25)
    shuffled = [texts[i] for i in np.random.default_rng(0).permutation(400)] + texts[:50]
    b = load(write_jsonl(tmp_path / "b.jsonl", shuffled), held_out=0.25)
    assert set(a.held_out_text()) == set(b.held_out_text())
    assert not set(b.train_text()) & set(b.held_out_text())
    # 100 expected, standard deviation 8.7
    assert 60 < len(a.held_out.spans) < 140


def test_files_of_their_own_are_held_out(tmp_path):
    train, held = write_texts(tmp_path / "a", ["train"]), write_texts(tmp_path / "b", ["eval"])
    c = load(train, eval_paths=(held,))
    assert list(c.train_text()) == [b"train"] and list(c.held_out_text()) == [b"eval"]
    with pytest.raises(DataError, match=r"000\.txt is in data\.paths and in data\.eval_paths"):
        load(train, eval_paths=(train,))


def test_max_bytes_cuts_at_a_character(tmp_path):
    c = load(write_texts(tmp_path / "d", ["abc", "xéz"]), max_bytes=5, held_out=0.0)
    assert list(c.train_text()) == [b"abc", b"x"]
    many = [Document("f", "f", text.encode()) for text in ["日本", "語"]]
    assert [d.text.decode() for d in first_bytes(many, 7)] == ["日本"]
    assert [d.text.decode() for d in first_bytes(many, 9)] == ["日本", "語"]


def write(path, content):
    path.write_bytes(content)
    return path


def record(**fields) -> bytes:
    return json.dumps(fields).encode() + b"\n"


GOOD = record(text="fine")
CASES = {
    "empty.txt": (b"", r"empty\.txt: holds no text; remove it"),
    "empty.jsonl": (b"\n\n", r"empty\.jsonl: holds no text"),
    "latin.txt": (b"caf\xe9 ", r"latin\.txt: not UTF-8: byte 0xe9 at offset 3; convert"),
    "latin.jsonl": (GOOD + b'{"text": "\xe9"}', r"latin\.jsonl:2: not UTF-8: byte 0xe9 at offset"),
    "cut.jsonl": (GOOD + b'{"text": "a', r"cut\.jsonl:2: not a line of JSON"),
    "deep.jsonl": (b"[" * 100_000, r"deep\.jsonl:1: not a line of JSON"),
    "list.jsonl": (b"[1]\n", r"list\.jsonl:1: a JSON list, not an object with 'text'"),
    "field.jsonl": (record(txt="a"), r"field\.jsonl:1: no field 'text'; did you mean 'txt'"),
    "kind.jsonl": (record(text=3), r"kind\.jsonl:1: field 'text' is a int, not a string"),
    "half.jsonl": (b'{"text": "a\\ud800"}', r"half\.jsonl:1: character 1 is half of a surrogate"),
    "plain.txt.gz": (b"not gzip", r"plain\.txt\.gz: cannot be read"),
    "cut.txt.gz": (gzip.compress(b"abc" * 99)[:-9], r"cut\.txt\.gz: cannot be read"),
    "crc.txt.gz": (gzip.compress(b"abc")[:-8] + b"\0" * 8, r"crc\.txt\.gz: cannot be read"),
    "weights.pkl": (b"cos\nsystem\n", r"weights\.pkl: \.pkl is binary data, which is not read"),
    "array.npy.gz": (b"", r"array\.npy\.gz: \.npy is binary data"),
    "text.txt.zst": (b"", r"text\.txt\.zst: \.zst is an archive"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_files_are_refused(tmp_path, name):
    content, message = CASES[name]
    with pytest.raises(DataError, match=message):
        load(write(tmp_path / name, content))


def test_bad_lists_of_files_are_refused(tmp_path):
    for paths, message in [
        ((), r"data\.paths names no file"),
        (("gone.txt",), r"data\.paths: 'gone\.txt' does not exist"),
        ((f"{tmp_path}/*.none",), r"\*\.none' matches no file \(searched from"),
        ((str(tmp_path),), r"is a folder; name its files"),
    ]:
        with pytest.raises(DataError, match=message):
            load(*paths)


def test_empty_files_of_a_pattern_are_passed_over_unless_all_are(tmp_path):
    assert list(load(write_texts(tmp_path / "a", ["", "x", ""]), held_out=0.0).train_text()) == [
        b"x"
    ]
    with pytest.raises(DataError, match="no text in it; every document is empty"):
        load(write_texts(tmp_path / "b", ["", ""]))


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.txt", b"x")

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(DataError, match=r"a\.txt: cannot be read \(Permission denied\)"):
        load(path)


@pytest.mark.parametrize("name", ["bomb.txt.gz", "bomb.jsonl.gz"])
def test_a_decompression_bomb_is_stopped_early(tmp_path, name, monkeypatch):
    monkeypatch.setattr(files, "FREE_BYTES", 2**20)
    path = write(tmp_path / name, gzip.compress(b"0" * 2**25, 9))
    with pytest.raises(DataError, match=r"bomb\.\w+\.gz: decompresses to more than .* bomb"):
        load(path)


@pytest.mark.parametrize("name", ["long.txt", "long.jsonl"])
def test_a_document_has_a_limit(tmp_path, name, monkeypatch):
    monkeypatch.setattr(files, "MAX_DOCUMENT", 1000)
    with pytest.raises(DataError, match=r"a document of more than 1000 bytes; split it"):
        load(write(tmp_path / name, b"0" * 1001))


def test_a_separator_in_the_text_is_refused(tmp_path):
    path = byte_level_tokenizer(tmp_path / "t.json")
    spec = json.loads(path.read_text())
    spec["added_tokens"][0]["special"] = False
    path.write_text(json.dumps(spec))
    text = write(tmp_path / "a.txt", b"one <|endoftext|> two")
    with pytest.raises(DataError, match=r"t\.json: the text itself contains the separator"):
        load(text, tokenizer=str(path))
