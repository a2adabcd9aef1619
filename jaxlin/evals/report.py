"""The figures of an evaluation as rows of a table, each beside what it is divided by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

FIGURES = (  # name, key, unit, denominator
    ("loss per token", "loss", "nats", "tokens"),
    ("bits per byte", "bits_per_byte", "bits", "bytes"),
    ("loss per word", "loss_per_word", "nats", "words"),
)


def figure_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Name, value with unit, denominator; a figure that is not known is left out."""
    return [
        [name, f"{result[key]:.4f} {unit}", f"{result[over]:,} {over}"]
        for name, key, unit, over in FIGURES
        if result[key] is not None
    ]


def position_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Range of context lengths, loss, number of targets."""
    return [
        [_range(part["first"], part["last"]), f"{part['loss']:.4f}", f"{part['tokens']:,}"]
        for part in result["by_position"]
    ]


def comparison_rows(model: str, bits: float, others: Mapping[str, float]) -> list[list[str]]:
    """The model and what it has to beat: bits per byte and ratio to 8 bits, best first."""
    all_of_them = sorted({model: bits, **others}.items(), key=lambda item: item[1])
    return [[name, f"{value:.3f}", f"{value / 8:.1%}"] for name, value in all_of_them]


def _range(first: int, last: int) -> str:
    return f"{first:,}" if first == last else f"{first:,}-{last:,}"


def task_rows(records: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Name, length, accuracy, share of examples that are all right, number of examples."""
    return [
        [
            record["task"],
            ", ".join(f"{n:,}" for n in record.get("lengths", [record.get("length", 0)])),
            f"{record['accuracy']:.4f}",
            f"{record['exact']:.4f}",
            f"{record['examples']:,}",
        ]
        for record in records
    ]


def breakdown_rows(parts: Mapping[str, float]) -> list[list[str]]:
    """Value of the label, accuracy."""
    return [[value, f"{accuracy:.4f}"] for value, accuracy in parts.items()]


def grid_rows(grid: Mapping[str, Any]) -> list[list[str]]:
    """A map of scores as numbers; '-' where nothing was asked."""
    return [
        [str(name), *("-" if v is None else f"{v:.2f}" for v in values)]
        for name, values in zip(grid["rows"], grid["values"], strict=True)
    ]
