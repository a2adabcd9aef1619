"""The mean of RULER gives the averages of a published table."""

import pytest

from jaxlin.config.tasks.ruler import SUBTASKS
from jaxlin.evals.ruler import COLUMNS, aggregate, average, grouped, overall

# Hybrid study (arXiv 2507.06457), table 6: multikey, multiquery, multivalue, single, CWE+FWE, QA,
# VT, and the printed average. The Transformer's is printed as .423; its own columns give .390.
TABLE_6 = {
    "DeltaNet 3:1": (0.349, 0.471, 0.361, 0.791, 0.155, 0.391, 0.191, 0.426),
    "GLA 3:1": (0.313, 0.220, 0.196, 0.784, 0.063, 0.342, 0.234, 0.365),
    "GatedDeltaNet 3:1": (0.293, 0.542, 0.502, 0.875, 0.271, 0.300, 0.024, 0.440),
    "HGRN-2 6:1": (0.358, 0.509, 0.507, 0.660, 0.412, 0.364, 0.014, 0.434),
    "Transformer": (0.332, 0.464, 0.472, 0.559, 0.284, 0.412, 0.066, 0.390),
}
ORDER = ("multikey", "multiquery", "multivalue", "single", "cwe_fwe", "qa", "vt")


@pytest.mark.parametrize("row", TABLE_6.values(), ids=TABLE_6)
def test_published_averages(row):
    assert aggregate(dict(zip(ORDER, row[:-1], strict=True))) == pytest.approx(row[-1], abs=1e-3)


def test_columns_and_subtasks_have_one_mean():
    scores = {name: i / 13 for i, name in enumerate(SUBTASKS)}
    assert sum(COLUMNS.values()) == len(SUBTASKS) == 13
    assert aggregate(grouped(scores)) == pytest.approx(average(scores))


def test_all_thirteen_are_needed():
    scores = dict.fromkeys(SUBTASKS[1:], 0.5)
    with pytest.raises(ValueError, match="niah_single_1"):
        average(scores)
    with pytest.raises(ValueError, match="VT"):
        aggregate(dict.fromkeys([*ORDER[:-1], "VT"], 0.5))


def test_the_mean_is_a_record_of_its_own():
    records = [
        {"task": f"ruler_{name}", "accuracy": i / 12, "exact": 0.0, "examples": 2, "length": 64}
        for i, name in enumerate(SUBTASKS)
    ]
    found = overall(records)
    assert found is not None and found["task"] == "ruler" and found["accuracy"] == 0.5
    assert found["by"]["group"]["qa"] == pytest.approx(11.5 / 12)
    assert overall(records[1:]) is None
