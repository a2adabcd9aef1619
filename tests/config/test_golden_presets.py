"""The resolved config of every preset is a file here, so that a change of defaults shows.

After an intended change:  python tests/config/test_golden_presets.py
"""

import difflib
from dataclasses import replace
from pathlib import Path

import pytest

from jaxlin.config import names, preset, to_json

FOLDER = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", sorted(names()))
def test_preset_is_unchanged(name):
    file = FOLDER / f"{name}.json"
    golden = file.read_text() if file.exists() else ""
    changes = difference(golden, to_json(preset(name)), file.name)
    assert not changes, f"{changes}\nintended? python tests/config/test_golden_presets.py"


def test_a_changed_default_shows_as_its_line():
    golden = (FOLDER / "tiny.json").read_text()
    cfg = preset("tiny")
    changed = to_json(replace(cfg, optim=replace(cfg.optim, b2=0.99)))
    assert difference(golden, changed, "tiny.json").splitlines()[3:] == [
        '     "b1": 0.9,',
        '-    "b2": 0.95,',
        '+    "b2": 0.99,',
        '     "eps": 1e-08,',
    ]


def test_a_new_preset_without_a_golden_file_shows():
    assert '+  "name": "tiny",' in difference("", to_json(preset("tiny")), "tiny.json")


def test_no_golden_file_without_a_preset():
    assert {file.stem for file in FOLDER.glob("*.json")} == set(names())


def difference(golden: str, found: str, name: str) -> str:
    lines = difflib.unified_diff(
        golden.splitlines(), found.splitlines(), name, "now", n=1, lineterm=""
    )
    return "\n".join(lines)


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.json"):
        file.unlink()
    for name in names():
        (FOLDER / f"{name}.json").write_text(to_json(preset(name)))


if __name__ == "__main__":
    write()
