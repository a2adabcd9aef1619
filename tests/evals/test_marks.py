"""Shares of right answers, by label and as a map."""

import numpy as np

from jaxlin.evals.marks import Marks, breakdown, joined, summary

FOUND = Marks(
    np.array([1.0, 0.0, 1.0, 1.0, 1.0]),
    np.array([0, 0, 1, 1, 2]),
    {"depth": np.array([0, 50, 0, 50, 50]), "length": np.array([8, 8, 8, 8, 16])},
)


def test_accuracy_is_of_answers_and_exact_of_examples():
    found = summary(FOUND)
    assert found["accuracy"] == 0.8 and found["exact"] == 1 - 1 / 3
    assert found["examples"] == 3 and found["answers"] == 5 and "grid" not in found
    assert found["by"]["depth"] == {"0": 1.0, "50": 2 / 3}


def test_a_label_with_one_value_tells_nothing():
    assert "by" not in summary(FOUND._replace(labels={"pairs": np.full(5, 8)}))


def test_many_values_are_put_into_ranges():
    values = np.arange(1, 33)
    found = breakdown((values < 8).astype(float), values)
    assert found == {"0-1": 1, "2-3": 1, "4-7": 1, "8-15": 0, "16-31": 0, "32-63": 0}


def test_a_map_has_holes_where_nothing_was_asked():
    grid = summary(FOUND, ("depth", "length"))["grid"]
    assert grid == {
        "row": "depth",
        "column": "length",
        "rows": [0, 50],
        "columns": [8, 16],
        "values": [[1.0, None], [0.5, 1.0]],
    }


def test_examples_of_two_parts_are_different_ones():
    both = joined([FOUND, FOUND])
    assert both.example.tolist() == [0, 0, 1, 1, 2, 3, 3, 4, 4, 5]
    assert summary(both)["examples"] == 6
