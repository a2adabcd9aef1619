"""Layer patterns: which mixer stands in which layer, and how the depth folds into scans.

    pattern := sum | RATIO LAYOUT | 'pure' | 'full'
    sum     := term ('+' term)*            repeated until it fills the layers
    term    := [INT '*'] ( '(' sum ')' | NAME [ '(' field=value, ... ')' ] )
    RATIO   := INT ':1'  linear layers for each attention layer
    LAYOUT  := 'block' | 'period' | 'first' | 'middle' | 'last'

NAME is 'mixer' or 'attention' (the fields of the model), a registered kind (the field of that kind,
else the kind's defaults), or a kind with fields set in brackets. A tuple names every layer.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from jaxlin.config.errors import ConfigError, nearest
from jaxlin.config.registry import mixers

LAYOUTS = ("block", "period", "first", "middle", "last")
# Depth of the search for a repeating unit; deeper units would be slow to compile anyway.
LONGEST_UNIT = 64
MOST_LAYERS = 10_000


class Segment(NamedTuple):
    """`unit` (one config a layer) repeated `repeats` times; becomes one scan."""

    unit: tuple[Any, ...]
    repeats: int


def resolve(model: Any) -> tuple[Any, ...]:
    """The mixer config of every layer. Raises ConfigError if the pattern does not fill them."""
    if isinstance(model.pattern, tuple):
        names = list(model.pattern)
        if len(names) != model.layers:
            raise ConfigError(
                f"model.pattern: lists {len(names)} layers, model.layers is {model.layers}; "
                f"{f'set model.layers={len(names)} or ' if names else ''}name every layer"
            )
        return tuple(mixer for name in names for mixer in _parse(name, model))
    ratio = re.fullmatch(r"\s*(\d+):1\s+(\w+)\s*", model.pattern)
    if model.pattern.strip() in ("pure", "full") or ratio:
        attention = (
            full_layers(int(ratio[1]), ratio[2], model.layers)
            if ratio
            else range(model.layers if model.pattern.strip() == "full" else 0)
        )
        return tuple(
            model.attention if i in attention else model.mixer for i in range(model.layers)
        )
    unit = _parse(model.pattern, model)
    if model.layers % len(unit):
        below = model.layers - model.layers % len(unit)
        fits = " or ".join(str(n) for n in (below, below + len(unit)) if n)
        raise ConfigError(
            f"model.pattern: {model.pattern!r} has {len(unit)} layers and does not fill "
            f"model.layers={model.layers}; use layers={fits}, a ratio such as '3:1 block', "
            "or a list with a name for every layer"
        )
    return tuple(unit) * (model.layers // len(unit))


def full_layers(ratio: int, layout: str, layers: int) -> tuple[int, ...]:
    """Indices of the attention layers: `ratio` linear layers for each one.

    block: (i+1) mod (r+1) = 0; period: (i+1) mod r = 0; first, middle, last: as many as `block`
    would place (at least one), together at that end of the stack.
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


def segments(layers: tuple[Any, ...]) -> tuple[Segment, ...]:
    """Cuts the layers into repeated units, so that as few layers as possible are traced.

    Minimises sum(len(unit) + 1) over all cuts by dynamic programming.
    """
    best: list[tuple[int, list[Segment]]] = [(0, [])]
    for end in range(1, len(layers) + 1):
        options = []
        for size in range(1, min(end, LONGEST_UNIT) + 1):
            unit, start = layers[end - size : end], end
            while start >= size and layers[start - size : start] == unit:
                start -= size
                cost, cuts = best[start]
                options.append((cost + size + 1, [*cuts, Segment(unit, (end - start) // size)]))
        best.append(min(options, key=lambda option: option[0]))
    return tuple(best[-1][1])


def _parse(text: str, model: Any) -> list[Any]:
    tokens = re.findall(r"\d+(?=\s*\*)|[A-Za-z_]\w*(?:\s*\([^()]*=[^()]*\))?|[*+()]|\S", text)
    layers, rest = _sum(tokens, text, model)
    if rest:
        raise _error(text, rest[0])
    return layers


def _sum(tokens: list[str], text: str, model: Any) -> tuple[list[Any], list[str]]:
    layers, tokens = _term(tokens, text, model)
    while tokens and tokens[0] == "+":
        more, tokens = _term(tokens[1:], text, model)
        layers = layers + more
    return layers, tokens


def _term(tokens: list[str], text: str, model: Any) -> tuple[list[Any], list[str]]:
    count = 1
    if len(tokens) > 1 and tokens[0].isdigit() and tokens[1] == "*":
        count, tokens = int(tokens[0]), tokens[2:]
        if not 1 <= count <= MOST_LAYERS:
            raise ConfigError(
                f"model.pattern: {text!r}: a count is 1 to {MOST_LAYERS}, found {count}"
            )
    if not tokens:
        raise _error(text, "the end")
    if tokens[0] == "(":
        layers, tokens = _sum(tokens[1:], text, model)
        if not tokens or tokens[0] != ")":
            raise _error(text, tokens[0] if tokens else "the end")
        if len(layers) * count > MOST_LAYERS:
            raise ConfigError(f"model.pattern: {text!r} has more than {MOST_LAYERS} layers")
        return layers * count, tokens[1:]
    if not re.match(r"[A-Za-z_]", tokens[0]):
        raise _error(text, tokens[0])
    return [_mixer(tokens[0], model)] * count, tokens[1:]


def _mixer(name: str, model: Any) -> Any:
    if "(" in name:
        from jaxlin.config.override import variant  # imports validation, which imports this file

        return variant(mixers, name, "model.pattern")
    fields = {"mixer": model.mixer, "attention": model.attention}
    if name in fields:
        return fields[name]
    for field in fields.values():
        if field.kind == name:
            return field
    if name not in mixers:
        known = [*mixers, *fields]
        raise ConfigError(f"model.pattern: {name!r} is no mixer{nearest(name, known)}")
    return mixers.config(name)()


def _error(text: str, found: str) -> ConfigError:
    return ConfigError(
        f"model.pattern: {text!r} is not understood at {found!r}; write for example "
        "'3*gated_deltanet + softmax', '3:1 block', 'pure', 'full' or a list with a name a layer"
    )
