"""Which mesh axes a collective runs over, from the groups that compiled programs print."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Group(NamedTuple):
    """Mesh axes joined by '+', and how many devices talk to each other."""

    axis: str
    ranks: int
    places: int = 0  # that the data of a permutation travels in the order of ranks


def group(attributes: str, mesh: Mapping[str, int]) -> Group:
    """The group of a collective's attributes; devices count in the order of the mesh."""
    if match := re.search(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}", attributes):
        return _of_axes(match[1], match[2], mesh)
    if match := re.search(r"source_target_pairs=\{(\{[\d,{}]*\})\}", attributes):
        pairs = [tuple(map(int, p.split(","))) for p in re.findall(r"\{(\d+,\d+)\}", match[1])]
        moved = [pair for pair in pairs if pair[0] != pair[1]]
        names = _varying(moved, mesh)
        ranks = math.prod(mesh[name] for name in names)
        return Group("+".join(names), ranks, _places(moved, names, mesh))
    if match := re.search(r"replica_groups=\{(\{[\d,{}]*\})\}", attributes):
        groups = [tuple(map(int, g.split(","))) for g in re.findall(r"\{([\d,]+)\}", match[1])]
        return Group("+".join(_varying(groups, mesh)), len(groups[0]))
    if match := re.search(r"replica_groups=(\[[\d,]+\]<=\[[\d,]+\](?:T\([\d,]+\))?)", attributes):
        groups = iota(match[1])
        return Group("+".join(_varying(groups, mesh)), len(groups[0]))
    return Group(
        "+".join(name for name, size in mesh.items() if size > 1), math.prod(mesh.values())
    )


def _of_axes(sizes: str, used: str, mesh: Mapping[str, int]) -> Group:
    """mesh['axis_0'=4,'axis_1'=2] {'axis_1'}: names are the mesh's, or count its axes above 1;
    {'seq':(2)4} is a part of an axis."""
    own = dict(re.findall(r"'([^']+)'=(\d+)", sizes))
    if not set(own) <= set(mesh):
        real = [name for name, size in mesh.items() if size > 1]
        own = dict(zip(real, own.values(), strict=False))
        alias = {f"axis_{i}": name for i, name in enumerate(real)}
    else:
        alias = {name: name for name in own}
    names, ranks = [], 1
    for name, part in re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", used):
        names.append(alias.get(name, name))
        ranks *= int(part or own.get(names[-1], 1))
    return Group("+".join(names), ranks)


def iota(text: str) -> list[tuple[int, ...]]:
    """The groups of '[4,2]<=[2,4]T(1,0)'."""
    match = re.fullmatch(r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", text)
    assert match, text
    shape, whole, order = match.groups()
    sizes = [int(n) for n in whole.split(",")]
    ids = np.arange(math.prod(sizes)).reshape(sizes)
    if order:
        ids = ids.transpose([int(n) for n in order.split(",")])
    rows = ids.reshape([int(n) for n in shape.split(",")])
    return [tuple(int(i) for i in row) for row in rows]


def _varying(groups: Sequence[tuple[int, ...]], mesh: Mapping[str, int]) -> list[str]:
    """Axes along which the members of a group differ."""
    names = list(mesh)
    places = [np.unravel_index(np.array(g), tuple(mesh.values())) for g in groups]
    return [
        name
        for i, name in enumerate(names)
        if any(len(set(place[i].tolist())) > 1 for place in places)
    ]


def _places(pairs: Sequence[tuple[int, ...]], names: list[str], mesh: Mapping[str, int]) -> int:
    """The usual distance of a pair, in ranks along the axes that vary."""
    shape, sizes = tuple(mesh.values()), tuple(mesh[name] for name in names)
    own = [list(mesh).index(name) for name in names]

    def rank(device: int) -> int:
        at = np.unravel_index(device, shape)
        return int(np.ravel_multi_index([int(at[i]) for i in own], sizes)) if names else 0

    far = sorted(abs(rank(b) - rank(a)) for a, b in pairs)
    return far[len(far) // 2] if far else 0
