"""The resolved config of every preset is a file here, so that a change of defaults shows.

After an intended change:  python tests/config/test_golden_presets.py
"""

import difflib
from pathlib import Path

import pytest

from jaxlin.config import names, preset, to_json

FOLDER = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", sorted(names()))
def test_preset_is_unchanged(name):
    file = FOLDER / f"{name}.json"
    golden = file.read_text() if file.exists() else ""
    found = to_json(preset(name))
    lines = difflib.unified_diff(golden.splitlines(), found.splitlines(), file.name, "now", n=1)
    changes = "\n".join(lines)
    assert not changes, f"{changes}\nintended? python tests/config/test_golden_presets.py"


def test_no_golden_file_without_a_preset():
    assert {file.stem for file in FOLDER.glob("*.json")} == set(names())


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.json"):
        file.unlink()
    for name in names():
        (FOLDER / f"{name}.json").write_text(to_json(preset(name)))


if __name__ == "__main__":
    write()
