"""Placement: which mixer stands in which layer, and what is said of places that do not exist."""

import pytest

from jaxlin.cli.main import main
from jaxlin.config import preset
from jaxlin.config.errors import ConfigError
from jaxlin.config.mixers.gla import GLA
from jaxlin.config.mixers.softmax import Softmax
from jaxlin.config.model import LM
from jaxlin.config.override import override
from jaxlin.config.pattern import kinds, resolve
from jaxlin.config.placement import layout


def model(pattern, layers=8):
    return LM(layers=layers, pattern=pattern, mixer=GLA(), attention=Softmax())


def letters(pattern, layers=8):
    """g: gla, h: hgrn, s: softmax, w: with a window, n: without positions."""

    def letter(mixer):
        if mixer.kind != "softmax":
            return mixer.kind[0]
        return "w" if mixer.window else "n" if mixer.rope_base is None else "s"

    return "".join(letter(mixer) for mixer in resolve(model(pattern, layers)))


@pytest.mark.parametrize(
    "pattern, found",
    [
        ("pure", "gggggggg"),
        ("full", "ssssssss"),
        ("1:1 block", "gsgsgsgs"),
        ("3:1 first", "ssgggggg"),
        ("3:1 middle", "gggssggg"),
        ("3:1 last", "ggggggss"),
        ("24:1 last", "gggggggs"),
        ("1:1 block with softmax(window=4) + attention", "gwgsgwgs"),
        ("3:1 block of gla + hgrn with softmax(rope_base=none)", "ghgnhghn"),
        ("3:1 period of (2*gla + hgrn)", "ggshgsgh"),
        ("mixer with attention at 3 7", "gggsgggs"),
        ("gla + hgrn with attention at 0-2 with softmax(window=4) at 7", "ssshghgw"),
        ("mixer with softmax(window=4) + attention at 1 3 5-6", "gwgsgwsg"),
        ("full with softmax(rope_base=none) at 2", "ssnsssss"),
        (("mixer", "softmax(window=4)", "hgrn", "softmax(rope_base=none)"), "gwhn"),
    ],
)  # fmt: skip
def test_places(pattern, found):
    assert letters(pattern, len(found)) == found


@pytest.mark.parametrize(
    "pattern, layers, said",
    [
        ("24:1 block", 24, ["no attention layer", "layers=25", "'23:1 block'", "'24:1 period'"]),
        ("24:1 period", 21, ["no attention layer", "layers=24", "'21:1 period'", "'24:1 last'"]),
        ("mixer with attention at 3 8", 8, ["attention at 8", "0 to 7", "layers=9"]),
        (
            "mixer with attention at 3 with softmax(window=4) at 3",
            8,
            ["layer 3 is given twice", "attention", "softmax(window=4)", "free is 2"],
        ),
        ("mixer with attention at 3 3", 8, ["layer 3 is given twice"]),
        ("mixer with attention at 3 x", 8, ["'x' names no layers", "3 7 9-11"]),
        ("mixer with attention at 5-3", 8, ["'5-3' names no layers"]),
        ("mixer with attention", 8, ["needs its layers", "at 3 7 11"]),
        ("3:1 blok", 8, ["'blok' is no layout", "did you mean 'block'"]),
        ("3:1 block with sofmax", 8, ["did you mean 'softmax'"]),
        ("0:1 block", 8, ["starts at 1:1"]),
    ],
)
def test_places_that_do_not_exist(pattern, layers, said):
    with pytest.raises(ConfigError) as error:
        resolve(model(pattern, layers))
    text = str(error.value)
    assert text.startswith("model.pattern: ") and "\n" not in text
    assert [part for part in said if part not in text] == []


@pytest.mark.parametrize("layers", [1, 5, 21, 24])
@pytest.mark.parametrize("ratio", [3, 6, 12, 24])
@pytest.mark.parametrize("where", ["block", "period"])
def test_what_a_refusal_names_works(ratio, where, layers):
    pattern = f"{ratio}:1 {where}"
    try:
        resolve(model(pattern, layers))
    except ConfigError as error:
        parts = str(error).split("'")[3::2]
        assert parts[-1] == "pure"
        for other in parts[:-1]:
            assert "softmax" in kinds(model(other, layers)), other
        deeper = int(str(error).split("use layers=")[1].split(",")[0])
        assert "softmax" in kinds(model(pattern, deeper))


def test_an_override_reads_the_words():
    words = ["model.pattern=mixer with attention at 1 with softmax(window=4, heads=2) at 3"]
    cfg = override(preset("tiny"), words)
    assert kinds(cfg.model) == ["gated_deltanet", "softmax"] * 2
    assert resolve(cfg.model)[3] == Softmax(window=4, heads=2)


def test_layers_in_a_line():
    layers = resolve(model("3:1 block with softmax(window=4) + attention"))
    assert layout(layers) == "0-2 gla, 3 softmax(window=4), 4-6 gla, 7 softmax"


def test_config_prints_the_layout(capsys):
    assert main(["config", "tiny"]) == 0
    assert "layers: 0-2 gated_deltanet, 3 softmax\n" in capsys.readouterr().err
