"""The three findings for every grid of a study, and the same figures of the published tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from jaxlin.study.findings import (
    APPEARS,
    LOSS_RULE,
    NOT,
    RANK_RULE,
    RECALL_RULE,
    UNKNOWN,
    Finding,
    loss_hardly_moves,
    ranks_do_not_carry,
    recall_rises,
)
from jaxlin.study.grid.cells import LOSS, Grid, said, title
from jaxlin.study.grid.published import Published
from jaxlin.study.grid.sheets import Sheet
from jaxlin.study.grid.tables import slug
from jaxlin.study.scores import Values


@dataclass
class Claim:
    """A finding of the paper. `cases`: (where it was looked for, what was found)."""

    id: str
    text: str
    rule: str
    cases: list[tuple[str, Finding]] = field(default_factory=list)
    theirs: list[tuple[str, Finding]] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Of all cases; of cases that differ, how many say what."""
        found = [finding.verdict for _, finding in self.cases]
        if not found:
            return UNKNOWN
        if len(set(found)) == 1:
            return found[0]
        said = ((v, found.count(v)) for v in (APPEARS, NOT, UNKNOWN))
        return "; ".join(f"{v} in {n} of {len(found)}" for v, n in said if n)

    def sheets(self) -> Iterator[Sheet]:
        """The figures of each case."""
        for where, finding in self.cases:
            yield self._sheet(where, finding, f"{finding.verdict}: {finding.why}.".capitalize())
        for where, finding in self.theirs:
            note = "The same figures of the published table. One seed a cell has no spread, so "
            yield self._sheet(where, finding, note + "the rule gives no verdict.")

    def _sheet(self, where: str, finding: Finding, note: str) -> Sheet:
        id = slug("finding", self.id, where)
        return Sheet(id, where, note, finding.header, finding.rows)


def claims(grids: list[Grid], published: Published | None) -> list[Claim]:
    """What can be said of each."""
    found = [
        Claim("recall", "Recall rises with the share of softmax layers", RECALL_RULE),
        Claim("loss", "The language loss hardly moves over the ratios", LOSS_RULE),
        Claim("ranks", "Ranks of pure models do not predict ranks in hybrids", RANK_RULE),
    ]
    for grid in grids:
        for claim, metric, finding in _ours(grid):
            found[claim].cases.append((f"{title(metric)}, {grid.title}", finding))
    if published:
        for claim, where, finding in _theirs(published):
            found[claim].theirs.append((where, finding))
    return found


def _ours(grid: Grid) -> Iterator[tuple[int, str, Finding]]:
    recall, shares = grid.recall(), grid.shares()
    for metric in recall:
        values = grid.values(metric, shared=True)
        yield 0, metric, recall_rises(values, _shares(values, shares))
    language = [LOSS] if grid.language and LOSS in grid.metrics() else []
    for metric in language:
        yield 1, metric, loss_hardly_moves(grid.values(metric, shared=True))
    for metric in [*language, *recall]:
        yield 2, metric, ranks_do_not_carry(grid.values(metric, shared=True))


def _theirs(published: Published) -> Iterator[tuple[int, str, Finding]]:
    for table in published.tables:
        if not table.measures:
            continue
        values = published.values(table)
        where = f"{table.title} ({table.source})"
        if table.measures == "recall":
            yield 0, where, recall_rises(values, _shares(values, {}))
        else:
            yield 1, where, loss_hardly_moves(values)  # the range of a score in place of a loss
        yield 2, where, ranks_do_not_carry(values)


def _shares(values: Values, built: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """As built, and as the ratio says where nothing was built."""
    return {
        mixer: {ratio: built.get(mixer, {}).get(ratio, said(ratio)) for ratio in cells}
        for mixer, cells in values.items()
    }
