"""The mean over the thirteen subtasks of RULER."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jaxlin.config.tasks.ruler import SUBTASKS

# Columns of published tables: each is a mean over so many subtasks.
COLUMNS = {
    "single": 3,
    "multikey": 3,
    "multiquery": 1,
    "multivalue": 1,
    "vt": 1,
    "cwe_fwe": 2,
    "qa": 2,
}


def average(scores: Mapping[str, float]) -> float:
    """The unweighted mean over all thirteen. Raises ValueError where one is missing or unknown."""
    if scores.keys() != set(SUBTASKS):
        wrong = sorted(scores.keys() ^ set(SUBTASKS))
        raise ValueError(f"the mean is over the thirteen subtasks; missing or unknown: {wrong}")
    return sum(scores.values()) / len(SUBTASKS)


def aggregate(columns: Mapping[str, float]) -> float:
    """The same from grouped columns, each weighed by its number of subtasks.

    (3 single + 3 multikey + multiquery + multivalue + vt + 2 cwe_fwe + 2 qa) / 13. Source: table 6
    of "A Systematic Analysis of Hybrid Linear Attention" (arXiv 2507.06457), whose averages this
    gives. Raises ValueError where a column is missing or unknown.
    """
    if columns.keys() != COLUMNS.keys():
        wrong = sorted(columns.keys() ^ COLUMNS.keys())
        raise ValueError(f"columns are {', '.join(COLUMNS)}; missing or unknown: {wrong}")
    return sum(COLUMNS[name] * value for name, value in columns.items()) / len(SUBTASKS)


def grouped(scores: Mapping[str, float]) -> dict[str, float]:
    """The columns of the thirteen scores."""
    groups = {
        "single": ("niah_single_1", "niah_single_2", "niah_single_3"),
        "multikey": ("niah_multikey_1", "niah_multikey_2", "niah_multikey_3"),
        "multiquery": ("niah_multiquery",),
        "multivalue": ("niah_multivalue",),
        "vt": ("vt",),
        "cwe_fwe": ("cwe", "fwe"),
        "qa": ("qa_1", "qa_2"),
    }
    return {name: sum(scores[s] for s in part) / len(part) for name, part in groups.items()}


def overall(records: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The record of the mean, if all thirteen subtasks were scored (at one length)."""
    found = {r["task"].removeprefix("ruler_"): r for r in records if r["task"].startswith("ruler_")}
    if found.keys() != set(SUBTASKS) or len({r.get("length") for r in found.values()}) > 1:
        return None
    scores = {name: float(record["accuracy"]) for name, record in found.items()}
    exact = {name: float(record["exact"]) for name, record in found.items()}
    return {
        "task": "ruler",
        "accuracy": average(scores),
        "exact": average(exact),
        "examples": sum(record["examples"] for record in found.values()),
        "by": {"group": grouped(scores)},
        "length": found["vt"]["length"],
    }
