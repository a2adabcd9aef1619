"""Where attention stands in a stack of linear layers: index sets, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import cycle, groupby
from typing import Any

from jaxlin.config.errors import ConfigError, nearest
from jaxlin.config.plain import text

LAYOUTS = ("block", "period", "first", "middle", "last")
LONGEST = 10_000  # no stack is deeper


def full_layers(ratio: int, layout: str, layers: int) -> tuple[int, ...]:
    """Indices of the attention layers: `ratio` linear layers for each one.

    block: (i+1) mod (r+1) = 0; period: (i+1) mod r = 0; first, middle, last: as many as `block`
    would place (at least one), together at that end of the stack. Raises ConfigError for a layout
    that is none, and for a ratio below 1.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"model.pattern: {layout!r} is no layout{nearest(layout, LAYOUTS)}")
    if ratio < 1:
        raise ConfigError("model.pattern: a ratio starts at 1:1; use 'full' for attention only")
    if layout == "period":
        return tuple(i for i in range(layers) if (i + 1) % ratio == 0)
    if layout == "block":
        return tuple(i for i in range(layers) if (i + 1) % (ratio + 1) == 0)
    count = max(1, layers // (ratio + 1))
    start = {"first": 0, "middle": (layers - count) // 2, "last": layers - count}[layout]
    return tuple(range(start, start + count))


def placed(ratio: int, layout: str, layers: int) -> tuple[int, ...]:
    """`full_layers`, at least one. Raises ConfigError where the depth has none."""
    found = full_layers(ratio, layout, layers)
    if found:
        return found
    least = ratio + 1 if layout == "block" else ratio
    fits = [name for name in LAYOUTS if full_layers(ratio, name, layers)]
    near = [f"'{ratio}:1 {name}'" for name in fits]
    ratios = f"'{layers - 1}:1 {layout}', " if layers > 1 and layout == "block" else ""
    ratios = f"'{layers}:1 {layout}', " if layout == "period" else ratios
    raise ConfigError(
        f"model.pattern: '{ratio}:1 {layout}' has no attention layer in model.layers={layers}, it "
        f"needs at least {least}; use layers={least}, at this depth {ratios}"
        f"{', '.join(near)}, or 'pure' if none is meant"
    )


def mixed(
    attention: Iterable[int], layers: int, linear: Sequence[Any], softmax: Sequence[Any]
) -> tuple[Any, ...]:
    """A mixer a layer: at the indices `softmax`, elsewhere `linear`, each list in turn."""
    full, others, here = cycle(softmax), cycle(linear), frozenset(attention)
    return tuple(next(full) if i in here else next(others) for i in range(layers))


def assign(
    base: Sequence[Any], given: Iterable[tuple[str, Sequence[Any], Sequence[int]]]
) -> tuple[Any, ...]:
    """`base` with each (name, mixers, indices) in place, the mixers in turn.

    Raises ConfigError for a layer that is not there, or is given to two.
    """
    layers, owner = list(base), {}
    for name, mixers, indices in given:
        for i, mixer in zip(indices, cycle(mixers), strict=False):
            if i >= len(layers):
                raise ConfigError(
                    f"model.pattern: {name} at {i}: there is no such layer; model.layers="
                    f"{len(layers)} has 0 to {len(layers) - 1}; use one of these, or set "
                    f"layers={i + 1}"
                )
            if i in owner:
                free = [n for n in range(len(layers)) if n not in owner]
                near = min(free, key=lambda n, i=i: abs(n - i), default=None)
                hint = "" if near is None else f"; the nearest that is free is {near}"
                raise ConfigError(
                    f"model.pattern: layer {i} is given twice, to {owner[i]} and to {name}; name "
                    f"it once{hint}"
                )
            owner[i], layers[i] = name, mixer
    return tuple(layers)


def indices(words: str) -> tuple[int, ...]:
    """'3 7 9-11' -> (3, 7, 9, 10, 11). Raises ConfigError."""
    found: list[int] = []
    for word in words.split():
        match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first or last > LONGEST:
            raise ConfigError(
                f"model.pattern: {word!r} names no layers; write indices from 0 with blanks "
                "between them, such as 'mixer with attention at 3 7 9-11'"
            )
        found += range(first, last + 1)
    return tuple(found)


def layout(layers: Iterable[Any]) -> str:
    """'0-2 gla, 3 softmax(window=64), 4-6 gla, 7 softmax': a line for people.

    Of configs of one kind that differ, the fields that do not have their default are named.
    """
    layers = list(layers)
    several = {kind for kind in _kinds(layers) if len({m for m in layers if m.kind == kind}) > 1}
    parts, start = [], 0
    for mixer, group in groupby(layers):
        stop = start + len(list(group)) - 1
        name = text(mixer) if mixer.kind in several else mixer.kind
        parts.append(f"{start} {name}" if start == stop else f"{start}-{stop} {name}")
        start = stop + 1
    return ", ".join(parts)


def _kinds(layers: Iterable[Any]) -> set[str]:
    return {mixer.kind for mixer in layers}
