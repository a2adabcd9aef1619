"""What a sweep is about to do: which points, which of them together, said before it starts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from jaxlin.config.errors import ConfigError, nearest
from jaxlin.config.points import Resolved
from jaxlin.config.together import obstacles
from jaxlin.study.sweep.queue import Event
from jaxlin.study.sweep.results import groups


def select(points: Sequence[Resolved], patterns: Sequence[str]) -> list[Resolved]:
    """The points whose name or id matches one of the patterns, or which have its label: mixer=gla.

    Raises ConfigError for a pattern that matches none.
    """
    if not patterns:
        return list(points)
    found = {p: [one for one in points if matches(one, p)] for p in patterns}
    for pattern, hits in found.items():
        if not hits:
            label = "=" in pattern
            names = _labels(points) if label else [one.point.name for one in points]
            raise ConfigError(f"--only: {pattern!r} matches no point{nearest(pattern, names)}")
    ids = {one.id for hits in found.values() for one in hits}
    return [one for one in points if one.id in ids]


def _labels(points: Iterable[Resolved]) -> set[str]:
    return {f"{name}={value}" for one in points for name, value in one.point.labels.items()}


def matches(one: Resolved, pattern: str) -> bool:
    """Whether a pattern, with * and ?, is about a point."""
    label, equals, value = pattern.partition("=")
    if equals:
        return label in one.point.labels and fnmatchcase(str(one.point.labels[label]), value)
    return fnmatchcase(one.point.name, pattern) or fnmatchcase(one.id, pattern)


def together(
    points: Iterable[Resolved], asked: bool | None, devices: int, helps: bool
) -> tuple[list[tuple[str, ...]], list[str]]:
    """The ids that a process takes at a time, and lines on what is trained one by one though it was
    `asked` to be together. Without being asked, points are trained together where it `helps`."""
    found: list[tuple[str, ...]] = []
    lines: dict[str, int] = {}
    for same in groups(points).values():
        ids = tuple(one.id for one in same)
        wanted = helps if asked is None else asked
        against = obstacles([one.cfg for one in same], devices) if len(same) > 1 else []
        if wanted and not against:
            found.append(ids)
            continue
        found += [(id,) for id in ids]
        if asked and against:
            lines[against[0]] = lines.get(against[0], 0) + len(ids)
    return found, [f"{n} points are trained one by one: {why}" for why, n in lines.items()]


def describe(
    points: Sequence[Resolved], states: Mapping[str, Event], todo: Sequence[tuple[str, ...]]
) -> list[str]:
    """Lines for a person: how many points, the levels of each label, states, what is left."""
    levels: dict[str, Counter[str]] = {}
    for one in points:
        for name, value in one.point.labels.items():
            levels.setdefault(name, Counter())[str(value)] += 1
    counts = Counter(states[one.id].state for one in points)
    left = [id for ids in todo for id in ids]
    processes = f", in {len(todo)} processes" if len(todo) < len(left) else ""
    return [
        f"points  {len(points)}: {', '.join(f'{n} {state}' for state, n in counts.items())}",
        *(
            f"  {name}: {', '.join(f'{v} ({n})' for v, n in c.items())}"
            for name, c in levels.items()
        ),
        f"to do   {len(left)} points{processes}",
    ]


def shares(parallel: int) -> tuple[frozenset[int], ...]:
    """Cores of each of `parallel` processes; () where they are too few to be shared out."""
    if not hasattr(os, "sched_getaffinity"):
        return ()
    cores = sorted(os.sched_getaffinity(0))
    if parallel < 2 or len(cores) < parallel:
        return ()
    each, rest = divmod(len(cores), parallel)
    ends = [0]
    for i in range(parallel):
        ends.append(ends[-1] + each + (i < rest))
    return tuple(frozenset(cores[a:b]) for a, b in zip(ends, ends[1:], strict=False))
