"""Mistakes between fields: the message names the field that does not fit and the numbers."""

import pytest

from jaxlin.config import ConfigError, preset
from jaxlin.config.override import override

MISTAKES = {
    "heads": (
        ["model.attention.heads=5"],
        "model.attention.heads: 5 does not divide the width 32",
    ),
    "kv heads": (["model.attention=softmax(heads=4, kv_heads=3)"], "model.attention.kv_heads: 3"),
    "gla heads": (["model.mixer=gla(heads=5)"], "model.mixer.heads: 5 does not divide"),
    "inline": (["model.pattern=gla(heads=5) + mixer"], "model.pattern: gla: heads: 5 does not"),
    "layers": (["model.layers=5"], "model.pattern: '3*mixer + attention' has 4 layers"),
    "list": (['model.pattern=["mixer"]'], "model.pattern: lists 1 layers, model.layers is 4"),
    "name": (["model.pattern=mixr"], "model.pattern: 'mixr' is no mixer; did you mean 'mixer'"),
    "syntax": (["model.pattern=3*"], "model.pattern: '3*' is not understood at 'the end'"),
    "bomb": (["model.pattern=" + "9999*(" * 4 + "mixer" + ")" * 4], "more than 10000 layers"),
    "nesting": (["model.pattern=" + "(" * 9999 + "mixer" + ")" * 9999], "nested too deep"),
    "overflow": (["model.mixer.expand_v=1e308"], "model.mixer.its sizes cannot be computed"),
    "accumulate": (["batch=5", "accumulate=2"], "batch: 5 is no multiple of accumulate 2"),
    "mesh": (["mesh.data=0"], "mesh.data: found 0; allowed: a whole number > 0, or -1"),
    "warm-up": (["schedule.warmup=21"], "schedule.warmup: 21 steps of warm-up do not fit"),
    "text": (["data=text"], "data.paths: found none; name files"),
    "packed": (["data=packed"], "data.path: found none; name the folder"),
    "names": (["adapters=lora,lora"], "adapters.0.name: 'lora' is used by 2 adapters"),
}


@pytest.mark.parametrize(("assignments", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistake(assignments, words):
    with pytest.raises(ConfigError) as error:
        override(preset("tiny"), assignments)
    assert words in str(error.value)


def test_nearest_batches_fit():
    with pytest.raises(ConfigError, match="batch=4 or 6"):
        override(preset("tiny"), ["batch=5", "accumulate=2"])
    for batch in (4, 6):
        assert override(preset("tiny"), [f"batch={batch}", "accumulate=2"]).batch == batch


def test_an_unused_mixer_may_not_fit():
    cfg = override(preset("tiny"), ["model.pattern=pure", "model.attention.heads=5"])
    assert cfg.model.attention.heads == 5


def test_all_at_once():
    with pytest.raises(ConfigError) as error:
        override(preset("tiny"), ["batch=5", "accumulate=2", "model.layers=5", "mesh.data=0"])
    assert str(error.value).startswith("3 problems\n  model.pattern: ")
