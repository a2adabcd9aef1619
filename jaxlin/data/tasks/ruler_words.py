"""Variable tracking and the two word-counting subtasks of RULER."""

from __future__ import annotations

from collections import Counter

import numpy as np

from jaxlin.data.tasks import haystack, lexicon
from jaxlin.data.tasks.prompt import Question, TextTask

HOPS = 4
COMMON = 10  # words, which come `often` times each; the rare ones come `seldom` times
SHORT, BRIEF, FULL = 4096, (6, 1), (30, 3)  # below SHORT tokens, and above
RARE = 8192  # different rare words at most
TOP, ZETA = 3, 2.0


class Variables(TextTask):
    """vt: a chain of assignments in noise; which variables have the value that begins it?"""

    new_tokens = 30

    def question(self, random: np.random.Generator, index: int, length: int) -> Question:
        """One chain of four hops, so five names."""
        names = _codes(random, HOPS + 1, letters=5)
        names, value = [name.upper() for name in names], lexicon.number(random, 5)
        sources = [value, *(f"VAR {name}" for name in names[:-1])]
        lines = [f"VAR {name} = {source}." for name, source in zip(names, sources, strict=True)]
        # Assignments keep their order: what is assigned is known by then.
        depths = np.sort(random.random(len(lines))).tolist()

        def text(n: int) -> str:
            return (
                "Follow the assignments of variables that are hidden in the text below.\n"
                f"{haystack.hidden(haystack.noise(n), lines, depths)}\n"
                f"Which variables have the value {value}? These {len(names)} have it: VAR"
            )

        return Question(text, tuple(names))


class CommonWords(TextTask):
    """cwe: a numbered list of words; which ten come most often?

    The rare words fill the list; each of them comes three times, the common ones thirty times; in
    prompts that this would leave no room in, once and six times.
    """

    new_tokens = 120

    def question(self, random: np.random.Generator, index: int, length: int) -> Question:
        """The list holds as many rare words as fit."""
        words = lexicon.different(random, RARE + COMMON)
        common, rare = words[:COMMON], words[COMMON:]
        order = int(random.integers(2**63))
        often, seldom = BRIEF if length < SHORT else FULL

        def text(n: int) -> str:
            listed = common * often + rare[:n] * seldom
            mixed = np.random.default_rng(order).permutation(len(listed))
            lines = " ".join(f"{i}. {listed[j]}" for i, j in enumerate(mixed, 1))
            return (
                "Below is a numbered list of words, some of which come more often than others. "
                f"Remember those that come most often.\n{lines}\nWhich {COMMON} words come most "
                f"often in the list? The {COMMON} words are:"
            )

        return Question(text, tuple(common), most=len(rare))


class FrequentWords(TextTask):
    """fwe: coded words in numbers that follow a zeta law; which three come most often?"""

    new_tokens = 50

    def question(self, random: np.random.Generator, index: int, length: int) -> Question:
        """Word r of the coded words comes with probability proportional to r^-2."""
        words = _codes(random, 64, letters=6)
        weights = np.arange(1, len(words) + 1) ** -ZETA
        draws = random.choice(len(words), 2**16, p=weights / weights.sum())

        def text(n: int) -> str:
            return (
                "Below is a text of coded words. Count how often each of them comes.\n"
                f"{' '.join(words[i] for i in ranked(draws[:n]))}\nWhich {TOP} coded words "
                f"come most often? The {TOP} words are:"
            )

        return Question(text, tuple(words[:TOP]), least=32, most=len(draws))


def ranked(draws: np.ndarray) -> np.ndarray:
    """The draws by rank: the most frequent one becomes 0. The first TOP come once more at the end,
    so that no other word comes as often as they do."""
    rank = {i: r for r, (i, _) in enumerate(Counter(draws.tolist()).most_common())}
    return np.array([*(rank[i] for i in draws.tolist()), *range(TOP)])


def _codes(random: np.random.Generator, count: int, letters: int) -> list[str]:
    """Different random strings."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[lexicon.code(random, letters)] = None
    return list(found)
