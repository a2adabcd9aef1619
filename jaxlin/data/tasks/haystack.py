"""Text to hide needles in: repeated noise, made-up essays, or books of one's own, in sentences."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from jaxlin.config.errors import DataError
from jaxlin.config.paths import user_path
from jaxlin.data.files import check_utf8, read_all
from jaxlin.data.tasks import lexicon

Haystack = Callable[[int], list[str]]  # the first n sentences, the same for every n

NOISE = (
    "The field lies still.",
    "Rain falls on the roof.",
    "A cart goes down the road and comes back.",
    "Nothing else happens here.",
)
SENTENCE = re.compile(r"(?<=[.!?])\s+")


def noise(n: int) -> list[str]:
    """The same few sentences again and again."""
    return [NOISE[i % len(NOISE)] for i in range(n)]


def essay(seed: int) -> Haystack:
    """Made-up sentences that mean little and repeat nothing."""
    known: list[str] = []
    random = np.random.default_rng(seed)

    def first(n: int) -> list[str]:
        while len(known) < n:
            known.append(_sentence(random))
        return known[:n]

    return first


def _sentence(random: np.random.Generator) -> str:
    pick = lambda words: words[int(random.integers(len(words)))]  # noqa: E731
    first, second = (f"{pick(lexicon.QUALITIES)} {pick(lexicon.THINGS)}" for _ in range(2))
    text = f"the {first} {pick(lexicon.DEEDS)} the {second}"
    also = f", and {pick(lexicon.DEEDS)} a {pick(lexicon.THINGS)}"
    where = f" near the {pick(lexicon.THINGS)}"
    text += pick(("", also, where))
    return f"{text[0].upper()}{text[1:]}."


def books(path: str, field: str) -> list[str]:
    """All sentences of a text file, or of the .txt and .txt.gz files of a folder in order of names.

    Raises DataError where there are none.
    """
    root = user_path(path, DataError)
    files = [root]
    if root.is_dir():
        files = sorted(p for p in root.iterdir() if p.name.lower().endswith((".txt", ".txt.gz")))
    if not root.exists() or not files:
        what = "holds no .txt or .txt.gz file" if root.is_dir() else "does not exist"
        raise DataError(
            f"{field}: {path!r} {what} (searched from {Path.cwd()}); give a text file, a folder of "
            "them, or 'synthetic'"
        )
    found = [s for file in files for s in _sentences(file)]
    if not found:
        raise DataError(f"{field}: {path!r} holds no sentence; give files with text")
    return found


def _sentences(path: Path) -> list[str]:
    text = check_utf8(read_all(path), str(path)).decode()
    return [s for part in SENTENCE.split(text) if (s := " ".join(part.split()))]


def source(name: str, field: str) -> Callable[[np.random.Generator], Haystack]:
    """Haystacks of a config: each drawn as a place to start from. Raises DataError."""
    if name == "synthetic":
        return lambda random: essay(int(random.integers(2**32)))
    sentences = books(name, field)
    return lambda random: partial(_from, sentences, int(random.integers(len(sentences))))


def _from(sentences: list[str], start: int, n: int) -> list[str]:
    """n sentences from a place on; after the last one comes the first."""
    return [sentences[(start + i) % len(sentences)] for i in range(n)]


def hidden(sentences: list[str], needles: list[str], depths: list[float]) -> str:
    """The text with needle i after the share depths[i] of its sentences; at one place in order."""
    places = [round(depth * len(sentences)) for depth in depths]
    at = sorted(zip(places, needles, strict=True), key=lambda pair: pair[0])
    parts: list[str] = []
    before = 0
    for place, needle in at:
        parts += [*sentences[before:place], needle]
        before = place
    return " ".join([*parts, *sentences[before:]])
