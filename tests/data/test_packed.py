"""Packed folders round-trip, appear whole or not at all, and are believed only when they fit."""

import json
import os
import pickle

import numpy as np
import pytest

from jaxlin.config.errors import DataError
from jaxlin.config.sources.text import Packed
from jaxlin.data import corpus, packed
from jaxlin.data.batches import batch_at
from jaxlin.data.pack import pack
from jaxlin.data.tokenizer import load_tokenizer
from tests.data.helpers import TEXTS, byte_level_tokenizer, documents

BYTES = load_tokenizer("bytes")


@pytest.fixture
def folder(tmp_path):
    pack(documents(TEXTS), BYTES, tmp_path / "packed")
    return tmp_path / "packed"


def load(path, **fields) -> corpus.Corpus:
    return corpus.load(Packed(path=str(path), **fields))


def test_round_trip(tmp_path):
    tokenizer = load_tokenizer(str(byte_level_tokenizer(tmp_path / "t.json")))
    index = pack(documents(TEXTS), tokenizer, tmp_path / "p")
    (tmp_path / "t.json").unlink()
    c = load(tmp_path / "p", held_out=0.0)
    assert [text.decode() for text in c.train_text()] == TEXTS
    assert isinstance(c.train.tokens, np.memmap)
    assert index.documents == len(TEXTS)
    assert index.text_bytes == sum(len(t.encode()) for t in TEXTS)
    assert index.tokens == sum(len(tokenizer.encode(t)) for t in TEXTS) == len(c.train.tokens)


def test_an_evaluation_folder(tmp_path, folder):
    pack(documents(["held out"]), BYTES, tmp_path / "eval")
    c = load(folder, eval_path=str(tmp_path / "eval"))
    assert [t.decode() for t in c.train_text()] == TEXTS
    assert list(c.held_out_text()) == [b"held out"]


def test_folders_of_different_tokenizers_are_refused(tmp_path, folder):
    other = load_tokenizer(str(byte_level_tokenizer(tmp_path / "t.json")))
    pack(documents(TEXTS), other, tmp_path / "eval")
    with pytest.raises(DataError, match="packed with different tokenizers"):
        load(folder, eval_path=str(tmp_path / "eval"))


def test_an_existing_folder_is_not_overwritten(folder):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(DataError, match="exists already and is not overwritten"):
        pack(documents(["other"]), BYTES, folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_nothing_is_left_by_a_failure(tmp_path):
    def broken():
        yield from documents(TEXTS)
        raise DataError("line 7 is bad")

    for source, message in [(broken(), "line 7"), (documents([]), "no text to pack")]:
        with pytest.raises(DataError, match=message):
            pack(source, BYTES, tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_up(tmp_path):
    seen = []
    pack(documents(TEXTS), BYTES, tmp_path / "p", lambda *counts: seen.append(counts))
    total = sum(len(t.encode()) for t in TEXTS)
    assert [s[0] for s in seen] == [1, 2, 3, 4] and seen[-1] == (4, total, total)


def edit(folder, **changes):
    path = folder / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def truncate(folder):
    os.truncate(folder / "tokens.bin", 10)


def flip(folder):
    data = bytearray((folder / "tokens.bin").read_bytes())
    data[0] ^= 1
    (folder / "tokens.bin").write_bytes(data)


def high_id(folder):
    tokens = np.fromfile(folder / "tokens.bin", "<u2")
    tokens[3] = 300
    tokens.tofile(folder / "tokens.bin")


def wrong_ends(folder):
    import hashlib

    table = np.fromfile(folder / "documents.bin", "<u8")
    table[2] = 0
    table.tofile(folder / "documents.bin")
    digest = hashlib.sha256(table.tobytes()).hexdigest()
    edit(folder, documents_sha256=digest)


def linked(folder):
    outside = folder.parent / "secret"
    (folder / "tokens.bin").rename(outside)
    (folder / "tokens.bin").symlink_to(outside)


CASES = {
    "truncated": (truncate, r"tokens\.bin: 10 bytes, but index\.json says"),
    "changed": (flip, r"tokens\.bin: its content is not what index\.json describes"),
    "id": (high_id, r"tokens\.bin: token 3 has id 300, outside the vocabulary of 257"),
    "ends": (wrong_ends, r"documents\.bin: the end of document 1 does not fit"),
    "link": (linked, r"tokens\.bin: a link out of the folder"),
    "dtype": (lambda f: edit(f, dtype="uint32"), r"tokens\.bin: \d+ bytes, but .* uint32"),
    "float": (lambda f: edit(f, dtype="float32"), r"index\.json: dtype: Input should be 'uint16'"),
    "object": (lambda f: edit(f, dtype="O"), r"index\.json: dtype"),
    "count": (lambda f: edit(f, tokens=5), r"tokens\.bin: .* 5 items"),
    "negative": (lambda f: edit(f, documents=-1), r"index\.json: documents: .*greater than 0"),
    "huge": (lambda f: edit(f, tokens=2**70), r"index\.json: tokens: "),
    "string": (lambda f: edit(f, tokens="5"), r"index\.json: tokens: .*integer"),
    "documents": (lambda f: edit(f, documents=9), r"documents\.bin: 64 bytes, but .* 18 items"),
    "extra": (lambda f: edit(f, file="../x"), r"index\.json: file: "),
    "version": (lambda f: edit(f, version=2), r"version 2 is newer than 1; upgrade jaxlin"),
    "vocab": (lambda f: edit(f, vocab=9), r"not the tokenizer that index\.json describes"),
    "path": (lambda f: edit(f, tokenizer="../t.json"), r"index\.json: tokenizer: "),
    "gone": (lambda f: edit(f, tokenizer="tokenizer.json"), r"tokenizer\.json: missing"),
    "json": (lambda f: (f / "index.json").write_text("{"), r"index\.json: is not JSON at"),
    "deep": (lambda f: (f / "index.json").write_text("[" * 60_000), r"\.json: is nested deeper"),
    "large": (lambda f: (f / "index.json").write_text(" " * 2**17), r"\.json: more than 65536"),
    "list": (lambda f: (f / "index.json").write_text("[]"), r"index\.json: the file: "),
    "no index": (lambda f: (f / "index.json").unlink(), r"no folder written by  jaxlin data pack"),
    "no tokens": (lambda f: (f / "tokens.bin").unlink(), r"tokens\.bin: missing"),
}


@pytest.mark.parametrize("name", CASES)
def test_folders_that_do_not_fit_are_refused(folder, name):
    spoil, message = CASES[name]
    spoil(folder)
    with pytest.raises(DataError, match=message):
        load(folder)


@pytest.mark.parametrize("path", ["", "nowhere", "~/nowhere"])
def test_a_missing_folder_is_named(path):
    with pytest.raises(DataError, match=r"data\.path is empty|nowhere/index\.json: No such file"):
        load(path)


def test_ids_of_a_large_folder_are_checked_in_each_batch(folder, monkeypatch):
    monkeypatch.setattr(packed, "MAX_VERIFIED", 1)
    high_id(folder)
    c = load(folder, held_out=0.0)
    with pytest.raises(DataError, match="token id 300 near token"):
        for step in range(9):
            batch_at(c.train, seed=0, step=step, batch=16, context=8)


class Bomb:
    def __reduce__(self):
        return open, ("pickle-ran", "w")


def test_pickles_are_never_run(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("tokens.bin", "documents.bin", "index.json"):
        keep = (folder / name).read_bytes()
        (folder / name).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(DataError, match=name):
            load(folder)
        (folder / name).write_bytes(keep)
    assert not (tmp_path / "pickle-ran").exists()
