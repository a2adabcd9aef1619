"""Presets are found, named after their function, and documented."""

import sys
import types

import pytest

import configs
from jaxlin.config import ConfigError, RunConfig, names, preset, presets
from jaxlin.config.plain import plain


@pytest.mark.parametrize("name", sorted(names()))
def test_a_preset_has_its_own_name_and_a_line_and_a_command(name):
    function = presets._functions()[name]
    assert preset(name).name == name
    assert names()[name].endswith(".") and len(names()[name]) <= 100
    assert "Command: " in function.__doc__ and name in function.__doc__


def test_the_nearest_preset_is_named():
    with pytest.raises(ConfigError, match="'tinny' is no preset; did you mean 'tiny'"):
        preset("tinny")


def test_only_public_functions_that_return_a_run_are_presets():
    module = types.ModuleType("mine")

    def yes() -> RunConfig: ...
    def no() -> int: ...
    def _private() -> RunConfig: ...

    for function in (yes, no, _private):
        function.__module__ = "mine"
        setattr(module, function.__name__, function)
    module.imported = preset
    assert list(presets._presets(module)) == ["yes"]


def test_a_wrong_preset_is_refused_by_name(monkeypatch, tmp_path):
    (tmp_path / "broken.py").write_text(
        "from jaxlin.config.run import RunConfig\n"
        "def broken() -> RunConfig:\n    return RunConfig(name='broken', steps=-1)\n"
        "def tiny() -> RunConfig:\n    return RunConfig(name='tiny')\n"
    )
    monkeypatch.setattr(configs, "__path__", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "configs.broken", raising=False)
    with pytest.raises(ConfigError, match="preset broken: steps: found -1"):
        preset("broken")
    monkeypatch.setattr(configs, "__path__", [str(tmp_path), *_real_path()])
    with pytest.raises(ConfigError, match="preset 'tiny' is in configs"):
        names()


def _real_path():
    return [configs.__file__.rpartition("/")[0]]


def test_sizes_of_the_hybrid_study():
    # Key and value widths of the study's layer table.
    for name, width in (("gated_deltanet_340m", 1024), ("gated_deltanet_1b3", 2048)):
        model = preset(name).model
        assert model.mixer.heads * model.mixer.head_dim == 0.75 * width == 0.75 * model.width
        assert plain(model)["layers"] == 21


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("transformer_340m", 20e9),
        ("gla_1b3", 100e9),
        ("gla_paper_340m", 15e9),
        ("gla_paper_1b3", 100e9),
        ("gdn_paper_400m", 15e9),
        ("gdn_paper_1b3", 100e9),
    ],
)
def test_token_budget(name, tokens):
    cfg = preset(name)
    per_step = cfg.batch * cfg.context
    assert 0 <= cfg.steps * per_step - tokens < per_step
