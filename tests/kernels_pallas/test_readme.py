"""What the README of kernels_pallas says is so: its example runs, its table is the kept one."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "kernels_pallas" / "README.md").read_text(encoding="utf-8")
STATIC = json.loads((ROOT / "docs" / "tpu_static.json").read_text(encoding="utf-8"))


def test_the_example_runs(capsys: pytest.CaptureFixture) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert names["out"].shape == (2, 512, 4, 64) and names["state"].shape == (2, 4, 64, 64)
    assert "delta_rule: xla" in capsys.readouterr().out


OPS = {"linear attention": "linear_attention", "delta rule": "delta_rule"}
DECAYS = {"no decay": "none", "decay a head": "head", "decay a key": "key"}
ROWS = re.findall(r"^\| ([\w ]+), ([\w ]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", README, re.M)


@pytest.mark.parametrize("row", ROWS)
def test_the_counts_are_those_of_the_kept_table(row: tuple[str, ...]) -> None:
    op, decay, *figures = row
    kept = {
        one["pass"]: one
        for one in STATIC["rows"]
        if (one["chip"], one["width"]) == ("v5e", 128)
        and (one["op"], one["decay"]) == (OPS[op], DECAYS[decay])
    }
    wanted = [kept[way]["bundles_per_token"] for way in ("forward", "backward")]
    assert [float(x) for x in figures] == [*wanted, kept["backward"]["times_forward"]]


def test_there_are_counts() -> None:
    assert len(ROWS) == len(OPS) * len(DECAYS)
