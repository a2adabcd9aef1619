"""Ours beside theirs: the order of mixers at each ratio, and what each mixer gains by softmax.

Models of other sizes, data and tasks have other numbers, so numbers are compared only where the
published table says which of our metrics and scales mean the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from jaxlin.study.findings import FULL, PURE
from jaxlin.study.grid.cells import Grid, higher
from jaxlin.study.grid.published import Published, Table
from jaxlin.study.scores import Values, error, pooled, ranks, score

SAME, NOISE, OTHER = "same", "other, within our spread", "other"


@dataclass(frozen=True)
class Pair:
    """A table of theirs and a metric of ours. `comparable`: the numbers mean the same."""

    theirs: Table
    grid: Grid
    metric: str
    their_values: Values
    our_values: Values
    comparable: bool

    @property
    def better(self) -> float:
        """What turns our differences so that more is better."""
        return 1.0 if higher(self.metric) else -1.0


def pairs(published: Published, grids: list[Grid]) -> Iterator[Pair]:
    """Every table of ratios by mixers with every metric of ours that measures the like."""
    for grid in grids:
        language = [m for m in grid.metrics() if grid.language and m == "eval.loss"]
        for measures, metrics in (("language", language), ("recall", grid.recall())):
            for table in published.of(measures):
                for metric in metrics:
                    same = table.same_as is not None and (
                        metric in table.same_as.metrics
                        and str(grid.labels.get("scale")) in table.same_as.scales
                    )
                    ours = grid.values(metric, shared=True)
                    yield Pair(table, grid, metric, published.values(table), ours, same)


def orders(pair: Pair) -> list[list[Any]]:
    """Ratio, mixer, our score, our rank, their number, their rank, whether the order differs, and
    our number less theirs if they are comparable. Ranks are among the mixers that both have."""
    rows = []
    for ratio in dict.fromkeys(r for cells in pair.our_values.values() for r in cells):
        if ratio == FULL:
            continue  # one model, not an order of mixers
        ours, theirs = (_at(v, ratio) for v in (pair.our_values, pair.their_values))
        both = [mixer for mixer in ours if mixer in theirs]
        if len(both) < 2:
            continue
        mine = ranks({m: fmean(ours[m]) for m in both}, pair.better > 0)
        their = ranks({m: theirs[m][0] for m in both}, pair.theirs.higher_is_better)
        for m in both:
            rows.append(
                [ratio, m, score(ours[m]), mine[m], theirs[m][0], their[m], _order(pair, ratio, m)]
            )
            rows[-1].append(fmean(ours[m]) - theirs[m][0] if pair.comparable else None)
    return rows


def trends(pair: Pair) -> list[list[Any]]:
    """Mixer, ratio, what it gains over pure with us (with twice its error) and with them, and
    whether the direction differs. A gain is positive where the hybrid is better."""
    rows = []
    sign = 1.0 if pair.theirs.higher_is_better else -1.0
    for mixer, cells in pair.our_values.items():
        theirs = pair.their_values.get(mixer, {})
        for ratio, runs in cells.items():
            if (
                ratio == PURE
                or not (runs and cells.get(PURE))
                or not {ratio, PURE} <= theirs.keys()
            ):
                continue
            gain = pair.better * (fmean(runs) - fmean(cells[PURE]))
            sd = pooled(cells.values())
            reach = None if sd is None else 2 * error(sd, runs, cells[PURE])
            their = sign * (theirs[ratio][0] - theirs[PURE][0])
            rows.append([mixer, ratio, gain, reach, their, _direction(gain, reach, their)])
    return rows


def _at(values: Values, ratio: str) -> dict[str, Any]:
    return {mixer: cells[ratio] for mixer, cells in values.items() if cells.get(ratio)}


def _order(pair: Pair, ratio: str, mixer: str) -> str:
    """Whether another mixer stands on the other side of this one with us than with them."""
    ours, theirs = (_at(v, ratio) for v in (pair.our_values, pair.their_values))
    sign = pair.better if pair.theirs.higher_is_better else -pair.better
    sd, found = pooled(ours.values()), SAME
    for a, b in combinations([m for m in ours if m in theirs], 2):
        mine, their = fmean(ours[a]) - fmean(ours[b]), theirs[a][0] - theirs[b][0]
        if mixer not in (a, b) or sign * mine * their >= 0:
            continue
        if sd is not None and abs(mine) > 2 * error(sd, ours[a], ours[b]):
            return OTHER
        found = NOISE
    return found


def _direction(gain: float, reach: float | None, their: float) -> str:
    if gain * their >= 0:
        return SAME
    return OTHER if reach is not None and abs(gain) > reach else NOISE
