"""Layer patterns: which mixer stands in which layer, and how the depth folds into scans.

    pattern := sum | RATIO LAYOUT ['of' sum] ['with' sum] | 'pure' | 'full'
             | (sum | 'pure' | 'full') ('with' sum 'at' LAYERS)+
    sum     := term ('+' term)*            repeated until it fills the layers
    term    := [INT '*'] ( '(' sum ')' | NAME [ '(' field=value, ... ')' ] )
    RATIO   := INT ':1'  linear layers for each attention layer
    LAYOUT  := 'block' | 'period' | 'first' | 'middle' | 'last'
    LAYERS  := indices from 0 with blanks between them, and ranges: '3 7 9-11'

NAME is 'mixer' or 'attention' (the fields of the model), a registered kind (the field of that kind,
else the kind's defaults), or a kind with fields set in brackets. A tuple names every layer.

    '3:1 block of gla + hgrn with softmax(window=512) + softmax(rope_base=none)'

In a ratio the linear layers take the mixers after `of` in turn, the attention layers those after
`with`. In `mixer with attention at 3 7` the layers that are listed stand in place of the sum's.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from jaxlin.config.errors import ConfigError, nearest
from jaxlin.config.placement import assign, indices, mixed, placed
from jaxlin.config.registry import mixers

RATIO = r"(?P<r>\d{1,5}):1\s+(?P<layout>\w+)(?:\s+of\s+(?P<of>.+?))?(?:\s+with\s+(?P<with>.+))?"
# Words between sums, not inside of brackets.
WITH, AT = (rf"\s+{word}\s+(?![^()]*\))" for word in ("with", "at"))
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
    text = model.pattern.strip()
    if ratio := re.fullmatch(RATIO, text):
        linear, softmax = (
            _parse(ratio[name] or field, model)
            for name, field in (("of", "mixer"), ("with", "attention"))
        )
        attention = placed(int(ratio["r"]), ratio["layout"], model.layers)
        return mixed(attention, model.layers, linear, softmax)
    base, *given = re.split(WITH, text)
    return assign(_filled(base, model), [_given(part, text, model) for part in given])


def kinds(model: Any) -> list[str]:
    """The kind of every layer, from the first."""
    return [mixer.kind for mixer in resolve(model)]


def _given(part: str, text: str, model: Any) -> tuple[str, list[Any], tuple[int, ...]]:
    """(name, mixers, indices) of `sum at LAYERS`."""
    name, *where = re.split(AT, part)
    if len(where) != 1:
        raise ConfigError(
            f"model.pattern: {text!r}: {name!r} needs its layers, once; write for example "
            "'mixer with attention at 3 7 11' or '3:1 block with attention'"
        )
    return name, _parse(name, model), indices(where[0])


def _filled(text: str, model: Any) -> tuple[Any, ...]:
    """A sum, repeated until it fills the layers; 'pure' and 'full'."""
    if text in ("pure", "full"):
        return (model.mixer if text == "pure" else model.attention,) * model.layers
    unit = _parse(text, model)
    if model.layers % len(unit):
        below = model.layers - model.layers % len(unit)
        fits = " or ".join(str(n) for n in (below, below + len(unit)) if n)
        raise ConfigError(
            f"model.pattern: {text!r} has {len(unit)} layers and does not fill "
            f"model.layers={model.layers}; use layers={fits}, a ratio such as '3:1 block', "
            "or a list with a name for every layer"
        )
    return tuple(unit) * (model.layers // len(unit))


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
        "'3*gated_deltanet + softmax', '3:1 block', 'pure', 'full', 'mixer with attention at 3 7', "
        "or a list with a name a layer"
    )
