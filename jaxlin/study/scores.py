"""Means of runs that differ in their seed, with their spread, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import StatisticsError, correlation, fmean, stdev
from typing import NamedTuple

Values = Mapping[str, Mapping[str, Sequence[float]]]  # mixer -> ratio -> one number a seed


class Score(NamedTuple):
    """Of the runs of a cell. `sd`: standard deviation over seeds (n - 1); None of one run."""

    mean: float
    sd: float | None
    n: int


def score(values: Sequence[float]) -> Score | None:
    """None without values."""
    if not values:
        return None
    return Score(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def pooled(cells: Iterable[Sequence[float]]) -> float | None:
    """Standard deviation of one run, from all cells with at least two: sqrt(sum (n-1) sd^2 / sum
    (n-1)). None if there are none."""
    several = [cell for cell in cells if len(cell) > 1]
    freedom = sum(len(cell) - 1 for cell in several)
    if not freedom:
        return None
    return math.sqrt(sum((len(cell) - 1) * stdev(cell) ** 2 for cell in several) / freedom)


def error(sd: float, a: Sequence[float], b: Sequence[float]) -> float:
    """Standard error of the difference of two means, sd of one run: sd sqrt(1/n_a + 1/n_b)."""
    return sd * math.sqrt(1 / len(a) + 1 / len(b))


def spearman(x: Sequence[int | float], y: Sequence[int | float]) -> float | None:
    """Rank correlation; ties have their mean rank. None where one of them does not vary."""
    try:
        return correlation(x, y, method="ranked")
    except StatisticsError:
        return None


def ranks(values: Mapping[str, float], higher: bool) -> dict[str, int]:
    """1 for the best; equal values have the same, better one."""
    signed = {name: value if higher else -value for name, value in values.items()}
    return {name: 1 + sum(o > value for o in signed.values()) for name, value in signed.items()}
