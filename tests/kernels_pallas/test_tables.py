"""Tables of block sizes: what is written is found, and what is wrong is named."""

import json
from pathlib import Path

import pytest

from kernels_pallas import tables
from kernels_pallas.call import Call
from kernels_pallas.chip import Chip

CALL = Call("linear_attention", 2, 100, 4, 128, 64, "bfloat16", "key", False)
CHIP = Chip("tpu", "TPU v5 lite")
KEY = "pallas_tpu linear_attention key 128x64 bfloat16"


def test_what_is_written_is_found(tmp_path: Path) -> None:
    other = CALL._replace(decay="head")
    assert tables.lookup("pallas_tpu", CALL, CHIP, tmp_path) is None
    path = tables.write(CHIP, "pallas_tpu", {CALL: {"chunk_size": 32}, other: {"h": 1}}, tmp_path)
    tables.write(CHIP, "pallas_tpu", {CALL: {"chunk_size": 64, "heads": 4}}, tmp_path)
    assert path == tmp_path / "tpu_v5_lite.json"
    found = tables.lookup("pallas_tpu", CALL._replace(t=7, h=1, dtype="float16"), CHIP, tmp_path)
    assert found == {"chunk_size": 64, "heads": 4}
    assert tables.lookup("pallas_tpu", other, CHIP, tmp_path) == {"h": 1}


@pytest.mark.parametrize(
    "change", ({"op": "delta_rule"}, {"decay": "none"}, {"k": 64}, {"v": 128}, {"dtype": "float32"})
)
def test_another_call_has_another_row(change: dict, tmp_path: Path) -> None:
    tables.write(CHIP, "pallas_tpu", {CALL: {"chunk_size": 64}}, tmp_path)
    assert tables.lookup("pallas_tpu", CALL._replace(**change), CHIP, tmp_path) is None
    assert tables.lookup("pallas_gpu", CALL, CHIP, tmp_path) is None
    assert tables.lookup("pallas_tpu", CALL, Chip("tpu", "TPU v6 lite"), tmp_path) is None


def test_a_found_row_is_the_callers_own(tmp_path: Path) -> None:
    tables.write(CHIP, "pallas_tpu", {CALL: {"chunk_size": 64}}, tmp_path)
    found = tables.lookup("pallas_tpu", CALL, CHIP, tmp_path)
    assert found is not None
    found["chunk_size"] = 1
    assert tables.lookup("pallas_tpu", CALL, CHIP, tmp_path) == {"chunk_size": 64}


MALFORMED = {
    "no JSON": ("{", "is no JSON"),
    "a list": ("[]", 'wanted an object with the fields "device" and "blocks"'),
    "another device": ({"device": "TPU v4", "blocks": {}}, "of the device 'TPU v4'"),
    "no blocks": ({"device": CHIP.kind, "blocks": 3}, '"blocks" is no object'),
    "a key": ({"device": CHIP.kind, "blocks": {"x": {"a": 1}}}, "'x' is no key such as"),
    "text": ({"device": CHIP.kind, "blocks": {KEY: "64"}}, "wanted whole numbers above 0"),
    "zero": ({"device": CHIP.kind, "blocks": {KEY: {"chunk_size": 0}}}, "above 0, by name"),
    "a fraction": ({"device": CHIP.kind, "blocks": {KEY: {"chunk_size": 1.5}}}, "whole numbers"),
    "nothing": ({"device": CHIP.kind, "blocks": {KEY: {}}}, "above 0, by name"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_table_is_named(name: str, tmp_path: Path) -> None:
    content, message = MALFORMED[name]
    path = tmp_path / "tpu_v5_lite.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=message) as caught:
        tables.lookup("pallas_tpu", CALL, CHIP, tmp_path)
    assert str(path) in str(caught.value)


def test_nothing_malformed_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="above 0"):
        tables.write(CHIP, "pallas_tpu", {CALL: {"chunk_size": 0}}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_shipped_tables_are_well_formed() -> None:
    shipped = list(tables.FOLDER.glob("*.json"))
    assert shipped
    for path in shipped:
        kind = json.loads(path.read_text())["device"]
        assert tables.path_of(Chip("", kind)) == path
        tables.lookup("pallas_tpu", CALL, Chip("", kind))
