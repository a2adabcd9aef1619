"""Wrong overrides: every message names the path, what was found, what is allowed, the nearest."""

import pytest

from jaxlin.config import ConfigError, preset
from jaxlin.config.override import override

MISTAKES = {
    "unknown": ("modl.width=3", ["modl: no such field", "'model'"]),
    "near": ("optim.lrr=1", ["optim.lrr: adamw has no such field", "did you mean 'lr'"]),
    "elsewhere": ("heads=3", ["heads: no such field", "'model.mixer.heads'"]),
    "other kind": ("optim.adam_lr=1", ["optim.adam_lr: adamw has no such field", "known: b1"]),
    "in a call": ("model.mixer=gla(headz=1)", ["model.mixer.headz: gla has", "'heads'"]),
    "kind": ("model.mixer=gal", ["model.mixer: 'gal' is no mixer", "did you mean 'gla'"]),
    "source kind": ("data=txt", ["data: 'txt' is no data source", "did you mean 'text'"]),
    "call": ("model.mixer=gla(8)", ["model.mixer: '8'", "kind(field=value"]),
    "call twice": ("model.mixer=gla(heads=8, heads=4)", ["model.mixer: 'heads'", "given twice"]),
    "bracket": ("model.mixer=gla(heads=8", ["model.mixer: found 'gla(heads=8'"]),
    "quote": ("adapters=lora(at='a), lora", ["adapters: ", "lacks a closing '"]),
    "int": ("steps=2.5", ["steps: found '2.5'; allowed: a whole number > 0"]),
    "int as float": ("steps=1e3", ["steps: found '1e3'; allowed: a whole number > 0"]),
    "bool": ("model.tied=yes", ["model.tied: found 'yes'; allowed: true or false"]),
    "float": ("optim.lr=abc", ["optim.lr: found 'abc'; allowed: a number > 0"]),
    "nan": ("optim.lr=nan", ["optim.lr: found nan; allowed: a number > 0"]),
    "inf": ("optim.lr=1e999", ["optim.lr: found inf; allowed: a number > 0"]),
    "finite": ("model.mixer=gla(gate_min=nan)", ["model.mixer.gate_min: found nan", "finite"]),
    "negative": ("optim.lr=-1", ["optim.lr: found -1.0; allowed: a number > 0"]),
    "range": ("optim.b1=1", ["optim.b1: found 1.0; allowed: a number >= 0 and < 1"]),
    "zero": ("batch=0", ["batch: found 0; allowed: a whole number > 0"]),
    "none": ("batch=none", ["batch: found 'none'; allowed: a whole number > 0"]),
    "or none": ("ema=2", ["ema: found 2.0; allowed: a number >= 0 and < 1 or none"]),
    "choice": ("model.norm=per", ["model.norm: found 'per'", "'peri'; did you mean 'peri'"]),
    "far choice": ("model.dtype=fp8", ["model.dtype: found 'fp8'", "'float32' or 'bfloat16'"]),
    "regex": ("adapters=lora(at='(')", ["adapters.0.at: found '('", "regular expression"]),
    "list of regex": ("optim.no_decay=a,*", ["optim.no_decay.1: found '*'", "regular"]),
    "name": ("name=../x", ["name: found '../x'; allowed: 1 to 128 letters"]),
    "dot name": ("name=.x", ["name: found '.x'; allowed: 1 to 128 letters"]),
    "long name": (f"name={'x' * 129}", ["name: found 'xxx", "allowed: 1 to 128 letters"]),
    "seed": ("seed=4294967296", ["seed: found 4294967296", "< 4294967296"]),
    "huge": (f"model.width={10**30}", [f"model.width: found {10**30}"]),
    "index": ("adapters.1=lora", ["adapters.1: adapters has 0 entries", "adapters.0"]),
    "no index": ("adapters.x.rank=1", ["adapters.x: adapters has 0 entries"]),
    "below a leaf": ("model.width.x=3", ["model.width.x: model.width is no node"]),
    "object": ("checkpoint=3", ["checkpoint: found '3'; allowed: an object with fields every"]),
    "list": (
        "model.pattern=[gla, gla]",
        ["model.pattern: is not JSON at line 1 column 2", """write a list as '["a", "b"]'"""],
    ),
    "json": ("checkpoint={", ["checkpoint: is not JSON at line 1"]),
    "json twice": ('checkpoint={"keep":1,"keep":2}', ["checkpoint: ", "twice", "keep"]),
    "json kind": ('model.mixer={"kind": []}', ["model.mixer: [] is no mixer"]),
    "list item": ('model.pattern=["mixer", 3]', ["model.pattern.1: found 3; allowed: text"]),
    "no equals": ("steps", ["'steps' is no override; write path=value"]),
    "no path": ("=3", ["'=3' is no override; write path=value"]),
    "surrogate": ("tag=\udc80", ["tag: no such field"]),
    "surrogate value": ("init_from=\udc80", ["init_from: found '\\udc80'"]),
}


@pytest.mark.parametrize(("assignment", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistake(assignment, words):
    with pytest.raises(ConfigError) as error:
        override(preset("tiny"), [assignment])
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)  # one mistake, one line


def test_all_mistakes_at_once():
    wrong = [
        "optim.lrr=1",
        "model.dtype=fp8",
        "model.mixer=gal",
        "steps=0",
        "adapters=lora(rank=x)",
    ]
    with pytest.raises(ConfigError) as error:
        override(preset("tiny"), wrong)
    lines = str(error.value).split("\n")
    assert lines[0] == "5 problems"
    found = sorted(line.split(":")[0].strip() for line in lines[1:])
    assert found == ["adapters.0.rank", "model.dtype", "model.mixer", "optim.lrr", "steps"]


def test_nothing_misleading_below_an_unknown_kind():
    with pytest.raises(ConfigError) as error:
        override(preset("tiny"), ["model.mixer=gal", "model.mixer.expand_k=1"])
    assert "expand_k" not in str(error.value)


def test_two_values_for_one_path():
    with pytest.raises(ConfigError, match="steps: is set twice, to '1' and to '2'"):
        override(preset("tiny"), ["steps=1", "steps=2"])
    assert override(preset("tiny"), ["steps=30", "steps=30"]).steps == 30


def test_kind_and_its_path_are_one():
    with pytest.raises(ConfigError, match="model.mixer: is set twice"):
        override(preset("tiny"), ["model.mixer=gla", "model.mixer.kind=softmax"])
