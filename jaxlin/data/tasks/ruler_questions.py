"""Questions on passages (qa_1, qa_2 of RULER), from files of the user's."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np

from jaxlin.config.errors import DataError
from jaxlin.config.paths import user_path
from jaxlin.data.files import check_utf8, read_all
from jaxlin.data.tasks.prompt import Question, TextTask

FIELDS = {"qa_1": "squad", "qa_2": "hotpot"}


class Asked(NamedTuple):
    """A question, its right answers, and the passages that it can be answered from."""

    question: str
    answers: tuple[str, ...]
    passages: tuple[str, ...]


class Answers(TextTask):
    """A question on its own passages, which stand among those of other questions."""

    new_tokens = 32

    def __init__(self, config: Any):
        super().__init__(config)
        field = FIELDS[config.subtask]
        path = getattr(config, field)
        if path is None:
            raise DataError(
                f"task {config.label}: needs questions with passages, which are not shipped; name "
                f"a file with {field}=PATH, or leave the task out"
            )
        self._asked = read(path, f"ruler.{field}")
        self._all = list(dict.fromkeys(p for asked in self._asked for p in asked.passages))

    def question(self, random: np.random.Generator, index: int, length: int) -> Question:
        """Question `index` of the file; distractors in random order, its own ones among them."""
        asked = self._asked[index % len(self._asked)]
        others = [self._all[i] for i in random.permutation(len(self._all))]
        others = [p for p in others if p not in asked.passages]
        order = int(random.integers(2**63))

        def text(n: int) -> str:
            listed = [*asked.passages, *others[:n]]
            mixed = np.random.default_rng(order).permutation(len(listed))
            documents = "\n\n".join(f"Document {i}:\n{listed[j]}" for i, j in enumerate(mixed, 1))
            return (
                "Answer the question from the documents below, with nothing but the answer.\n\n"
                f"{documents}\n\nQuestion: {asked.question}\nAnswer:"
            )

        return Question(text, asked.answers, match="any", most=len(others))


def read(path: str, field: str) -> list[Asked]:
    """The questions of a file: SQuAD's JSON, HotpotQA's JSON, or lines of JSON with `question`,
    `answers` and `passages`; those without an answer are left out. Raises DataError."""
    file = user_path(path, DataError)
    text = check_utf8(read_all(file), str(file)).decode()
    try:
        if file.name.removesuffix(".gz").endswith(".jsonl"):
            raw: Any = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            raw = json.loads(text)
        entries = _squad(raw["data"]) if isinstance(raw, dict) else [_entry(r) for r in raw]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{field}: {path} is not understood ({type(error).__name__}: {error}); allowed: "
            'SQuAD\'s JSON ({"data": [{"paragraphs": ...}]}), HotpotQA\'s JSON, or .jsonl lines '
            'such as {"question": "...", "answers": ["..."], "passages": ["..."]}'
        ) from None
    found = [e for e in entries if e.answers and e.passages and all(e.answers)]
    if not found:
        raise DataError(f"{field}: {path} holds no question with an answer; give another file")
    return found


def _squad(articles: list[Any]) -> list[Asked]:
    return [
        Asked(
            str(asked["question"]),
            tuple(dict.fromkeys(str(answer["text"]) for answer in asked["answers"])),
            (str(paragraph["context"]),),
        )
        for article in articles
        for paragraph in article["paragraphs"]
        for asked in paragraph["qas"]
    ]


def _entry(record: Any) -> Asked:
    if "context" in record:  # HotpotQA: [title, sentences] a passage
        passages = tuple(f"{title}\n{''.join(parts)}" for title, parts in record["context"])
        return Asked(str(record["question"]), (str(record["answer"]),), passages)
    answers, passages = record["answers"], record["passages"]
    if isinstance(answers, str) or isinstance(passages, str):
        raise TypeError("answers and passages are lists of texts")
    return Asked(str(record["question"]), tuple(map(str, answers)), tuple(map(str, passages)))
