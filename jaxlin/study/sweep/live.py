"""The table of a sweep while it goes on: drawn again and again on a terminal, lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jaxlin.parallel.table import align
from jaxlin.study.sweep.queue import STATES
from jaxlin.study.sweep.status import Now, Overview, rows

EVERY = 2.0  # seconds between two looks, on a terminal
QUIET = 60.0  # and elsewhere
RIGHT = len(STATES) + 3  # columns of numbers, the last ones


class Live:
    """`look` gives the overview. `say` prints a line above the table, `tick` renews the table when
    it is time to."""

    def __init__(self, look: Callable[[], Overview], clock: Callable[[], float] = time.monotonic):
        self._look, self._clock, self._last = look, clock, float("-inf")
        self._drawn: Any = None

    @contextmanager
    def open(self) -> Iterator[Live]:
        """Draws while it is open."""
        if not sys.stderr.isatty():
            self._last = self._clock()
            yield self
            return
        from rich.console import Console
        from rich.live import Live as Drawn

        with Drawn(console=Console(stderr=True), auto_refresh=False) as self._drawn:
            try:
                yield self
                self._draw()
            finally:
                self._drawn = None

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._drawn is not None:
            self._drawn.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def tick(self) -> None:
        """Cheap, for every round."""
        if self._clock() - self._last < (QUIET if self._drawn is None else EVERY):
            return
        self._last = self._clock()
        if self._drawn is None:
            found = self._look()
            print(found.headline(), file=sys.stderr, flush=True)
            for now in found.points:
                if now.state == "running" and now.loss is not None:
                    at = f"step {now.step}/{now.point.cfg.steps}  loss {now.loss:.4f}"
                    print(f"  {now.point.id}  {at}", file=sys.stderr, flush=True)
            return
        self._draw()

    def _draw(self) -> None:
        found = self._look()
        height = max(5, shutil.get_terminal_size().lines - 6)
        self._drawn.update(drawn(found, height), refresh=True)


def drawn(found: Overview, height: int) -> Any:
    """The table for a terminal of so many lines: cells where nothing happens go first."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    header, *lines = rows(chosen(found.points, height))
    left_out = len(rows(found.points)) - 1 - len(lines)
    more = f" ({left_out} more cells are not shown)" if left_out else ""
    title = Text(found.headline() + more, "bold")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i >= len(header) - RIGHT else "left")
    for line in lines:
        table.add_row(*map(Text, line))
    return table


def chosen(points: list[Now], most: int) -> list[Now]:
    """The points of at most so many cells: those with running or failed ones before the others."""
    from jaxlin.study.sweep.status import cell

    cells: dict[Any, list[Now]] = {}
    for now in points:
        cells.setdefault(cell(now.point), []).append(now)
    busy = [
        key for key, nows in cells.items() if any(n.state in ("running", "failed") for n in nows)
    ]
    kept = set([*busy, *(key for key in cells if key not in busy)][:most])
    return [now for now in points if cell(now.point) in kept]


def plain(found: Overview) -> str:
    """The whole table as text."""
    cells = rows(found.points)
    width = len(cells[0])
    return f"{found.headline()}\n{align(cells, right=range(width - RIGHT, width))}"
