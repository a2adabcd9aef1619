"""Weight sites: the public names of a model's weight products.

`blocks/{i}/mixer/q`, `blocks/{i}/ffn/up`, ..., `embed`, `unembed`, with i the layer counted over
the whole depth. In the parameters layers are stacked: a site is a row of `blocks_s/layer_u/...`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jaxlin.config.errors import ConfigError

WEIGHTS = ("kernel", "embedding")


class Site(NamedTuple):
    """One weight product."""

    name: str  # blocks/3/mixer/q
    path: tuple[str, ...]  # blocks_0, layer_3, mixer, q, kernel: the leaf in the parameters
    row: int | None  # in the leaf's leading layers axis; None: not stacked


def weight_sites(params: Mapping[str, Any]) -> list[Site]:
    """All weight sites of a parameter tree, in order of depth."""
    stacks = sorted((n for n in params if n.startswith("blocks_")), key=_index)
    sites, start = [], 0
    for stack in stacks:
        units = sorted(params[stack], key=_index)
        leaves = [
            (unit, path, leaf) for unit in units for path, leaf in _weights(params[stack][unit])
        ]
        repeats = leaves[0][2].shape[0]
        for row in range(repeats):
            for unit, path, _ in leaves:
                name = f"blocks/{start + row * len(units) + _index(unit)}/{'/'.join(path[:-1])}"
                sites.append(Site(name, (stack, unit, *path), row))
        start += repeats * len(units)
    rest = {name: tree for name, tree in params.items() if name not in stacks}
    return sites + [Site("/".join(path[:-1]), path, None) for path, _ in _weights(rest)]


def matching(pattern: str, sites: Iterable[Site], where: str) -> list[Site]:
    """The sites whose whole name matches the regular expression. ConfigError if none does."""
    sites = list(sites)
    found = [site for site in sites if re.fullmatch(pattern, site.name)]
    if not found:
        names = sorted({re.sub(r"blocks/\d+/", "blocks/N/", site.name) for site in sites})
        raise ConfigError(
            f"{where}: {pattern!r} matches no weight site; the sites are {', '.join(names)} "
            "(N counts the layers from 0; the pattern must match the whole name)"
        )
    return found


def leaf_at(tree: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """The value at a path of a nested mapping."""
    for name in path:
        tree = tree[name]
    return tree


def _index(name: str) -> int:
    return int(name.rpartition("_")[2])


def _weights(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[tuple, Any]]:
    found = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found += _weights(value, (*path, name))
        elif name in WEIGHTS and not any(part.endswith("_conv") for part in path):
            found.append(((*path, name), value))
    return found
