"""D: what is wrong in a config or does not fit the mesh ends before the model is even planned."""

import json

import pytest

from jaxlin.cli.main import main
from jaxlin.config.errors import ConfigError, nearest_divisors
from jaxlin.config.load import to_json
from jaxlin.config.presets import preset
from tests.faults.refusals import TINY, refused


@pytest.fixture
def no_plan(monkeypatch):
    """Planning, the first thing that traces the model, fails."""

    def fail(*_, **__):
        raise AssertionError("it was planned")

    monkeypatch.setattr("jaxlin.train.job.make_plan", fail)


def test_the_plan_would_be_noticed(no_plan, tmp_path, capsys):
    """The control of what follows: a right config gets as far as that."""
    assert main(["train", *TINY, "--run", str(tmp_path / "run")]) == 1
    assert "it was planned" in capsys.readouterr().err


def raw():
    return json.loads(to_json(preset("tiny")))


FILES = {
    "unknown key": ({**raw(), "stepz": 3}, "stepz: no such field; did you mean 'steps'?"),
    "wrong type": ({**raw(), "steps": "3"}, "steps: found '3'; allowed: a whole number > 0"),
    "out of range": ({**raw(), "steps": -1}, "steps: found -1; allowed: a whole number > 0"),
    "twice": ('{"name": "a", "name": "b"}', "keys given twice in one object: 'name'"),
    "not utf-8": (b'{"name": "\xff"}', "is not UTF-8 text (byte 10)"),
    "10 MB": (b" " * 10_000_000, "more than 1000000 bytes"),
    "deep": ("[" * 200_000, "is nested deeper than 32 levels"),
    "no json": ("{", "is not JSON at line 1 column 2"),
    "empty": ("", "is not JSON at line 1 column 1"),
}


@pytest.mark.parametrize("name", FILES)
def test_d22_files_that_are_no_config(tmp_path, capsys, no_plan, name):
    content, said = FILES[name]
    text = json.dumps(content) if isinstance(content, dict) else content
    path = tmp_path / "config.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    words = ["train", "--config", path, "--run", tmp_path / "run"]
    refused(capsys, words, 2, f"{path}: ", said, root=tmp_path)


def test_d22_missing_and_mutually_exclusive(tmp_path, capsys):
    path = tmp_path / "none.json"
    refused(capsys, ["train", "--config", path], 2, f"{path}: there is no such file")
    refused(capsys, ["train", "--config", tmp_path], 2, "is a folder; give the path of a config")
    words = ["train", "tiny", "--config", path]
    refused(capsys, words, 2, f"give one preset or --config FILE, found tiny, --config {path}")


def test_d22_all_mistakes_come_at_once(capsys, no_plan, tmp_path):
    wrong = ["optim.lrr=1", "model.dtype=fp8", "model.mixer=gal", "batch=0"]
    words = ["train", *TINY, *wrong, "--run", tmp_path / "run"]
    said = refused(capsys, words, 2, "4 problems", root=tmp_path)
    assert all(word.partition("=")[0] in said for word in wrong)


# Words of a run on the eight devices of the tests.
EIGHT = [word for word in TINY if not word.startswith("mesh.")]

MESHES = {
    "product": (["mesh.data=3", "batch=6"], "data=3 * fsdp=1 * seq=1 * tensor=1 is 3 devices"),
    "left over": (["mesh.fsdp=3"], "fsdp * seq * tensor = 3 must divide 8, for example 2"),
    "zero": (["mesh.fsdp=0"], "mesh.fsdp: found 0; allowed: a whole number > 0"),
    "below": (["mesh.data=-2"], "mesh.data: found -2; allowed: a whole number > 0, or -1"),
    "batch": (["batch=6"], "batch: 6 is no multiple of 8", "nearest: 8"),
    "accumulate": (
        ["batch=8", "accumulate=3"],
        "batch: 8 is no multiple of accumulate 3",
        "6 or 9",
    ),
    "heads": (
        ["mesh.tensor=4", "batch=8"],
        "mesh.tensor: 4 does not divide heads=2 of mixer softmax",
        "among 1, 2, or heads=4",
    ),
    "kv heads": (
        ["mesh.tensor=2", "batch=8", "model.attention.kv_heads=1"],
        "mesh.tensor: 2 does not divide kv_heads=1",
    ),
    "sequence": (["mesh.seq=4", "batch=8", "context=30"], "context: 30 is no multiple", "28 or 32"),
}


@pytest.mark.parametrize("name", MESHES)
def test_d23_meshes_that_do_not_fit(tmp_path, capsys, no_plan, name):
    changes, *said = MESHES[name]
    words = ["train", *EIGHT, *changes, "--run", tmp_path / "run"]
    refused(capsys, words, 2, *said, root=tmp_path)


def test_d23_a_vocabulary_that_the_mesh_does_not_divide(tmp_path, capsys):
    """Known from the shapes of the parameters: traced, not compiled."""
    words = ["mesh.tensor=2", "batch=8", "model.vocab=257", "--run", tmp_path / "run"]
    said = ("mesh.tensor=2 does not divide the axis 'vocab' of", "use a size among 1, 257")
    refused(capsys, ["train", *EIGHT, *words], 2, *said, root=tmp_path)


LAYERS = {
    "length": (["model.pattern=3*mixer + attention"], "has 4 layers and does not fill", "layers=4"),
    "list": (['model.pattern=["mixer","mixer"]'], "lists 2 layers, model.layers is 1"),
    "unknown": (["model.pattern=softmx"], "'softmx' is no mixer; did you mean 'softmax'?"),
    "none": (["model.pattern="], "'' is not understood", "'3:1 block'"),
    "no names": (["model.pattern=[]"], "lists 0 layers, model.layers is 1; name every layer"),
    "no layers": (["model.layers=0"], "model.layers: found 0; allowed: a whole number > 0"),
    "heads": (
        ["model.attention.heads=5"],
        "5 does not divide the width 16; nearest that do: 4 or 8",
    ),
    "kv heads": (["model.attention.kv_heads=3"], "3 does not divide heads 2; nearest that do: 2"),
    "gla": (
        ["model.pattern=mixer", "model.mixer=gla(heads=3)"],
        "model.mixer.heads: 3 does not divide width * expand_k = 8; nearest that do: 2 or 4",
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_d24_patterns_that_do_not_fill_the_layers(tmp_path, capsys, no_plan, name):
    changes, *said = LAYERS[name]
    words = [word for word in TINY if word.partition("=")[0] not in (changes[0].partition("=")[0],)]
    words = ["train", *words, *changes, "--run", tmp_path / "run"]
    refused(capsys, words, 2, *said, root=tmp_path)


def test_d24_adapters_that_match_nothing_list_the_sites(tmp_path, capsys):
    """With adapters only they are trained: none would be left."""
    words = ["train", *TINY, 'adapters=lora(at="blocks/9/mixer/q")', "--run", tmp_path / "run"]
    said = ("matches no weight site", "blocks/N/mixer/q", "embed, unembed")
    refused(capsys, words, 2, *said, root=tmp_path)


@pytest.mark.parametrize("value", [1, 2, 3, 5, 6, 7, 12, 13, 100])
def test_nearest_divisors(value):
    by_hand = [n for n in range(1, 13) if 12 % n == 0]
    below = [n for n in by_hand if n <= value][-1:]
    above = [n for n in by_hand if n > value][:1]
    text = " or ".join(str(n) for n in below + above)
    assert nearest_divisors(value, 12) == f"; nearest that do: {text}"


def test_nearest_divisors_of_huge_sizes_end():
    assert nearest_divisors(10**9 + 7, 2**31 - 1) == ""
    with pytest.raises(ConfigError, match="does not divide the width 9007199254740991"):
        from jaxlin.config.override import override

        override(
            preset("tiny"), ["model.width=9007199254740991", "model.attention.heads=2147483647"]
        )
