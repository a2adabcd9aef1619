"""A table in three forms: on the page, as CSV, and in LaTeX with booktabs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from jaxlin.study.html import Markup, el, table
from jaxlin.study.scores import Score

DIGITS = 3
ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "×": r"$\times$",
    "→": r"$\to$", "ρ": r"$\rho$", "−": r"$-$", "≥": r"$\geq$", "–": "--", "·": r"$\cdot$",
}  # fmt: skip


@dataclass(frozen=True)
class Sheet:
    """Rows of texts, numbers, scores and gaps (None). `marked`: indices of rows that stand out."""

    id: str
    title: str
    note: str
    header: list[str]
    rows: list[list[Any]]
    marked: Iterable[int] = ()
    digits: int = DIGITS

    def html(self) -> Markup:
        """In a box that scrolls by itself."""
        rows = [[self.shown(cell) for cell in row] for row in self.rows]
        box = table(list(self.header), rows, self.marked)
        note = el("p", self.note, class_="note") if self.note else None
        return el("section", el("h3", self.title), note, box, class_="card", id=f"table-{self.id}")

    def csv(self) -> str:
        """All digits; a column of scores becomes three: mean, sd, n."""
        split = [any(isinstance(row[i], Score) for row in self.rows)
                 for i in range(len(self.header))]  # fmt: skip
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        head = ([f"{name} {part}".strip() for part in Score._fields] if s else [name]
                for name, s in zip(self.header, split, strict=True))  # fmt: skip
        writer.writerow(name for names in head for name in names)
        for row in self.rows:
            cells = (_three(cell) if s else [cell] for cell, s in zip(row, split, strict=True))
            writer.writerow(cell for part in cells for cell in part)
        return out.getvalue()

    def latex(self) -> str:
        """A table environment; it needs the package booktabs."""
        columns = "l" + "".join("r" if self._numbers(i) else "l" for i in range(1, self.width))
        lines = [self.header, *([self.shown(cell) for cell in row] for row in self.rows)]
        head, *body = (" & ".join(map(latex, line)) + r" \\" for line in lines)
        return "\n".join(
            [
                "% needs \\usepackage{booktabs}",
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{latex(self.title)}. {latex(self.note)}}}",
                rf"\label{{tab:{self.id}}}",
                rf"\begin{{tabular}}{{{columns}}}",
                r"\toprule",
                head,
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    @property
    def width(self) -> int:
        """Columns."""
        return len(self.header)

    def shown(self, cell: Any) -> str:
        """A cell as it is read: '0.831 ± 0.012 (3)' of a score."""
        if cell is None:
            return "–"
        if isinstance(cell, Score):
            spread = "" if cell.sd is None else f" ± {cell.sd:.{self.digits}f}"
            return f"{cell.mean:z.{self.digits}f}{spread} ({cell.n})"
        return f"{cell:z.{self.digits}f}" if isinstance(cell, float) else str(cell)

    def _numbers(self, column: int) -> bool:
        return not any(isinstance(row[column], str) for row in self.rows)


def latex(text: str) -> str:
    """Text that TeX takes as text."""
    return re.sub(r"\s+", " ", "".join(ESCAPES.get(letter, letter) for letter in text)).strip()


def _three(cell: Any) -> list[Any]:
    return list(cell) if isinstance(cell, Score) else [cell, None, None]
