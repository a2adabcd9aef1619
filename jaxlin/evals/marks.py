"""Marks of answers, summed up: shares of right ones, whole and by label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

EXACT = 12  # up to so many values of a label are told apart; more are put together in ranges


class Marks(NamedTuple):
    """One entry an answer: its mark in 0 ... 1, the example that it belongs to, its labels."""

    marks: Float[np.ndarray, " n"]
    example: Shaped[np.ndarray, " n"]
    labels: dict[str, Shaped[np.ndarray, " n"]]


def joined(parts: Sequence[Marks]) -> Marks:
    """All of them; examples of different parts are different ones."""
    starts = np.cumsum([0, *(1 + int(p.example.max(initial=-1)) for p in parts[:-1])])
    labels = {name: np.concatenate([p.labels[name] for p in parts]) for name in parts[0].labels}
    examples = [p.example + start for p, start in zip(parts, starts, strict=True)]
    return Marks(np.concatenate([p.marks for p in parts]), np.concatenate(examples), labels)


def summary(found: Marks, grid: tuple[str, str] | None = None) -> dict[str, Any]:
    """accuracy: mean mark of the answers. exact: share of examples whose answers are all right. by:
    label -> value or range -> accuracy; grid, where there is one: accuracy by row and column."""
    wrong = np.zeros(int(found.example.max()) + 1, bool)
    wrong[found.example[found.marks < 1]] = True
    asked = np.unique(found.example)
    result: dict[str, Any] = {
        "accuracy": float(found.marks.mean()),
        "exact": float(1 - wrong[asked].mean()),
        "examples": len(asked),
        "answers": len(found.marks),
    }
    by = {name: breakdown(found.marks, values) for name, values in found.labels.items()}
    by = {name: parts for name, parts in by.items() if len(parts) > 1}
    if by:
        result["by"] = by
    if grid is not None:
        result["grid"] = map_of(found, *grid)
    return result


def breakdown(marks: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Mean mark by value of a label, or by ranges 1, 2-3, 4-7, ... where there are many."""
    known = np.unique(values)
    if len(known) <= EXACT or known.dtype.kind not in "iu":
        return {str(value): float(marks[values == value].mean()) for value in known}
    powers = np.frexp(np.maximum(values, 1))[1] - 1
    ranges = {int(p): f"{2**p}-{2 ** (p + 1) - 1}" if p else "0-1" for p in np.unique(powers)}
    return {name: float(marks[powers == p].mean()) for p, name in ranges.items()}


def map_of(found: Marks, row: str, column: str) -> dict[str, Any]:
    """Mean mark by two labels; None where there is no answer."""
    rows, columns = (np.unique(found.labels[name]).tolist() for name in (row, column))
    cells = [[_cell(found, {row: r, column: c}) for c in columns] for r in rows]
    return {"row": row, "column": column, "rows": rows, "columns": columns, "values": cells}


def _cell(found: Marks, at: Mapping[str, Any]) -> float | None:
    here = np.all([found.labels[name] == value for name, value in at.items()], axis=0)
    return float(found.marks[here].mean()) if here.any() else None


def mean(scores: Iterable[float]) -> float:
    """The unweighted mean."""
    return float(np.mean([*scores]))
