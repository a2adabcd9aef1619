"""The text that every Python carries: the sources of its library and the `pydoc_data` topics."""

from __future__ import annotations

import importlib
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from jaxlin.config.errors import DataError
from jaxlin.config.sources.text import Stdlib
from jaxlin.data.build import build
from jaxlin.data.corpus import Corpus
from jaxlin.data.document import Document, first_bytes
from jaxlin.data.files import read_all
from jaxlin.data.split import share
from jaxlin.data.tokenizer import load_tokenizer

# Not part of the library: what users installed.
INSTALLED = {"site-packages", "dist-packages"}
# Parts that distributors ship apart from Python: with them the corpus would depend on who packaged
# it. The tests also hold tables of data and files that are wrong on purpose.
OPTIONAL = {
    "test",
    "tests",
    "idle_test",
    "idlelib",
    "tkinter",
    "turtledemo",
    "lib2to3",
    "ensurepip",
}
# Code pages are near copies of each other: held-out files would be known from training.
REPEATED = {"encodings", "pydoc_data"}
# Written at installation, with paths of the machine.
GENERATED = ("_sysconfigdata", "sitecustomize", "usercustomize", "config-")
TOPICS = "pydoc_data/topics.py"


def load(config: Stdlib) -> Corpus:
    """The corpus of the standard library, split by file. Raises DataError when there is none."""
    library = Path(sysconfig.get_path("stdlib"))
    documents = first_bytes(documents_in(library, config.held_out), config.max_bytes)
    tokenizer = load_tokenizer(config.tokenizer)
    where = f"standard library ({library})"
    return build(documents, tokenizer, config.held_out, where=where, reset=config.reset)


def documents_in(library: Path, held_out: float) -> Iterator[Document]:
    """Sources and topics, in an order and with a split that depend on relative paths alone.

    The order is by hash, so that the first bytes of it are a fair sample. Topics share one file and
    stay together: some repeat parts of others.
    """
    names = set(sources(library))
    if not names:
        raise DataError(
            f"{library}: this Python carries no sources of its standard library; train on own "
            "files instead:  data=text data.paths=corpus/*.txt"
        )
    for name in sorted(names | {TOPICS}, key=lambda name: share(name, b"order")):
        is_held = share(name, b"held-out") < held_out
        for text in topics() if name == TOPICS else _source(library / name):
            yield Document(name, name, text, is_held)


def sources(library: Path) -> Iterator[str]:
    """Relative posix paths of the library's own sources."""
    skipped = INSTALLED | OPTIONAL | REPEATED
    for path in library.rglob("*.py"):
        parts = path.relative_to(library).parts
        if not skipped.intersection(parts) and not any(p.startswith(GENERATED) for p in parts):
            yield "/".join(parts)


def topics() -> Iterator[bytes]:
    """The help topics, by name; none where this Python was packaged without them."""
    try:
        texts = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        return
    for name in sorted(texts):
        yield texts[name].strip().encode()


def _source(path: Path) -> Iterator[bytes]:
    """The file's text, if it is UTF-8 and not empty: some sources declare another encoding."""
    text = read_all(path)
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return
    if text.strip():
        yield text
