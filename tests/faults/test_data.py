"""E: data that is empty, too little, damaged, changed or malformed ends before the first step."""

import gzip
import json
import os
import shutil

import numpy as np
import pytest

from jaxlin.cli.main import main
from jaxlin.config.errors import DataError
from jaxlin.config.sources.text import Text
from jaxlin.data import corpus
from jaxlin.data.batches import batches
from jaxlin.data.pack import pack
from jaxlin.data.tokenizer import load_tokenizer
from tests.data.helpers import byte_level_tokenizer, documents, stream, write_jsonl
from tests.faults.refusals import TINY, refused

TEXTS = [f"document {i} is about {i * i} things, one after the other\n" for i in range(40)]


@pytest.fixture
def packed(tmp_path):
    pack(documents(TEXTS), load_tokenizer("bytes"), tmp_path / "packed")
    return tmp_path / "packed"


def train(folder, *words):
    return ["train", *TINY, *words, "--run", folder / "run"]


def on_packed(packed):
    return train(packed.parent, "data=packed", f"data.path={packed}")


def on_text(folder, *paths, words=()):
    return train(folder, "data=text", f"data.paths={','.join(map(str, paths))}", *words)


def test_the_folder_itself_is_good(packed, capsys):
    """The control of what follows: unspoiled, the same config gives batches."""
    words = ["data=packed", f"data.path={packed}"]
    assert main(["data", "inspect", *TINY, *words]) == 0


@pytest.mark.parametrize("content", [b"", b"\n"], ids=["no bytes", "no records"])
def test_e27_empty_data(tmp_path, capsys, content):
    path = tmp_path / ("a.jsonl" if content else "a.txt")
    path.write_bytes(content)
    refused(capsys, on_text(tmp_path, path), 3, f"{path}: holds no text", root=tmp_path)
    said = (f"{tmp_path}/*", "no text in it")
    refused(capsys, on_text(tmp_path, f"{tmp_path}/*"), 3, *said, root=tmp_path)


def test_e27_empty_packed_folder(packed, capsys):
    """Counts of 0, with empty files to match."""
    index = json.loads((packed / "index.json").read_text())
    (packed / "index.json").write_text(json.dumps(index | {"tokens": 0, "documents": 0}))
    for name in ("tokens.bin", "documents.bin"):
        (packed / name).write_bytes(b"")
    said = ("index.json: tokens: ", "greater than 0")
    refused(capsys, on_packed(packed), 3, *said, root=packed.parent)


def test_e27_fewer_windows_than_a_batch(tmp_path, capsys):
    path = tmp_path / "a.txt"
    path.write_text("0123456789" * 13)  # 92 bytes of it are trained on
    words = on_text(tmp_path, path)
    said = ("windows of 32, fewer than one batch of 4", "lower batch (to 2 or less)")
    refused(capsys, words, 3, f"{path}: ", *said, root=tmp_path)
    refused(capsys, [*words, "context=200"], 3, "fewer than one window of 201", root=tmp_path)


def token_at(folder, place, value):
    tokens = np.fromfile(folder / "tokens.bin", "<u2")
    tokens[place] = value
    tokens.tofile(folder / "tokens.bin")


def edit(folder, **changes):
    path = folder / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def other_index(folder):
    other = folder.parent / "other"
    pack(documents(TEXTS[1:]), load_tokenizer("bytes"), other)
    shutil.copy(other / "index.json", folder / "index.json")


SPOILED = {
    "id": (lambda f: token_at(f, 77, 300), "tokens.bin: token 77 has id 300", "vocabulary of 257"),
    "wider": (lambda f: edit(f, dtype="uint32"), "tokens.bin: ", "items of uint32"),
    "float": (lambda f: edit(f, dtype="float16"), "index.json: dtype: ", "'uint16' or 'uint32'"),
    "cut": (lambda f: os.truncate(f / "tokens.bin", 10), "tokens.bin: 10 bytes", "truncated"),
    "other": (other_index, "bytes, but index.json says", "belongs to another index"),
    "changed": (lambda f: token_at(f, 5, 65), "tokens.bin: its content is not", "changed after"),
    "missing": (lambda f: (f / "tokens.bin").unlink(), "tokens.bin: missing", "not whole"),
    "no table": (lambda f: (f / "documents.bin").unlink(), "documents.bin: missing", "not whole"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_e27_spoiled_shards(packed, capsys, name):
    """Ids outside the vocabulary, wrong dtypes, truncated, mismatched, changed, missing files."""
    spoil, *said = SPOILED[name]
    spoil(packed)
    refused(capsys, on_packed(packed), 3, str(packed), *said, root=packed.parent)


def test_e27_token_id_outside_the_vocabulary_of_a_folder_too_large_to_scan(
    packed, capsys, monkeypatch
):
    """Then it is found in the first batch that holds it, here the only window of 1024 tokens."""
    monkeypatch.setattr("jaxlin.data.packed.MAX_VERIFIED", 1)
    token_at(packed, 77, 300)
    words = ["data=packed", f"data.path={packed}", "context=1024", "batch=1"]
    said = (str(packed), "token id 300 near token", "outside the vocabulary of 257")
    refused(capsys, ["data", "inspect", *TINY, *words], 3, *said, root=packed.parent)


@pytest.fixture(scope="module")
def run_on_text(tmp_path_factory):
    """A finished run of two steps on one file."""
    root = tmp_path_factory.mktemp("on text")
    (root / "a.txt").write_text("".join(TEXTS))
    assert main([str(word) for word in on_text(root, root / "a.txt")]) == 0
    return root


def test_e27_changed_file_under_the_same_name(run_on_text, capsys):
    path, whole = run_on_text / "a.txt", "".join(TEXTS)
    path.write_text(whole.replace("document 7", "Document 7"))
    words = ["resume", run_on_text / "run", "steps=3"]
    refused(capsys, words, 3, "files.a.txt.sha256", "restore the files", root=run_on_text)
    path.unlink()
    refused(capsys, words, 3, "a.txt' does not exist", root=run_on_text)
    path.write_text(whole)
    assert main(["resume", str(run_on_text / "run")]) == 0


def test_e27_a_pipe_does_not_hang(tmp_path, capsys):
    os.mkfifo(tmp_path / "a.txt")
    said = ("a.txt: a pipe or device", "write its content to a file")
    refused(capsys, on_text(tmp_path, tmp_path / "a.txt"), 3, *said, root=tmp_path, seconds=20)
    refused(capsys, on_text(tmp_path, "/dev/zero"), 3, "/dev/zero: a pipe or device", seconds=20)


GOOD = '{"text": "%s"}'
CORRUPT = {
    "no json": '{"text": "cut',
    "no object": "[1]",
    "no field": '{"txt": "a"}',
    "no text": '{"text": 3}',
    "half": '{"text": "\\ud800"}',
    "bytes": b'{"text": "\xff"}',
}


def with_corrupt_lines(path):
    """Six good lines, a corrupt one after each."""
    good = [GOOD % f"line {i}" for i in range(len(CORRUPT))]
    bad = [line if isinstance(line, bytes) else line.encode() for line in CORRUPT.values()]
    lines = [part for pair in zip(good, bad, strict=True) for part in (pair[0].encode(), pair[1])]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def load(path, **fields):
    return corpus.load(Text(paths=(str(path),), held_out=0.0, **fields))


@pytest.mark.parametrize("name", CORRUPT)
def test_e28_a_corrupt_record_is_raised_by_default(tmp_path, name):
    line = CORRUPT[name]
    first = (GOOD % "fine").encode() + b"\n"
    (tmp_path / "a.jsonl").write_bytes(first + (line if isinstance(line, bytes) else line.encode()))
    with pytest.raises(DataError, match=r"a\.jsonl:2: "):
        load(tmp_path / "a.jsonl")


def test_e28_corrupt_records_are_passed_over_counted_and_reported(tmp_path):
    found = load(with_corrupt_lines(tmp_path / "a.jsonl"), skip_corrupt=6)
    assert found.description.partition("; 6 corrupt lines passed over, the first: ")[2].startswith(
        f"{tmp_path}/a.jsonl:2: not a line of JSON"
    )
    clean = load(write_jsonl(tmp_path / "b.jsonl", [f"line {i}" for i in range(6)]))
    assert "passed over" not in clean.description
    assert list(found.train_text()) == list(clean.train_text())
    assert found.fingerprint["files"]["a.jsonl"] == clean.fingerprint["files"]["b.jsonl"]


def test_e28_one_more_than_allowed_is_raised(tmp_path):
    with pytest.raises(DataError, match=r"a\.jsonl:12: .*; before it 5 corrupt lines passed over"):
        load(with_corrupt_lines(tmp_path / "a.jsonl"), skip_corrupt=5)


def test_e28_a_damaged_archive_is_never_passed_over(tmp_path):
    """What follows the damage is unknown."""
    lines = "".join(GOOD % i + "\n" for i in range(99))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode())[:-20])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: cannot be read"):
        load(tmp_path / "a.jsonl.gz", skip_corrupt=1000)


def test_e28_packing_with_corrupt_records(tmp_path, capsys):
    path, out = with_corrupt_lines(tmp_path / "a.jsonl"), tmp_path / "p"
    words = ["data", "pack", "--out", out, path]
    said = ("a.jsonl:4: ", "before it 1 corrupt line passed over, the first: ")
    refused(capsys, words, 3, "a.jsonl:2: not a line of JSON", root=tmp_path)
    refused(capsys, [*words, "--skip-corrupt", 1], 3, *said, root=tmp_path)
    assert main([str(word) for word in [*words, "--skip-corrupt", 9]]) == 0
    shown = capsys.readouterr()
    assert "6 documents" in shown.out and "note: 6 corrupt lines passed over" in shown.err
    refused(capsys, ["config", "tiny", "data=text(paths=x, skip_corrupt=-1)"], 2, "skip_corrupt")


def order(depth, seed=3):
    with batches(stream(400), 0, seed=seed, batch=4, context=5, stop=25, depth=depth) as made:
        return [batch.tokens.tolist() for batch in made]


def test_e29_how_much_is_made_ahead_does_not_change_the_order():
    assert order(1) == order(2) == order(4) == order(99)
    assert order(1) != order(1, seed=4)


@pytest.mark.parametrize("workers", ["0", "1", "4"])
def test_e29_threads_of_the_tokenizer_do_not_change_the_order(tmp_path, monkeypatch, workers):
    """It has the only workers there are: batches are made by one thread."""
    tokenizer = load_tokenizer(str(byte_level_tokenizer(tmp_path / "t.json")))
    alone = [tokenizer.encode(text).tolist() for text in TEXTS]
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false" if workers == "0" else "true")
    monkeypatch.setenv("RAYON_NUM_THREADS", workers)
    together = tokenizer.encode_many([text.encode() for text in TEXTS])
    assert [ids.tolist() for ids in together] == alone


def spec_of(path):
    return json.loads(path.read_text())


def two_names_for_one_id(spec):
    spec["model"]["vocab"]["zz"] = spec["model"]["vocab"]["a"]


def no_separator(spec):
    spec["added_tokens"] = []


TOKENIZERS = {
    "cut": (None, "not a tokenizer.json (the content: is not JSON at line"),
    "no model": (lambda spec: spec.pop("model"), "there is no object under 'model'"),
    "one id twice": (two_names_for_one_id, "is that of several tokens: ['a', 'zz']"),
    "no special": (no_separator, "no token to separate documents; looked for <|endoftext|>"),
    "newer": (lambda spec: spec.update(version="9.0"), "Unknown tokenizer version"),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_e30_malformed_tokenizers(tmp_path, capsys, name):
    change, said = TOKENIZERS[name]
    path = byte_level_tokenizer(tmp_path / "t.json")
    (tmp_path / "a.txt").write_text("".join(TEXTS))
    words = on_text(tmp_path, tmp_path / "a.txt", words=[f"data.tokenizer={path}"])
    assert main(["data", "inspect", *words[1:-2]]) == 0  # the control
    spec = spec_of(path)
    text = json.dumps(spec)[:-9] if change is None else (change(spec), json.dumps(spec))[1]
    path.write_text(text)
    capsys.readouterr()
    refused(capsys, words, 3, f"{path}", said, root=tmp_path)


def test_e30_a_vocabulary_larger_than_the_model(tmp_path, capsys):
    path = byte_level_tokenizer(tmp_path / "t.json")
    (tmp_path / "a.txt").write_text("".join(TEXTS))
    words = [f"data.tokenizer={path}", "model.vocab=256"]
    said = ("model.vocab is 256", "ids up to 257", "give at least 258")
    refused(capsys, on_text(tmp_path, tmp_path / "a.txt", words=words), 2, *said, root=tmp_path)


def test_e30_random_merges_are_switched_off(tmp_path):
    """BPE dropout would make each epoch, and each resume, other data."""
    path = byte_level_tokenizer(tmp_path / "t.json")
    spec = spec_of(path)
    spec["model"]["dropout"] = 0.5
    path.write_text(json.dumps(spec))
    from tokenizers import Tokenizer

    raw = Tokenizer.from_file(str(path))
    assert len({tuple(raw.encode("th" * 30).ids) for _ in range(20)}) > 1  # the control
    tokenizer = load_tokenizer(str(path))
    assert len({tuple(tokenizer.encode("th" * 30).tolist()) for _ in range(20)}) == 1
    assert len(tokenizer.encode("th" * 30)) == 30


def every_value(node, path=()):
    """Paths of all values in a JSON tree, of long lists and objects the first few."""
    yield path
    if isinstance(node, dict | list):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in list(items)[:8]:
            yield from every_value(value, (*path, key))


def test_e30_any_wrong_type_in_a_tokenizer_is_refused_or_harmless(tmp_path):
    """Each value of the file is replaced in turn; nothing else than DataError comes out."""
    path = byte_level_tokenizer(tmp_path / "t.json")
    whole = path.read_text()
    outcomes = []
    for wrong in (None, -1, "x", [], {"type": "x"}):
        for place in every_value(json.loads(whole)):
            path.write_text(with_value(whole, place, wrong))
            outcomes.append(outcome(path))
    assert len(outcomes) > 100 and set(outcomes) == {"read", "refused"}


def with_value(text, place, value):
    spec = {"root": json.loads(text)}
    *parents, last = ("root", *place)
    node = spec
    for key in parents:
        node = node[key]
    node[last] = value
    return json.dumps(spec["root"])


def outcome(path):
    try:
        tokenizer = load_tokenizer(str(path))
    except DataError as error:
        assert str(path) in str(error)
        return "refused"
    assert len(tokenizer.token_bytes) == tokenizer.size
    return "read"
