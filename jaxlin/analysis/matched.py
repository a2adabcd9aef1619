"""Models of equal size: one whole number of each config is chosen so that a measure is met."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

from jaxlin.analysis.accounting import Number, flops, parameters, sequence_bytes
from jaxlin.config import crossfield
from jaxlin.config.errors import ConfigError, nearest
from jaxlin.config.run import RunConfig

# Knob -> (path, step, largest). Steps keep products in whole tiles, and searches short.
KNOBS = {
    "ffn.hidden": ("model.ffn.hidden", 16, 32_768),
    "width": ("model.width", 64, 8192),
    "layers": ("model.layers", 1, 128),
    "heads": ("model.mixer.heads", 1, 64),
}


def _flops(cfg: RunConfig, context: int) -> Number:
    return sum(part["forward"] for part in flops(cfg.model, context).values())


MEASURES: dict[str, Callable[[RunConfig, int], Number]] = {
    "parameters": lambda cfg, context: parameters(cfg.model)["total"],
    "flops": _flops,  # a token, forward
    "state": lambda cfg, context: sum(sequence_bytes(cfg.model, context).values()),
}


class Match(NamedTuple):
    """A config whose measure is near the target."""

    cfg: RunConfig
    knob: str
    value: int
    measure: Number
    target: Number

    @property
    def residual(self) -> Number:
        """(measure - target) / target."""
        return (self.measure - self.target) / self.target


def measured(cfg: RunConfig, measure: str, context: int) -> Number:
    """parameters | flops (forward, a token at this context) | state (bytes of a sequence's cache).

    Raises ConfigError for another name.
    """
    if measure not in MEASURES:
        raise ConfigError(f"--match: {measure!r} is no measure{nearest(measure, MEASURES)}")
    return MEASURES[measure](cfg, context)


def match(
    cfg: RunConfig, measure: str, target: Number, knob: str, context: int, tolerance: Number = 0.01
) -> Match:
    """The value of the knob with which `cfg` comes nearest to the target.

    Where the knob's steps are too coarse, as they are for small models, values between the two
    nearest are tried. The measure is taken to rise or to fall with the knob throughout. Raises
    ConfigError when the nearest is off by more than the tolerance (a share of the target).
    """
    if knob not in KNOBS:
        raise ConfigError(f"--knob: {knob!r} is no knob{nearest(knob, KNOBS)}")
    path, step, largest = KNOBS[knob]
    search = partial(_search, cfg, path, knob, lambda new: measured(new, measure, context), target)
    result = search(range(step, largest + 1, step))
    if result and step > 1 and abs(result.residual) > tolerance:
        result = search(range(max(1, result.value - step), result.value + step + 1))
    if result is None:
        raise ConfigError(
            f"--knob: {cfg.name} has no valid {path} from {step} to {largest} in steps of {step}; "
            f"use another knob: {', '.join(k for k in KNOBS if k != knob)}"
        )
    if abs(result.residual) > tolerance:
        raise ConfigError(
            f"--match: {cfg.name} cannot be given {measure} {target:,.0f} by {path}: the nearest "
            f"is {path}={result.value} with {result.measure:,.0f}, off by "
            f"{100 * result.residual:+.2f} %, where {100 * tolerance:g} % is allowed; use "
            f"another knob ({', '.join(k for k in KNOBS if k != knob)}) or --tolerance"
        )
    return result


def _search(
    cfg: RunConfig,
    path: str,
    knob: str,
    measure: Callable[[RunConfig], Number],
    target: Number,
    values: Iterable[int],
) -> Match | None:
    """The best of the values; None where the config is valid with none of them."""
    made = _fitting(cfg, path, values)
    if not made:
        return None
    at = cache(lambda i: measure(made[i][1]))
    best = _nearest(at, len(made), target)
    return Match(made[best][1], knob, made[best][0], at(best), target)


def family(
    models: Iterable[RunConfig],
    measure: str,
    knob: str,
    context: int,
    target: Number | None = None,
    tolerance: Number = 0.01,
) -> list[Match]:
    """A match for each; without a target the first model sets it, and stays as it is."""
    found: list[Match] = []
    for cfg in models:
        if target is None:
            target = measured(cfg, measure, context)
            found.append(Match(cfg, "", 0, target, target))
        else:
            found.append(match(cfg, measure, target, knob, context, tolerance))
    return found


def _fitting(cfg: RunConfig, path: str, values: Iterable[int]) -> list[tuple[int, RunConfig]]:
    """The values with which the config is valid."""
    parts = path.split(".")
    made = ((value, _with(cfg, parts, value)) for value in values)
    return [(value, new) for value, new in made if new and not crossfield.problems(new)]


def _with(node: Any, parts: list[str], value: int) -> Any:
    """The node with a field replaced; None where there is no such field."""
    name, *rest = parts
    if not hasattr(node, name):
        return None
    new = _with(getattr(node, name), rest, value) if rest else value
    return None if new is None else replace(node, **{name: new})


def _nearest(at: Callable[[int], Number], count: int, target: Number) -> int:
    """The index whose value is nearest, by bisection of a monotone sequence."""
    low, high = 0, count - 1
    rising = at(high) >= at(low)
    while high - low > 1:
        middle = (low + high) // 2
        if (at(middle) < target) == rising:
            low = middle
        else:
            high = middle
    return min((low, high), key=lambda i: abs(at(i) - target))
