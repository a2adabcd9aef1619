"""The points of a sweep: named configs with labels, from a Python file that the user names.

from jaxlin.config.points import product, seeds

def points():
    mixers = {kind: f"model.mixer={kind}" for kind in ("gla", "gated_deltanet")}
    rates = {lr: f"optim.lr={lr}" for lr in (1e-3, 3e-3)}
    return product("tiny", mixer=mixers, lr=rates, seed=seeds(3)) + product("tiny", ...)
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from jaxlin.config.check import refuse
from jaxlin.config.errors import ConfigError
from jaxlin.config.override import override
from jaxlin.config.plain import plain, show
from jaxlin.config.presets import preset
from jaxlin.config.run import FORMAT_VERSION, RunConfig
from jaxlin.config.types import NAME

Label = str | int | float
SEED = "seed"  # the label and the field that tell equal points apart
DIGITS = 8  # of the hash, in an id


@dataclass(frozen=True)
class Point:
    """One run of a study. `name`: unique in its sweep, and a file's name. `overrides`: words as on
    the command line, "path=value". `labels`: the factors of the study that it stands for."""

    name: str
    preset: str
    overrides: tuple[str, ...] = ()
    labels: Mapping[str, Label] = field(default_factory=dict)


class Resolved(NamedTuple):
    """A point whose config is checked."""

    point: Point
    cfg: RunConfig
    hash: str  # of the config
    group: str  # of the config without its seed

    @property
    def id(self) -> str:
        """Name of the run directory."""
        return f"{self.point.name}-{self.hash[:DIGITS]}"


def product(preset: str, *words: str, **factors: Mapping[Any, str | Sequence[str]]) -> list[Point]:
    """Every combination of the factors' levels, each a label -> the overrides that it stands for.
    `words`: overrides of all of them.

    A point's name is its labels, joined; characters that no file name has become `-`.

    Raises ConfigError for factors of another form.
    """
    refuse([p for name, levels in factors.items() for p in problems_of_factor(name, levels)])
    found = []
    for levels in itertools.product(*factors.values()):
        labels = dict(zip(factors, levels, strict=True))
        own = [w for name, level in labels.items() for w in _words(factors[name][level])]
        found.append(Point(_name(labels), preset, (*words, *own), labels))
    return found


def seeds(count: int) -> dict[int, str]:
    """The factor of `count` seeds: 0, 1, ..."""
    return {seed: f"seed={seed}" for seed in range(count)}


def with_seeds(points: Iterable[Point], count: int) -> list[Point]:
    """Each point once a seed. Raises ConfigError for points that have seeds already."""
    points = list(points)
    taken = [p.name for p in points if SEED in p.labels or _sets(p.overrides, SEED)]
    if taken:
        raise ConfigError(
            f"--seeds: {len(taken)} points have a seed already, such as {taken[0]}; give --seeds, "
            "or seeds in the file"
        )
    return [
        replace(
            p,
            name=f"{p.name}-seed{seed}",
            overrides=(*p.overrides, word),
            labels={**p.labels, SEED: seed},
        )
        for p in points
        for seed, word in seeds(count).items()
    ]


def with_overrides(points: Iterable[Point], words: Sequence[str]) -> list[Point]:
    """Each point with further overrides, in place of its own for the same path."""
    paths = {word.partition("=")[0].strip() for word in words}
    return [
        replace(p, overrides=(*(w for w in p.overrides if _path(w) not in paths), *words))
        for p in points
    ]


def resolve(points: Iterable[Point]) -> list[Resolved]:
    """All points with their configs. One ConfigError lists every point that is at fault: by its
    name, its preset or its overrides, or because another one has its name or its config."""
    found: list[Resolved] = []
    problems: list[tuple[str, str]] = []
    for number, point in enumerate(points, 1):
        where = show(point.name) if point.name else str(number)
        try:
            found.append(_resolved(point))
        except ConfigError as error:
            problems.append((where, str(error)))
    refuse(said_once(problems) + _twice(found))
    if not found:
        raise ConfigError("a sweep without points: points() gives none")
    return found


def said_once(problems: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each problem of (point, problem), of which many points may share one."""
    sharing: dict[str, list[str]] = {}
    for point, problem in problems:
        sharing.setdefault(" ".join(problem.split()), []).append(point)
    return [
        f"point {points[0]}{f' and {len(points) - 1} more' if points[1:] else ''}: {problem}"
        for problem, points in sharing.items()
    ]


def canonical_hash(cfg: RunConfig, without: Collection[str] = ()) -> str:
    """SHA-256 of a config as JSON with sorted keys, without some of its fields."""
    kept = {name: value for name, value in plain(cfg).items() if name not in without}
    text = json.dumps({"format_version": FORMAT_VERSION, **kept}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def problems_of(point: Any) -> list[str]:
    """What is wrong with the parts of a point, before its preset is looked at."""
    if not isinstance(point, Point):
        return [f"found {show(point)} of type {type(point).__name__}; allowed: Point"]
    wrong = []
    if not isinstance(point.name, str) or not re.fullmatch(NAME, point.name):
        wrong.append(
            f"name: found {show(point.name)}; allowed: 1 to 128 letters, digits, '.', '_' or '-', "
            "the first of them no '.'"
        )
    if not isinstance(point.overrides, tuple) or not _all(point.overrides, str):
        wrong.append(f"overrides: found {show(point.overrides)}; allowed: a tuple of 'path=value'")
    labels = point.labels
    if not isinstance(labels, Mapping) or not _all(labels, str) or not _all(labels.values(), Label):
        wrong.append(f"labels: found {show(labels)}; allowed: text -> text, or a finite number")
    return wrong


def problems_of_factor(name: str, levels: Any) -> list[str]:
    """What is wrong with a factor, which is easily given as a list."""
    shape = f"{name}={{label: 'path=value' or a list of such, ...}}"
    if not isinstance(levels, Mapping):
        return [f"product(): {name}: found {show(levels)}; allowed: {shape}"]
    return [
        f"product(): {name}: {show(label)} stands for {show(words)}; allowed: {shape}"
        for label, words in levels.items()
        if not isinstance(words, str) and not (isinstance(words, Sequence) and _all(words, str))
    ]


def _resolved(point: Point) -> Resolved:
    refuse(problems_of(point))
    cfg = override(preset(point.preset), point.overrides)
    return Resolved(point, cfg, canonical_hash(cfg), canonical_hash(cfg, (SEED,)))


def _twice(found: Sequence[Resolved]) -> list[str]:
    """Points that cannot both be there."""
    names: dict[str, Resolved] = {}
    configs: dict[str, Resolved] = {}
    problems = []
    for one in found:
        other = names.setdefault(one.point.name.lower(), one)  # some file systems see no case
        if other is not one:
            problems.append(f"point {one.point.name!r}: another point has this name")
            continue
        other = configs.setdefault(one.hash, one)
        if other is not one:
            problems.append(
                f"point {one.point.name!r}: has the same config as point {other.point.name!r}; "
                "what tells them apart has to be in the overrides"
            )
    return problems


def _words(level: str | Sequence[str]) -> Sequence[str]:
    return (level,) if isinstance(level, str) else level


def _name(labels: Mapping[str, Label]) -> str:
    parts = [f"{name}{value}" if name == SEED else str(value) for name, value in labels.items()]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts)).strip("-.") or "point"


def _sets(words: Iterable[str], path: str) -> bool:
    return any(_path(word) == path for word in words)


def _path(word: str) -> str:
    return word.partition("=")[0].strip()


def _all(items: Iterable[Any], kind: Any) -> bool:
    return all(
        isinstance(item, kind) and not isinstance(item, bool) and item == item for item in items
    )
