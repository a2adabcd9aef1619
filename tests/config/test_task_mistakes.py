"""Tasks in a config: what does not fit is told with the nearest that does."""

import pytest

from jaxlin.config import ConfigError, from_json, preset, to_json
from jaxlin.config.override import override
from jaxlin.config.tasks.base import names
from jaxlin.config.tasks.recall import MQAR, NeedleTokens

TASK = "data=task"
MISTAKES = {
    "context": (
        [TASK],
        "data.task.length: 8 pairs and 8 queries need at least 32",
    ),
    "context, nearest": ([TASK], "nearest that does: 32, or pairs=7 with queries=7"),
    "vocab": (
        [TASK, "data.task=mqar(pairs=7, vocab=12)"],
        "that does: vocab=16, or pairs=5",
    ),
    "fewest": ([TASK, "data.task=mqar(pairs=3, fewest=4)"], "data.task.fewest: 4 is above pairs=3"),
    "noise": (
        [TASK, "data.task=mqar(pairs=2, queries=4, noise=true)"],
        "task.queries: 4 with",
    ),
    "length": ([TASK, "data.task=parity(length=9)"], "rows have context=30 tokens; leave it unset"),
    "copy": (["eval.tasks=copy(tokens=16)"], "eval.tasks.0.length: 16 tokens and their copy need"),
    "kind": (["eval.tasks=mqr"], "eval.tasks.0: 'mqr' is no task; did you mean 'mqar'?"),
    "group": (["eval.tasks=group(of=s6)"], "eval.tasks.0.of: found 's6'; allowed: 'z2' or"),
    "words, trained on": ([TASK, "data.task=needle"], "not to be trained on; allowed: copy, group"),
    "words, no words": ([TASK, "data.task=copy", "eval.tasks=ruler"], "eval.tasks.0: ruler is in"),
    "depths": (["eval.tasks=needle(depths=[])"], "eval.tasks.0.depths: found none"),
    "needle": (["eval.tasks=needle_tokens(sizes=[8])"], "8 pairs and a query need at least 17"),
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistake(words, message):
    with pytest.raises(ConfigError) as error:
        override(preset("tiny"), ["context=30", *words])
    assert message in str(error.value)


def test_what_is_named_as_nearest_fits():
    words = ["context=30", TASK, "data.task=mqar(pairs=7, queries=7)"]
    cfg = override(preset("tiny"), [*words, "eval.tasks=needle_tokens(pairs=4),group(of=z3)"])
    assert from_json(to_json(cfg), "here") == cfg


def test_tasks_of_one_kind_are_told_apart():
    assert names([MQAR(), NeedleTokens()]) == ["mqar", "needle_tokens"]
    assert names([MQAR(), MQAR(length=128)]) == ["mqar", "mqar(length=128)"]


def test_a_map_has_lengths_that_fit():
    assert NeedleTokens().lengths(64) == (32, 64)
    assert NeedleTokens(sizes=(20, 40)).lengths(64) == (20, 40)
