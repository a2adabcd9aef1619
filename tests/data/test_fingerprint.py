"""The fingerprint changes with everything that decides a batch, and names what changed."""

import json

import pytest

from jaxlin.config.sources.text import Packed, Text
from jaxlin.data import corpus
from jaxlin.data.document import Document
from jaxlin.data.fingerprint import MAX_FILES, FileDigests, difference, of_run
from jaxlin.data.pack import pack
from jaxlin.data.tokenizer import load_tokenizer
from tests.data.helpers import TEXTS, byte_level_tokenizer, documents, write_texts

RUN = {"context": 8, "batch": 2, "seed": 0, "reset": True}


def fingerprint(pattern, run=RUN, **fields):
    return of_run(corpus.load(Text(paths=(str(pattern),), **fields)).fingerprint, **run)


@pytest.fixture
def pattern(tmp_path):
    return write_texts(tmp_path / "texts", TEXTS)


def test_the_same_data_has_the_same_fingerprint_wherever_it_lies(tmp_path, pattern):
    moved = write_texts(tmp_path / "moved", TEXTS)
    assert fingerprint(pattern) == fingerprint(moved)
    stored = json.loads(json.dumps(fingerprint(pattern)))
    assert difference(stored, fingerprint(pattern)) == []


def changed(a, b):
    return [path for path, _, _ in difference(a, b)]


@pytest.mark.parametrize(
    "name,value", [("context", 9), ("batch", 4), ("seed", 1), ("reset", False)]
)
def test_what_the_run_decides(pattern, name, value):
    a, b = fingerprint(pattern), fingerprint(pattern, run=RUN | {name: value})
    assert difference(a, b) == [(name, RUN[name], value)]


def test_a_changed_file_is_named(tmp_path, pattern):
    before = fingerprint(pattern)
    (tmp_path / "texts" / "000.txt").write_text("The cat sad.\n")
    assert changed(before, fingerprint(pattern)) == ["files.000.txt.sha256"]


def test_files_that_come_and_go(tmp_path, pattern):
    before = fingerprint(pattern)
    (tmp_path / "texts" / "new.txt").write_text("new")
    assert changed(before, fingerprint(pattern)) == ["files.new.txt", "order"]


def test_the_tokenizer_the_share_and_the_limit(tmp_path, pattern):
    before = fingerprint(pattern)
    a, b = (byte_level_tokenizer(tmp_path / f"{m}.json", merge=m) for m in (True, False))
    assert "tokenizer.sha256" in changed(before, fingerprint(pattern, tokenizer=str(a)))
    both = [fingerprint(pattern, tokenizer=str(path)) for path in (a, b)]
    assert changed(*both) == ["tokenizer.sha256", "tokenizer.size"]
    assert changed(before, fingerprint(pattern, held_out=0.1)) == ["held_out"]
    assert "files.000.txt.sha256" in changed(before, fingerprint(pattern, max_bytes=5))


def test_packed_folders_are_known_by_their_content(tmp_path):
    prints = []
    for name, texts in [("a", TEXTS), ("b", TEXTS), ("c", TEXTS[::-1])]:
        pack(documents(texts), load_tokenizer("bytes"), tmp_path / name)
        prints.append(corpus.load(Packed(path=str(tmp_path / name))).fingerprint)
    assert prints[0] == prints[1]
    assert "files.train.sha256" in changed(prints[0], prints[2])


def test_many_files_are_one_entry_that_still_tells():
    def entries(last: bytes):
        files = FileDigests()
        for i in range(MAX_FILES + 1):
            files.add(Document(f"{i}", f"{i}", b"x" if i < MAX_FILES else last))
        return files.entries()

    assert len(entries(b"x")) == 1
    assert entries(b"x") == entries(b"x") != entries(b"y")
