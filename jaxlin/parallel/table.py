"""The parameter table: one row an array, as `jaxlin params` and the run directory show it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One parameter."""

    path: str
    shape: tuple[int, ...]
    axes: tuple[str | None, ...]  # logical
    dtype: str
    count: int
    bytes: int
    sharding: tuple[str | None, ...]  # mesh axes of each dimension; 'data+fsdp' for two
    optimizer: str  # the group that trains it, or 'frozen'
    decay: bool  # weight decay applies


def row(path: str, leaf: Any, axes: Iterable[str | None], spec: Iterable[Any], group: Any) -> Row:
    """The row of a leaf with shape and dtype; group (optimizer, decay) or None when frozen."""
    return Row(
        path=path,
        shape=tuple(leaf.shape),
        axes=tuple(axes),
        dtype=str(leaf.dtype),
        count=math.prod(leaf.shape),
        bytes=nbytes([leaf]),
        sharding=tuple("+".join(p) if isinstance(p, tuple) else p for p in spec),
        optimizer=group.optimizer if group else "frozen",
        decay=bool(group and group.decay),
    )


def totals(rows: Iterable[Row]) -> dict[str, int]:
    """Exact counts of all and of the trained parameters, and their bytes."""
    rows = list(rows)
    return {
        "parameters": sum(r.count for r in rows),
        "trained": sum(r.count for r in rows if r.optimizer != "frozen"),
        "bytes": sum(r.bytes for r in rows),
    }


def as_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """One dict a row."""
    return [asdict(r) for r in rows]


COLUMNS = ("path", "shape", "axes", "dtype", "count", "sharding", "optimizer", "decay")
RIGHT = ("count",)


def render(rows: Iterable[Row]) -> str:
    """The table as aligned text, with a line of column names."""
    cells: list[list[str]] = [list(COLUMNS)]
    cells += [[_cell(r, column) for column in COLUMNS] for r in rows]
    return align(cells, right=[COLUMNS.index(name) for name in RIGHT])


def align(cells: list[list[str]], right: Iterable[int] = ()) -> str:
    """Rows of cells as text in columns two blanks apart."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for line in cells:
        padded = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _cell(row: Row, column: str) -> str:
    value: Any = getattr(row, column)
    if column == "shape":
        return "x".join(map(str, value))
    if isinstance(value, tuple):
        return ",".join(name or "-" for name in value)
    if column == "count":
        return f"{value:,}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value


def nbytes(leaves: Iterable[Any]) -> int:
    """Bytes of arrays, given as arrays or shapes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def bytes_per_device(
    leaves: Mapping[str, Any], specs: Mapping[str, Iterable[Any]], mesh: Mapping[str, int]
) -> int:
    """What one device holds of these arrays."""
    total = 0
    for path, leaf in leaves.items():
        names = [n for p in specs[path] if p for n in (p if isinstance(p, tuple) else (p,))]
        shards = math.prod(mesh[name] for name in names)
        total += nbytes([leaf]) // shards
    return total
