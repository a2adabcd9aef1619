"""Text tasks: prompts as long as asked, answers that stand in them, questions from files."""

import json
import re

import pytest

from jaxlin.config.errors import DataError
from jaxlin.config.registry import tasks
from jaxlin.config.tasks.needle import Needle
from jaxlin.config.tasks.ruler import SUBTASKS, Ruler, expanded
from jaxlin.data.tasks.haystack import hidden
from jaxlin.data.tasks.prompt import Prompt, largest, mark
from jaxlin.data.tokenizer import load_tokenizer
from tests.data.helpers import byte_level_tokenizer

BYTES = load_tokenizer("bytes")
GENERATED = [name for name in SUBTASKS if not name.startswith("qa")]
LENGTH = 6000


def built(config):
    return tasks.target(config.kind)(config)


def prompts(name, count=3, length=LENGTH, tokenizer=BYTES, **fields):
    return built(Ruler(subtask=name, **fields)).prompts(0, 0, count, length, tokenizer)


def tokens(prompt, tokenizer=BYTES):
    return 1 + len(tokenizer.encode(prompt.text)) + prompt.max_new


@pytest.mark.parametrize("name", GENERATED)
def test_prompts_fill_the_length_and_hold_their_answers(name):
    found = prompts(name)
    for prompt in found:
        assert LENGTH - 250 < tokens(prompt) <= LENGTH
        assert prompt.match == "all" and all(a in prompt.text for a in prompt.answers)
        question = prompt.text.rpartition("\n")[2]
        assert not any(answer in question for answer in prompt.answers)
    assert len({prompt.text for prompt in found}) == 3
    assert found[1:] == built(Ruler(subtask=name)).prompts(0, 1, 2, LENGTH, BYTES)


@pytest.mark.parametrize(
    ("name", "answers", "needles"),
    [
        ("niah_single_1", 1, 1),
        ("niah_single_2", 1, 1),
        ("niah_single_3", 1, 1),
        ("niah_multikey_1", 1, 4),
        ("niah_multivalue", 4, 4),
        ("niah_multiquery", 4, 4),
    ],
)
def test_numbers_of_needles(name, answers, needles):
    (prompt,) = prompts(name, count=1)
    assert len(set(prompt.answers)) == answers
    assert len(re.findall(r"The value of \S+ is \S+\.", prompt.text)) == needles


def test_haystacks_of_needles_hold_nothing_else():
    for name, size in (("niah_multikey_2", 7), ("niah_multikey_3", 36)):
        (prompt,) = prompts(name, count=1)
        body = prompt.text.split("\n")[1]
        found = re.findall(r"The value of (\S+) is (\S+)\.", body)
        assert " ".join(f"The value of {k} is {v}." for k, v in found) == body
        assert len(dict(found)) == len(found) > 30 and {len(v) for _, v in found} == {size}
        (key,) = re.findall(r"The value of (\S+) is$", prompt.text)
        assert dict(found)[key] == prompt.answers[0]


def test_a_chain_of_variables_can_be_followed():
    for prompt in prompts("vt"):
        value = re.search(r"have the value (\d{5})\?", prompt.text)
        assert value and len(prompt.answers) == 5
        known = {value[1]}
        for name, source in re.findall(r"VAR ([A-Z]+) = (?:VAR )?(\w+)\.", prompt.text):
            assert source in known  # by then
            known.add(name)
        assert known == {value[1], *prompt.answers}


def test_common_words_come_more_often_than_others():
    for length, often, seldom in ((8000, 30, 3), (2500, 6, 1)):
        (prompt,) = prompts("cwe", count=1, length=length)
        words = re.findall(r"\d+\. (\S+)", prompt.text)
        counts = {word: words.count(word) for word in words}
        assert {counts.pop(word) for word in prompt.answers} == {often}
        assert set(counts.values()) == {seldom}


def test_three_coded_words_are_the_most_frequent():
    for prompt in prompts("fwe", length=900):
        words = prompt.text.split("\n")[1].split()
        counts = sorted(((words.count(w), w) for w in set(words)), reverse=True)
        assert {word for _, word in counts[:3]} == set(prompt.answers)
        assert counts[2][0] > counts[3][0]


def test_lengths_are_those_of_the_tokenizer(tmp_path):
    other = load_tokenizer(str(byte_level_tokenizer(tmp_path / "t.json")))
    (short,), (long,) = (prompts("vt", 1, 2000, t) for t in (BYTES, other))
    assert tokens(long, other) <= 2000 < tokens(long)  # "th" is one token there
    assert len(long.text) > len(short.text)


def test_a_length_that_is_too_short_says_how_long_it_has_to_be():
    with pytest.raises(
        DataError, match=r"task ruler_cwe: its shortest prompt .* are (\d+) tok"
    ) as e:
        prompts("cwe", length=1000)
    least = re.search(r"are (\d+) tokens", str(e.value))
    assert least and prompts("cwe", 1, length=int(least[1]))


def test_books_are_a_haystack(tmp_path):
    (tmp_path / "a.txt").write_text("One is here. Two is\nthere! Three?", encoding="utf-8")
    prompt = prompts("niah_single_2", 1, 600, haystack=str(tmp_path))[0]
    assert "Two is there!" in prompt.text and prompt.answers[0] in prompt.text
    for path in (tmp_path / "none", tmp_path):
        (tmp_path / "a.txt").unlink(missing_ok=True)
        with pytest.raises(DataError, match="haystack: "):
            prompts("niah_single_2", haystack=str(path))


SQUAD = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": f"Passage {i} says that the answer is {i}{i}{i}.",
                    "qas": [
                        {"question": f"What says {i}?", "answers": [{"text": f"{i}{i}{i}"}]},
                        {"question": "What says nobody?", "answers": []},
                    ],
                }
                for i in range(9)
            ]
        }
    ]
}
HOTPOT = [
    {
        "question": f"Who is {i}?",
        "answer": f"name {i}",
        "context": [[f"title {i}", ["a name", f" is name {i}."]], ["other", [f"no {i}."]]],
    }
    for i in range(4)
]
LINES = [{"question": "Q?", "answers": ["a", "b"], "passages": ["it is a."]}] * 2


@pytest.mark.parametrize(
    ("name", "field", "data", "passages"),
    [("qa_1", "squad", SQUAD, 1), ("qa_2", "hotpot", HOTPOT, 2), ("qa_2", "hotpot", LINES, 1)],
)
def test_questions_stand_among_passages_of_others(tmp_path, name, field, data, passages):
    path = tmp_path / ("q.jsonl" if data is LINES else "q.json")
    path.write_text("\n".join(map(json.dumps, data)) if data is LINES else json.dumps(data))
    found = prompts(name, 2, 600, **{field: str(path)})
    for prompt in found:
        assert prompt.match == "any" and prompt.answers[0] in prompt.text
        assert prompt.text.count("Document ") >= passages
    shortest = prompts(name, 1, tokens(found[0]._replace(text="")) + 260, **{field: str(path)})
    assert shortest[0].text.count("Document ") >= passages


def test_missing_and_foreign_questions_are_told(tmp_path):
    with pytest.raises(DataError, match="ruler_qa_1: needs questions .* squad=PATH"):
        prompts("qa_1")
    (tmp_path / "x.json").write_text('{"rows": []}')
    with pytest.raises(DataError, match="ruler.squad: .*x.json is not understood.*KeyError"):
        prompts("qa_1", squad=str(tmp_path / "x.json"))


def test_needles_take_turns_in_depth():
    found = built(Needle(depths=(0, 100))).prompts(0, 0, 2, 900, BYTES)
    places = [p.text.index(p.answers[0]) / len(p.text) for p in found]
    assert places[0] < 0.2 and places[1] > 0.7
    assert [dict(p.labels) for p in found] == [
        {"depth": 0, "length": 900},
        {"depth": 100, "length": 900},
    ]


def test_all_is_thirteen():
    (first, *rest) = expanded([Ruler(examples=3), Needle()])
    assert first == Ruler(subtask="niah_single_1", examples=3) and len(rest) == 13


def test_hidden_keeps_the_order_at_one_place():
    assert hidden(["a", "b"], ["2", "1", "0"], [0.5, 0.5, 0.0]) == "0 a 2 1 b"


@pytest.mark.parametrize("answer", [0, 1, 2, 3, 7, 100, 1000])
def test_the_largest_that_fits(answer):
    assert largest(lambda n: n <= answer, 0, 10**6) == answer
    assert largest(lambda n: n <= answer, 0, 50) == min(answer, 50)


def test_marks():
    prompt = Prompt("", ("One", "two"), "all", 1, {})
    assert [mark(prompt, text) for text in ("", "xonex", "TWO one")] == [0, 0.5, 1]
    assert mark(prompt._replace(match="any"), "two") == 1
