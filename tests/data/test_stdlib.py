"""The standard library as a corpus: its order and split depend on relative paths alone."""

from pathlib import Path

import pytest

from jaxlin.config.errors import DataError
from jaxlin.config.sources.text import Stdlib
from jaxlin.data import corpus
from jaxlin.data.stdlib import TOPICS, documents_in, sources, topics

KEPT = ["abc.py", "json/decoder.py", "asyncio/events.py", *(f"m{i}.py" for i in range(60))]
SKIPPED = [
    "test/test_abc.py", "site-packages/numpy/core.py", "idlelib/run.py", "lib2to3/x.py",
    "unittest/test/x.py", "_sysconfigdata__linux.py", "config-3.12-x86/python-config.py",
    "encodings/cp437.py", "pydoc_data/topics.py",
]  # fmt: skip


@pytest.fixture
def library(tmp_path):
    return make(tmp_path / "lib", [*KEPT, *SKIPPED])


def make(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# source of {name}\n")
    return root


def of_files(library, held_out=0.2):
    return [d for d in documents_in(library, held_out) if d.file != TOPICS]


def test_only_the_librarys_own_sources_are_read(library):
    assert sorted(sources(library)) == sorted(KEPT)


def test_order_and_split_do_not_depend_on_the_listing(library, tmp_path, monkeypatch):
    expected = of_files(library)
    # Another machine: another place, created and listed in another order.
    other = make(tmp_path / "other" / "python3.13", [*SKIPPED, *KEPT[::-1]])
    listing = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: sorted(listing(self, pattern))[::-1])
    assert of_files(other) == expected
    assert 3 < sum(bool(d.held_out) for d in expected) < 25


def test_a_file_stays_on_its_side_when_others_come_and_go(library):
    before = {d.file: d.held_out for d in of_files(library)}
    (library / "abc.py").unlink()
    (library / "new.py").write_text("x = 1\n")
    after = {d.file: d.held_out for d in of_files(library)}
    assert all(after[name] == side for name, side in before.items() if name != "abc.py")


def test_a_larger_share_keeps_what_was_held_out(library):
    small, large = ({d.file for d in of_files(library, f) if d.held_out} for f in (0.1, 0.4))
    assert small < large


def test_files_that_are_no_text_are_passed_over(library):
    (library / "abc.py").write_bytes(b"# -*- coding: latin-1 -*-\n\xe9")
    (library / "json/decoder.py").write_text("\n")
    assert not {"abc.py", "json/decoder.py"} & {d.file for d in of_files(library)}


def test_a_python_without_sources_is_refused(tmp_path):
    with pytest.raises(DataError, match="carries no sources.*data=text"):
        list(documents_in(tmp_path, 0.1))


def test_this_python():
    c = corpus.load(Stdlib(max_bytes=2_000_000, held_out=0.1))
    train, held = (sum(map(len, text)) for text in (c.train_text(), c.held_out_text()))
    assert train + held == 2_000_000
    assert 0.01 < held / (train + held) < 0.3
    assert not set(c.train_text()) & set(c.held_out_text())
    assert len(list(topics())) > 50
