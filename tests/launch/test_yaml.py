"""What is written as YAML is read as the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxlin.launch import yaml

library = pytest.importorskip("yaml")
printable = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")))
keys = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1)
scalars = st.one_of(printable, st.integers(), st.booleans())
values = st.recursive(
    scalars, lambda below: st.one_of(st.lists(below), st.dictionaries(keys, below)), max_leaves=12
)


@settings(deadline=None)
@given(st.dictionaries(keys, values, min_size=1))
def test_read_back(value):
    assert library.safe_load(yaml.dump(value)) == value


def test_several_lines_are_a_block():
    text = "if true; then\n  echo 'a: b' # c\n\nfi"
    dumped = yaml.dump({"run": text, "list": [{"a": text, "b": 1}, [1, [2]]]})
    assert "\n  echo" in dumped or "  echo" in dumped
    read = library.safe_load(dumped)
    assert read["run"].rstrip("\n") == text
    assert read["list"][0]["a"].rstrip("\n") == text and read["list"][1] == [1, [2]]
