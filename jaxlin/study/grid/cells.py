"""The records of a study, sorted: one grid of mixers and ratios for each other choice of labels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from jaxlin.study.findings import FULL, PURE
from jaxlin.study.grid.read import Line, Study, number
from jaxlin.study.scores import Values

MIXER, RATIO, SEED, TASK = "mixer", "ratio", "seed", "task"
LOSS, BITS = "eval.loss", "eval.bits_per_byte"
SOFTMAX = "softmax"
# Tasks that ask for a state to be tracked: softmax is not expected to help there.
NO_RECALL = ("parity", "group")
RULER = "task.ruler.accuracy"
TITLES = {LOSS: "held-out loss", BITS: "held-out bits per byte"}
UNITS = {LOSS: "nats per token", BITS: "bits"}


@dataclass
class Cell:
    """The points that differ in their seed alone. `planned`: how many there are to be."""

    mixer: str
    ratio: str
    planned: int = 0
    lines: list[Line] = field(default_factory=list)  # of those that are done

    def values(self, metric: str) -> list[float]:
        """One number a seed."""
        found = (line["final"].get(metric) for line in self.lines)
        return [float(value) for value in found if number(value)]

    @property
    def layers(self) -> list[str]:
        """One kind a layer; empty if no point is done."""
        return next((list(map(str, line["layers"])) for line in self.lines if line["layers"]), [])

    @property
    def share(self) -> float:
        """Of softmax among the layers, as built; without a result, as the ratio's name says."""
        layers = self.layers
        return layers.count(SOFTMAX) / len(layers) if layers else said(self.ratio)


@dataclass
class Grid:
    """All cells with the same other labels."""

    labels: dict[str, Any]
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """'task mqar, scale tiny'."""
        return ", ".join(f"{name} {value}" for name, value in self.labels.items()) or "all points"

    @property
    def mixers(self) -> list[str]:
        """In the order of the sweep, those that stand for softmax alone at the end."""
        found = dict.fromkeys(mixer for mixer, _ in self.cells)
        return sorted(found, key=lambda mixer: self.alone(mixer))

    @property
    def ratios(self) -> list[str]:
        """From pure to softmax alone."""
        found = dict.fromkeys(ratio for _, ratio in self.cells)
        share = lambda r: min(c.share for c in self.cells.values() if c.ratio == r)  # noqa: E731
        return sorted(found, key=share)

    def alone(self, mixer: str) -> bool:
        """Whether the mixer is there as softmax alone, which all mixers share as their limit."""
        return all(ratio == FULL for name, ratio in self.cells if name == mixer)

    def metrics(self) -> list[str]:
        """What there are tables of: losses, then accuracies of tasks."""
        lines = (line for cell in self.cells.values() for line in cell.lines)
        names = dict.fromkeys(name for line in lines for name in line["final"])
        scores = sorted(name for name in names if re.fullmatch(r"task\.[^.]+\.accuracy", name))
        return [name for name in (LOSS, BITS) if name in names] + scores

    @property
    def language(self) -> bool:
        """Whether its loss is that of language, not of a task that it was trained on."""
        task = self.labels.get(TASK)
        return task is None or not any(m.startswith(f"task.{task}.") for m in self.metrics())

    def recall(self) -> list[str]:
        """Accuracies of recall; RULER's mean stands for its subtasks."""
        found = [m for m in self.metrics() if m.startswith("task.") and not _tracks(m)]
        return [m for m in found if not (RULER in found and m.startswith("task.ruler_"))]

    def values(self, metric: str, shared: bool = False) -> Values:
        """Mixer -> ratio -> numbers. `shared`: softmax alone is the limit of every mixer."""
        found = {
            mixer: {r: self.cells[mixer, r].values(metric) for r in self.ratios
                    if (mixer, r) in self.cells}
            for mixer in self.mixers
        }  # fmt: skip
        if not shared:
            return found
        limits = [cells[FULL] for mixer, cells in found.items() if self.alone(mixer)]
        return {
            mixer: cells if cells.get(FULL) or not limits else {**cells, FULL: limits[0]}
            for mixer, cells in found.items()
            if not self.alone(mixer)
        }

    def shares(self) -> dict[str, dict[str, float]]:
        """Mixer -> ratio -> share of softmax."""
        found: dict[str, dict[str, float]] = {}
        for (mixer, ratio), cell in self.cells.items():
            found.setdefault(mixer, {FULL: 1.0})[ratio] = cell.share
        return found


def said(ratio: str) -> float:
    """The share of softmax that a ratio's name says: pure 0, 3:1 a quarter, full 1."""
    if match := re.fullmatch(r"(\d+):(\d+)", ratio):
        linear, softmax = map(int, match.groups())
        return softmax / (linear + softmax) if linear + softmax else 0.0
    return {PURE: 0.0, FULL: 1.0}.get(ratio, 0.5)


def grids(study: Study) -> list[Grid]:
    """The grids in the order of the sweep; points without a mixer or a ratio are in none."""
    found: dict[tuple[tuple[str, Any], ...], Grid] = {}
    for point, labels in _labelled(study):
        other = {k: v for k, v in labels.items() if k not in (MIXER, RATIO, SEED)}
        grid = found.setdefault(tuple(sorted(other.items(), key=str)), Grid(other))
        place = (str(labels[MIXER]), str(labels[RATIO]))
        cell = grid.cells.setdefault(place, Cell(*place))
        cell.planned += 1
        line = study.lines.get(point["id"])
        if line and line["status"] == "done":
            cell.lines.append(line)
    return list(found.values())


def title(metric: str) -> str:
    """'held-out loss', 'accuracy on mqar'."""
    if metric in TITLES:
        return TITLES[metric]
    _, task, what = metric.split(".", 2)
    return f"{what} on {task}"


def higher(metric: str) -> bool:
    """Whether more is better."""
    return metric not in TITLES


def _labelled(study: Study) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for point in study.points:
        if {MIXER, RATIO} <= point["labels"].keys():
            yield point, point["labels"]


def _tracks(metric: str) -> bool:
    return metric.removeprefix("task.").startswith(NO_RECALL)
