"""Small tables: drawn on a terminal, aligned text elsewhere. And a counter while one waits."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator


def show(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Prints a table; all columns but the first are aligned to the right."""
    if sys.stdout.isatty():
        _draw(title, header, rows)
        return
    from jaxlin.parallel.table import align

    print(title)
    print(align([header, *rows], right=range(1, len(header))))
    print()


def _draw(title: str, header: list[str], rows: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def counted[T](items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """The items, with a live line on a terminal that counts them."""
    live = sys.stderr.isatty()
    for done, item in enumerate(items, 1):
        yield item
        if live:
            of = f"/{total}" if total else ""
            print(f"\r\x1b[K{what} {done}{of}", end="", file=sys.stderr, flush=True)
    if live:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
