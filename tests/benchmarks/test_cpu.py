"""The CPU benchmark on tiny shapes: every form is checked, absent peers are named."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.scripts import run

pytestmark = pytest.mark.slow

TINY = "--ops gated_delta --width 8 --heads 2 --lengths 48 --rounds 2 --tokens 128 --sweep 64 128"


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    out: Path = tmp_path_factory.mktemp("cpu") / "out.json"
    return run("cpu.py", out, *TINY.split())


def test_forms(ended: tuple[dict[str, Any], str]) -> None:
    found, printed = ended
    forms = {row["form"]: row for row in found["rows"]}
    assert {"xla", "reference", "softmax XLA"} <= set(forms)
    assert forms["xla"]["both_to_ours"] == 1
    assert all(row["forward_ms"] > 0 and row["both_ms"] > 0 for row in found["rows"])
    verdicts = {check["form"]: check["verdict"] for check in found["checks"]}
    if importlib.util.find_spec("torch") is None:
        assert "absent: No module named 'torch'" in verdicts["torch SDPA"]
        assert "absent" in verdicts["transformers"] and "transformers" not in forms
    assert "absent" in printed or {"torch SDPA", "transformers"} <= set(forms)


def test_memory_grows_no_faster_than_tokens(ended: tuple[dict[str, Any], str]) -> None:
    """Twice the tokens, at most twice the memory; and never less than inputs and outputs."""
    short, long = ended[0]["lengths"]
    assert (short["b"], short["t"], long["b"], long["t"]) == (2, 64, 1, 128)
    assert long["peak_bytes_b1"] <= 2 * short["peak_bytes_b1"]
    assert all(row["peak_bytes"] >= row["ends_bytes"] for row in (short, long))
