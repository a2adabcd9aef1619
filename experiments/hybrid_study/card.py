"""The card of the tiny grid: scores and findings, from results/ alone.

python -m experiments.hybrid_study.card
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from experiments.cards import fill, pipe_table
from jaxlin.study.grid.cells import LOSS, Grid, grids
from jaxlin.study.grid.read import Study, read
from jaxlin.study.grid.sheets import Sheet
from jaxlin.study.grid.tables import by_ratio
from jaxlin.study.grid.verdicts import claims

RESULTS = Path(__file__).parent / "results"
CARD = RESULTS / "README.md"


def blocks(study: Study) -> dict[str, str]:
    """What the card shows of the results, by block."""
    found = grids(study)
    return {
        "runs": _runs(study),
        "scores": "\n\n".join(_table(by_ratio(grid, _main(grid))) for grid in found),
        "findings": "\n".join(_findings(found)),
    }


def _runs(study: Study) -> str:
    """How much is there, from which code, and the time of it."""
    lines = study.lines.values()
    hours = sum(line["seconds"] for line in lines) / 3600
    commits = {line["git"]["commit"][:10] for line in lines}
    return (
        f"{len(study.of('done'))} of {len(study.points)} runs are done, {hours:.2f} hours added "
        f"up; code of commit {', '.join(sorted(commits))}."
    )


def _main(grid: Grid) -> str:
    return LOSS if grid.language else grid.recall()[0]


def _table(sheet: Sheet) -> str:
    rows = [[sheet.shown(cell) for cell in row] for row in sheet.rows]
    return f"**{sheet.title}**\n\n{pipe_table(sheet.header, rows)}"


def _findings(found: list[Grid]) -> Iterable[str]:
    for claim in claims(found, None):
        for where, finding in claim.cases:
            yield f"- {claim.text} ({where}): **{finding.verdict}**. {finding.why}."


if __name__ == "__main__":
    CARD.write_text(fill(CARD.read_text(), blocks(read(RESULTS))))
    print(f"wrote {CARD}")
