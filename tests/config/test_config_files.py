"""Config files: round trip, and everything that is refused."""

import json

import pytest

from jaxlin.config import ConfigError, from_json, names, preset, read, to_json, validate
from jaxlin.config.override import override
from jaxlin.config.plain import plain
from jaxlin.config.strictjson import MAX_BYTES, MAX_DEPTH


def written(**changes):
    """The tiny config as JSON, with dotted paths (`model__width`) changed."""
    raw = json.loads(to_json(preset("tiny")))
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = raw
        for parent in parents:
            node = node[parent]
        node[last] = value
    return json.dumps(raw)


@pytest.mark.parametrize("name", sorted(names()))
def test_round_trip(name):
    cfg = preset(name)
    assert from_json(to_json(cfg), "x") == cfg
    assert to_json(from_json(to_json(cfg), "x")) == to_json(cfg)
    assert validate(plain(cfg)) == cfg


def test_round_trip_of_lists_and_none():
    cfg = override(preset("tiny"), ["adapters=lora, lora(name=b)", "optim.clip=none", "ema=0.9"])
    assert from_json(to_json(cfg), "x") == cfg


def test_missing_fields_have_their_defaults():
    assert from_json('{"name": "x"}', "x") == from_json('{"format_version": 1, "name": "x"}', "x")


MISTAKES = {
    "unknown": (dict(stepz=3), "x.json: stepz: no such field; did you mean 'steps'?"),
    "unknown below": (dict(model__widht=3), "model.widht: no such field; did you mean 'width'?"),
    "unknown in a kind": (dict(model__mixer__gates=3), "model.mixer.gates: gated_deltanet has no"),
    "int": (dict(steps="3"), "steps: found '3'; allowed: a whole number > 0"),
    "int as float": (dict(steps=2.0), "steps: found 2.0; allowed: a whole number > 0"),
    "int as bool": (dict(steps=True), "steps: found true; allowed: a whole number > 0"),
    "bool": (dict(model__tied="yes"), "model.tied: found 'yes'; allowed: true or false"),
    "bool as int": (dict(model__tied=1), "model.tied: found 1; allowed: true or false"),
    "null": (dict(steps=None), "steps: found none; allowed: a whole number > 0"),
    "nan": (dict(optim__lr=float("nan")), "optim.lr: found nan; allowed: a number > 0"),
    "infinity": (dict(optim__clip=float("inf")), "optim.clip: found inf; allowed: a number > 0"),
    "huge": (dict(steps=10**30), f"steps: found {10**30}; allowed: at most"),
    "kind": (dict(optim__kind="adam"), "optim: 'adam' is no optimizer; did you mean 'adamw'?"),
    "no kind": (dict(optim={"lr": 1.0}), "optim.kind: missing; allowed: an optimizer: adamw"),
    "kind as text": (dict(optim="adamw"), "optim: found 'adamw'; allowed: an optimizer: adamw"),
    "object": (dict(model=3), "model: found 3; allowed: an object with fields vocab, width"),
    "list": (dict(optim__no_decay="x"), "optim.no_decay: found 'x'; allowed: a list, each"),
    "list item": (dict(model__pattern=["mixer", 3]), "model.pattern.1: found 3; allowed: text"),
    "adapter": (dict(adapters=[{"kind": "lora", "rank": 0}]), "adapters.0.rank: found 0"),
    "adapter kind": (dict(adapters=[{"kind": "lore"}]), "adapters.0: 'lore' is no adapter"),
    "name": (dict(name="a/b"), "name: found 'a/b'; allowed: 1 to 128 letters"),
    "surrogate": (dict(init_from="\ud800"), "init_from: found '\\ud800'"),
    "version": (dict(format_version=2), "newer jaxlin; this one reads up to 1: upgrade jaxlin"),
    "version type": (dict(format_version="1"), "format_version: found '1'; allowed: 1 and up"),
    "version zero": (dict(format_version=0), "format_version: found 0; allowed: 1 and up"),
    "cross-field": (dict(batch=5, accumulate=2), "batch: 5 is no multiple of accumulate 2"),
}


@pytest.mark.parametrize(("changes", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistake(changes, words):
    with pytest.raises(ConfigError) as error:
        from_json(written(**changes), "x.json")
    assert str(error.value).startswith("x.json: ")
    assert words in str(error.value)


REFUSED = {
    "no json": ("{", "x.json: is not JSON at line 1 column 2"),
    "empty": ("", "x.json: is not JSON at line 1 column 1"),
    "list": ("[]", "x.json: a config is a JSON object, found []"),
    "duplicate": ('{"name": "a", "name": "b"}', "keys given twice in one object: 'name'"),
    "duplicate below": ('{"model": {"width": 1, "width": 1}}', "twice in one object: 'width'"),
    "overflow": ('{"name": "x", "optim": {"kind": "adamw", "lr": 1e999}}', "optim.lr: found inf"),
    "digits": (f'{{"name": "x", "steps": {"9" * 5000}}}', "x.json: is not JSON: "),
    "no name": ("{}", "name: missing; allowed: 1 to 128 letters"),
    "not utf-8": (b'{"name": "\xff"}', "x.json: is not UTF-8 text (byte 10)"),
    "utf-16": ('{"name": "x"}'.encode("utf-16"), "x.json: is not UTF-8 text (byte 0)"),
    "large": (b" " * (MAX_BYTES + 1), f"x.json: more than {MAX_BYTES} bytes"),
    "deep": ("[" * 40 + "]" * 40, f"x.json: is nested deeper than {MAX_DEPTH} levels"),
    "very deep": ("[" * 400_000, f"x.json: is nested deeper than {MAX_DEPTH} levels"),
    "control codes": ('{"\\u001b[31m\\n": 1}', "\\x1b[31m\\n: no such field"),
}


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(content, words):
    with pytest.raises(ConfigError) as error:
        from_json(content, "x.json")
    assert words in str(error.value)


def test_all_problems_of_a_file_at_once():
    with pytest.raises(ConfigError) as error:
        from_json(written(steps=0, model__widht=1, optim__lr="x", data__kind="txt"), "x.json")
    lines = str(error.value).split("\n  ")
    assert lines[0] == "x.json: 4 problems"
    assert sorted(line.split(":")[0] for line in lines[1:]) == [
        "data",
        "model.widht",
        "optim.lr",
        "steps",
    ]


def test_a_file_of_another_kind_ends_in_a_bounded_message():
    content = json.dumps({f"key{i}": i for i in range(40_000)})
    with pytest.raises(ConfigError) as error:
        from_json(content, "x.json")
    assert len(str(error.value)) < 100_000


def test_read(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(to_json(preset("tiny")))
    assert read(file) == preset("tiny")


def test_files_that_cannot_be_read(tmp_path):
    large = tmp_path / "large.json"
    large.write_bytes(b" " * 10_000_000)
    with pytest.raises(ConfigError, match="large.json: more than 1000000 bytes"):
        read(large)
    with pytest.raises(ConfigError, match="none.json: there is no such file"):
        read(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="is a folder; give the path of a config.json"):
        read(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="is a folder; did you mean .*config.json"):
        read(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read("a\0b")


def test_a_value_of_another_type_is_named():
    with pytest.raises(ConfigError, match=r"optim.lr: found Decimal\('1'\) of type Decimal"):
        from decimal import Decimal

        validate({"name": "x", "optim": {"kind": "adamw", "lr": Decimal(1)}})
