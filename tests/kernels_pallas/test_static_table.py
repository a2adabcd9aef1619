"""The kept table of static costs: complete, as its data says, and what the compiler gives today."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import tpu_static
from kernels_pallas.call import Call
from kernels_pallas.static import CHIPS, Costs, KernelCost
from kernels_pallas.static.calls import Block
from tests.kernels_pallas.aot import aot

FILE = Path(__file__).parents[2] / "docs" / "tpu_static.json"


@pytest.fixture(scope="module")
def kept():
    return json.loads(FILE.read_text())


def test_every_kernel_stands_in_the_table(kept):
    wanted = {
        (chip, call.op, call.decay, call.k, direction)
        for chip, call in tpu_static.cases(tpu_static.parser().parse_args([]))
        for direction in ("forward", "backward")
    }
    assert {chip for chip, *_ in wanted} == set(CHIPS)
    assert wanted <= {tpu_static.identity(row) for row in kept["rows"]}


def test_the_page_shows_the_data(kept, monkeypatch):
    monkeypatch.setattr(tpu_static, "versions", lambda: kept["versions"])
    assert FILE.with_suffix(".md").read_text() == tpu_static.page(kept["rows"])


@aot
@pytest.mark.parametrize(
    ("op", "decay", "chip"),
    [
        ("linear_attention", "none", "v5e"),
        ("linear_attention", "head", "v6e"),
        ("linear_attention", "key", "v5e"),
        ("delta_rule", "head", "tpu7x"),
    ],
)
def test_kernels_cost_what_the_table_says(op, decay, chip, kept):
    if kept["versions"] != tpu_static.versions():
        pytest.skip(f"the table is of {kept['versions']}, here is {tpu_static.versions()}")
    call = Call(op, 1, 4096, 8, 128, 128, "bfloat16", decay, False)
    with Costs() as costs:
        found = tpu_static.count(costs, chip, call)
    known = {tpu_static.identity(row): row["bundles_per_token"] for row in kept["rows"]}
    for row in found:
        before = known[tpu_static.identity(row)]
        assert row["bundles_per_token"] == pytest.approx(before, rel=0.05), (
            f"{row['kernel']}: update the table: python benchmarks/tpu_static.py --op {op} "
            f"--decay {decay} --write docs/tpu_static.md"
        )


def test_the_kernels_are_as_cheap_as_they_were_meant_to_be(kept):
    """Bundles a token forward on v5e, and the backward pass at most 2.5 times as many."""
    rows = {tpu_static.identity(row): row for row in kept["rows"]}
    forward = lambda op, decay: rows["v5e", op, decay, 128, "forward"]  # noqa: E731
    assert forward("linear_attention", "key")["bundles_per_token"] < 3.6
    assert rows["v5e", "linear_attention", "key", 128, "backward"]["bundles_per_token"] < 8.5
    assert forward("delta_rule", "head")["bundles_per_token"] < 16
    for row in kept["rows"]:
        assert row["pass"] == "forward" or row["times_forward"] <= 2.5, row


def test_rows_of_the_same_versions_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(tpu_static, "versions", lambda: "jax 1, libtpu 2")
    file = tmp_path / "table.md"
    row = {name: None for name in ("kernel", "times_forward")} | {
        "chip": "v5e", "op": "delta_rule", "decay": "head", "width": 128, "pass": "forward",
        "step": [1, 4, 64, 128], "bundles": 256, "bundles_per_token": 1.0,
        "use": dict.fromkeys(("mxu", "valu", "xlu", "eup", "load", "store"), 0.5),
        "spills": 0, "vmem": 2048, "hbm_per_token": 3.0, "hbm_over_least": 1.0, "code": 1024,
    }  # fmt: skip
    tpu_static.write(file, [row, row | {"chip": "v6e"}])
    tpu_static.write(file, [row | {"bundles_per_token": 2.0}])
    rows = json.loads(file.with_suffix(".json").read_text())["rows"]
    assert [(r["chip"], r["bundles_per_token"]) for r in rows] == [("v5e", 2.0), ("v6e", 1.0)]
    assert "| delta_rule | head | 128 | forward | 4x64x128 | 2.00 |" in file.read_text()
    monkeypatch.setattr(tpu_static, "versions", lambda: "jax 1, libtpu 3")
    tpu_static.write(file, [row])
    assert len(json.loads(file.with_suffix(".json").read_text())["rows"]) == 1


def test_the_ratio_compares_the_same_number_of_tokens():
    def cost(heads):
        block = Block((1, heads, 64, 128), (1, 8, 512, 128), np.dtype("float32"), 1)
        return KernelCost("kernel", "v5e", 100, {}, 0, 0, 0, 1, 1, 0, (1,), (block,))

    call = Call("delta_rule", 1, 512, 8, 128, 128, "bfloat16", "none", False)
    first, second = tpu_static.rows_of("v5e", call, [cost(4), cost(2)])
    assert (first["bundles_per_token"], first["times_forward"]) == (0.39, None)
    assert (second["bundles_per_token"], second["times_forward"]) == (0.78, 2.0)
