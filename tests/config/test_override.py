"""Overrides by dotted path: values by type, kinds, lists, order."""

import itertools

import pytest

from jaxlin.config import ConfigError, difference, names, preset
from jaxlin.config.adapters.lora import LoRA
from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.config.mixers.gla import GLA
from jaxlin.config.override import override, variant
from jaxlin.config.plain import text
from jaxlin.config.registry import mixers

LISTED = ("mixer", "gla(heads=2)", "mixer", "softmax")


def tiny(*assignments):
    return override(preset("tiny"), assignments)


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("steps=30", 30),
        ("optim.lr=1e-3", 1e-3),
        ("optim.lr=1", 1.0),
        ("optim.clip=none", None),
        ("model.tied=true", True),
        ("model.tied=False", False),
        ("model.remat=full", "full"),
        ("model.vocab=512", 512),
        ("init_from=runs/a", "runs/a"),
        ("init_from=none", None),
        ("init_from='none'", "none"),
        ("name=x.y_1-2", "x.y_1-2"),
        ("optim.no_decay=", ()),
        ("optim.no_decay=.*bias", (".*bias",)),
        ("optim.no_decay=.*bias, .*a{1,2}", (".*bias", ".*a{1,2}")),
        ('optim.no_decay=["a,b", "c"]', ("a,b", "c")),
        ("model.pattern=3:1 block", "3:1 block"),
        ('model.pattern=["mixer", "gla(heads=2)", "mixer", "softmax"]', LISTED),
    ],
)
def test_value_by_type(assignment, value):
    found = tiny(assignment)
    for part in assignment.partition("=")[0].split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


def test_another_kind_starts_from_its_defaults():
    assert tiny("model.mixer=gla").model.mixer == GLA()


def test_the_same_kind_keeps_its_values():
    assert tiny("model.mixer=gated_deltanet(gate=false)").model.mixer == GatedDeltaNet(
        heads=2, head_dim=8, gate=False
    )


def test_a_kind_with_fields():
    mixer = tiny("model.mixer=gla(heads=8, expand_k=1, gate='scalar')").model.mixer
    assert mixer == GLA(heads=8, expand_k=1.0, gate="scalar")


def test_a_kind_as_json():
    assert tiny('model.mixer={"kind": "gla", "heads": 8}').model.mixer == GLA(heads=8)


def test_a_part_as_json_keeps_the_rest():
    assert tiny('checkpoint={"keep": 5}').checkpoint.every == preset("tiny").checkpoint.every


@pytest.mark.parametrize(
    "order",
    list(itertools.permutations(["model.mixer.heads=8", "model.mixer=gla", "model.mixer.conv=4"])),
)
def test_order_does_not_matter(order):
    assert tiny(*order).model.mixer == GLA(heads=8, conv=4)


def test_kind_by_its_own_path():
    assert tiny("model.mixer.heads=8", "model.mixer.kind=gla").model.mixer == GLA(heads=8)


def test_one_path_of_own_text():
    data = tiny("data=text", "data.paths=corpus/*.txt").data
    assert (data.kind, data.paths) == ("text", ("corpus/*.txt",))


def test_several_paths():
    assert tiny("data=text(paths='a.txt,b.txt')").data.paths == ("a.txt,b.txt",)
    assert tiny("data=text", "data.paths=a.txt,b.txt").data.paths == ("a.txt", "b.txt")
    assert tiny("data=text", 'data.paths=["a,b.txt"]').data.paths == ("a,b.txt",)


@pytest.mark.parametrize(
    "assignments",
    [
        ["adapters=lora(rank=4)"],
        ["adapters=lora", "adapters.0.rank=4"],
        ["adapters.0.rank=4", "adapters.0=lora"],
        ["adapters.0=lora(rank=4)"],
        ['adapters=[{"kind": "lora", "rank": 4}]'],
    ],
)
def test_one_adapter(assignments):
    assert tiny(*assignments).adapters == (LoRA(rank=4),)


def test_two_adapters():
    cfg = tiny("adapters=lora(at='a,b|(c)'), lora(name=second)", "adapters.1.rank=2")
    assert cfg.adapters == (LoRA(at="a,b|(c)"), LoRA(name="second", rank=2))


def test_an_adapter_is_replaced():
    cfg = override(tiny("adapters=lora(rank=4), lora(name=b)"), ["adapters.1=lora(rank=3)"])
    assert cfg.adapters == (LoRA(rank=4), LoRA(name="b", rank=3))


def test_the_given_config_is_left_alone():
    before = preset("tiny")
    override(before, ["steps=30", "model.mixer.heads=4", "adapters=lora"])
    assert before == preset("tiny")


def test_variant():
    assert variant(mixers, "gla(heads=8)", "model.pattern") == GLA(heads=8)
    assert variant(mixers, "gla(conv=4)", "x", current=GLA(heads=8)) == GLA(heads=8, conv=4)
    with pytest.raises(ConfigError, match=r"^x\.heads: found 0; allowed: a whole number > 0$"):
        variant(mixers, "gla(heads=0)", "x")


# Each difference, written as text, is an override that makes it.
@pytest.mark.parametrize("name", sorted(names()))
@pytest.mark.parametrize(
    "extra",
    [
        [],
        [
            "adapters=lora(at='a\"b, (c)'), lora(name=b)",
            "init_from='none'",
            "optim=muon(adam='[a,b]')",
        ],
        ['model.mixer={"kind": "gla", "gate_min": -2}', "optim.no_decay=", "data=text(paths='[x')"],
    ],
)
def test_differences_are_overrides(name, extra):
    start, goal = preset("tiny"), override(preset(name), extra)
    changes = [f"{path}={text(after)}" for path, _, after in difference(start, goal)]
    assert override(start, changes) == goal


def test_difference_names_the_changed_leaves_only():
    start = preset("tiny")
    changes = difference(start, override(start, ["optim.lr=1e-2", "model.mixer=gla(heads=2)"]))
    assert changes == [
        ("model.mixer", start.model.mixer, GLA(heads=2)),
        ("optim.lr", 3e-3, 1e-2),
    ]
