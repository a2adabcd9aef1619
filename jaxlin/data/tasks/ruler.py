"""The thirteen subtasks of RULER: which kind of question each of them is.

The make-up of the subtasks (kinds of haystack, numbers of keys, values and queries, counts of
words) is that of Hsieh et al. 2024, "RULER: What's the real context size of your long-context
language models?". The wording of the prompts is our own, so that scores compare with each other and
not with published ones to the digit; the published prompts are those of the harness, see
jaxlin.evals.bridge.
"""

from __future__ import annotations

from typing import Any

from jaxlin.data.tasks.prompt import TextTask
from jaxlin.data.tasks.ruler_needles import Needles
from jaxlin.data.tasks.ruler_questions import Answers
from jaxlin.data.tasks.ruler_words import CommonWords, FrequentWords, Variables

NEEDLES: dict[str, dict[str, Any]] = {
    "niah_single_1": {"hay": "noise"},
    "niah_single_2": {},
    "niah_single_3": {"values": "identifier"},
    "niah_multikey_1": {"others": 3},
    "niah_multikey_2": {"hay": "needles"},
    "niah_multikey_3": {"hay": "needles", "keys": "identifier", "values": "identifier"},
    "niah_multivalue": {"each": 4},
    "niah_multiquery": {"asked": 4},
}


def build(config: Any) -> TextTask:
    """The task of a config. Raises DataError where its text cannot be read."""
    name = config.subtask
    if name in NEEDLES:
        return Needles(config, **NEEDLES[name])
    if name in ("qa_1", "qa_2"):
        return Answers(config)
    return {"vt": Variables, "cwe": CommonWords, "fwe": FrequentWords}[name](config)
