"""Tasks in words: the greedy continuation is searched for the answers."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.config.override import override
from jaxlin.config.presets import preset
from jaxlin.config.sources.task import Task
from jaxlin.config.tasks.needle import Needle
from jaxlin.config.tasks.recall import MQAR
from jaxlin.config.tasks.ruler import Ruler
from jaxlin.data import feed
from jaxlin.data.tasks.prompt import Prompt, TextTask
from jaxlin.data.tokenizer import ByteTokenizer
from jaxlin.evals.generation import generate
from jaxlin.evals.settings import Sampling
from jaxlin.evals.tasks import Chosen, Setting, choose, of_run, scores
from jaxlin.evals.writing import score
from tests.evals.tiny import HYBRID, VOCAB, tiny

BYTES, NEW = ByteTokenizer(), 6


def written(text):
    model, variables = tiny(HYBRID)
    ids = [[BYTES.bos, *text.encode()]] * 2  # two rows, the shape that is compiled anyway
    greedy = Sampling(temperature=0.0)
    pieces = generate(model, variables, ids, tokenizer=BYTES, max_new=NEW, sampling=greedy)
    return "".join(piece.text for piece in pieces if piece.row == 0)


class Known(TextTask):
    """Asks for what the model writes, and in every other example for more than that."""

    texts = ("some text", "more text", "other words")

    def prompts(self, seed, first, count, length, tokenizer):
        more = [(), ("no such text",), ()]
        return [
            Prompt(text, (written(text), *more[i]), "all", NEW, {"part": i % 2})
            for i, text in enumerate(self.texts)
        ]


KNOWN = Known(SimpleNamespace(reads="text", examples=3))


def test_marks_are_shares_of_what_the_model_writes():
    model, variables = tiny(HYBRID)
    assert all(written(text) for text in Known.texts)
    found = score(
        KNOWN,
        model,
        variables,
        tokenizer=BYTES,
        length=16,
        rows=2,
    )
    assert found.marks.tolist() == [1.0, 0.5, 1.0] and found.labels["part"].tolist() == [0, 1, 0]


def test_a_record_of_a_task_in_words():
    model, variables = tiny(HYBRID)
    setting = Setting(model, variables, BYTES, 2)
    (record,) = scores([Chosen("known", KNOWN, (16,))], setting)
    assert record["accuracy"] == pytest.approx(2.5 / 3) and record["exact"] == pytest.approx(2 / 3)
    assert record["by"] == {"part": {"0": 1.0, "1": 0.5}} and record["length"] == 16


def test_what_cannot_be_asked_is_left_out_with_its_reason():
    configs = [Ruler(length=1000), Needle(sizes=(400, 800))]
    chosen, skipped = choose(configs, context=64, vocab=VOCAB, tokenizer=BYTES)
    names = [c.name for c in chosen]
    assert "ruler_vt" in names and names[-1] == "needle" and chosen[-1].lengths == (400, 800)
    assert not {"ruler_cwe", "ruler_qa_1", "ruler_qa_2"} & set(names) and len(skipped) == 3
    assert "ruler_cwe: its shortest prompt" in skipped[0] and "squad=PATH" in skipped[1]


def test_a_map_says_at_which_lengths_it_is_asked():
    chosen, (reason,) = choose([Needle()], context=256, vocab=VOCAB, tokenizer=BYTES)
    assert chosen == [] and "more than length 64; " in reason
    assert reason.endswith("(it is asked at lengths 64, 128, 256)")


def test_the_tasks_that_the_documentation_adds_to_a_run_are_scored():
    text = Path("docs/evaluations.md").read_text(encoding="utf-8")
    (tasks,) = re.findall("jaxlin train quickstart eval.tasks='(.*)'", text)
    cfg = override(preset("quickstart"), [f"eval.tasks={tasks}"])
    chosen, skipped = choose(of_run(cfg), context=cfg.context, vocab=VOCAB, tokenizer=BYTES)
    assert len(chosen) == 2 and skipped == []


def test_words_are_for_models_of_text_and_ids_for_those_that_have_them():
    ids = feed.load(Task(task=MQAR())).tokenizer
    with pytest.raises(ConfigError, match="needle: is written in words.*tokens: copy, group"):
        choose([Needle()], context=900, vocab=64, tokenizer=ids)
    with pytest.raises(ConfigError, match="mqar: has 512 ids, the model has 272"):
        choose([MQAR(vocab=512)], context=64, vocab=VOCAB, tokenizer=BYTES)
    with pytest.raises(ConfigError, match="length 63 is no multiple of mesh.seq=2; nearest: 64"):
        choose([MQAR(length=63)], context=64, vocab=VOCAB, tokenizer=BYTES, seq=2)
