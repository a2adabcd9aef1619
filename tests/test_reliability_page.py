"""docs/reliability.md: every fault has a row, and every test that it names exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from jaxlin.cli.main import EXIT_CODES

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
FAULTS = {int(number): cell for number, _, cell in ROW.findall(PAGE.partition("## The faults")[2])}


@cache
def functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def missing(cell: str) -> list[str]:
    """The tests named in a cell that do not exist."""
    named = re.findall(r"`([^`]+)::([^`]+)`", cell)
    return [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or name not in functions(ROOT / path)
    ]


def test_every_fault_has_a_row():
    assert sorted(FAULTS) == list(range(1, 45))


@pytest.mark.parametrize("number", sorted(FAULTS))
def test_the_tests_of_a_fault_exist(number):
    assert missing(FAULTS[number]) == []


@pytest.mark.parametrize("number", sorted(FAULTS))
def test_a_fault_without_a_test_has_a_reason(number):
    cell = FAULTS[number]
    assert "::" in cell or len(cell) > 20


def test_what_is_missing_would_be_noticed():
    own = "tests/test_reliability_page.py"
    assert missing(f"`{own}::test_every_fault_has_a_row`") == []
    assert missing(f"`{own}::test_none` `tests/none.py::test_x`") == [
        f"{own}::test_none",
        "tests/none.py::test_x",
    ]


def test_exit_codes_are_those_of_the_help():
    codes = re.findall(r"^  (\d+) ", EXIT_CODES, re.MULTILINE)
    assert re.findall(r"^\| (\d+) \|", PAGE.partition("## The faults")[0], re.M) == codes
