"""`jaxlin config` and `jaxlin presets`."""

import json

from jaxlin.cli.main import main
from jaxlin.config import from_json, names, preset, to_json
from jaxlin.config.override import override

LAYERS = "layers: 0-2 gated_deltanet, 3 softmax\n"


def test_config_goes_to_stdout_and_the_difference_to_stderr(capsys):
    assert main(["config", "tiny", "model.mixer=gla(heads=2)", "optim.lr=1e-3"]) == 0
    shown = capsys.readouterr()
    wanted = override(preset("tiny"), ["model.mixer=gla(heads=2)", "optim.lr=1e-3"])
    assert from_json(shown.out, "stdout") == wanted
    assert shown.err.splitlines() == [
        "layers: 0-2 gla, 3 softmax",
        "differs from preset tiny in",
        "  model.mixer=gla(heads=2)  (was gated_deltanet(heads=2, head_dim=8))",
        "  optim.lr=0.001  (was 0.003)",
    ]


def test_config_without_overrides(capsys):
    assert main(["config", "tiny"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (to_json(preset("tiny")), f"{LAYERS}the same as preset tiny\n")


def test_config_of_a_file(capsys, tmp_path):
    file = tmp_path / "config.json"
    file.write_text(to_json(preset("tiny")))
    assert main(["config", "steps=30", "--config", str(file), "batch=2"]) == 0
    shown = capsys.readouterr()
    assert from_json(shown.out, "x") == override(preset("tiny"), ["steps=30", "batch=2"])
    assert shown.err.startswith(f"{LAYERS}differs from {file} in\n  steps=30  (was 20)\n")


def test_one_preset_or_one_file(capsys, tmp_path):
    for words in ([], ["tiny", "quickstart"], ["tiny", "--config", "x.json"], ["steps=3"]):
        assert main(["config", *words]) == 2
        assert "give one preset or --config FILE, found " in capsys.readouterr().err


def test_schema(capsys):
    assert main(["config", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["required"] == ["name"]


def test_presets(capsys):
    assert main(["presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(names())
    assert all(line.endswith(names()[line.split()[0]]) for line in lines)
