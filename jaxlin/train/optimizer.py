"""Optimizers from configs: which parameters each rule trains, and what decays."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import optax
from optax.contrib import MuonDimensionNumbers

from jaxlin.config.errors import ConfigError
from jaxlin.config.registry import optimizers
from jaxlin.parallel.paths import map_paths
from jaxlin.parallel.rules import Axes
from jaxlin.train.schedule import Schedule

# Axes along which a stacked parameter holds independent matrices.
STACKED = ("layers", "experts")


class Group(NamedTuple):
    """Who trains a parameter and whether it decays."""

    optimizer: str
    decay: bool


class Optimizer(NamedTuple):
    """The transformation and the group of each parameter, by path."""

    transform: optax.GradientTransformation
    groups: dict[str, Group]


def build(
    config: Any, schedule: Schedule, axes: Mapping[str, Axes], known: Collection[str] = ()
) -> Optimizer:
    """The optimizer for the trained parameters, given as path -> logical axes.

    `known`: paths of parameters that are not trained, at which a pattern may aim in vain.
    Raises ConfigError when a pattern matches nothing.
    """
    return optimizers.target(config.kind)(config, schedule, axes, known)


def adamw(
    config: Any, schedule: Schedule, axes: Mapping[str, Axes], known: Collection[str] = ()
) -> Optimizer:
    """Adam with decoupled decay: p <- p - lr (m_hat / (sqrt(v_hat) + eps) + weight_decay p)."""
    still = matching(config.no_decay, axes, known, "optim.no_decay")
    groups = {path: Group("adamw", _decays(config, path, still)) for path in axes}
    rule = optax.adamw(
        _scaled(config.lr, schedule),
        config.b1,
        config.b2,
        config.eps,
        weight_decay=config.weight_decay,
        mask=_decay_mask(groups),
    )
    return Optimizer(_clipped(config.clip, rule), groups)


def muon(
    config: Any, schedule: Schedule, axes: Mapping[str, Axes], known: Collection[str] = ()
) -> Optimizer:
    """Muon on matrices (optax.contrib.muon), AdamW on the rest.

    A matrix has two axes apart from those in STACKED, neither of them a convolution's width.
    """
    still = matching(config.no_decay, axes, known, "optim.no_decay")
    adam = matching(config.adam, axes, known, "optim.adam")
    groups = {
        path: Group(
            "muon" if is_matrix(names) and path not in adam else "adamw",
            _decays(config, path, still),
        )
        for path, names in axes.items()
    }
    decays = _decay_mask(groups)
    rules: Any = {
        "muon": optax.contrib.muon(
            _scaled(config.lr, schedule), ns_steps=config.iterations, beta=config.beta,
            eps=config.eps, weight_decay=config.weight_decay, weight_decay_mask=decays,
            muon_weight_dimension_numbers=lambda tree: map_paths(
                lambda path, leaf: _dimensions(axes[path]), tree
            ),
        ),
        "adamw": optax.adamw(
            _scaled(config.adam_lr, schedule), config.b1, config.b2, config.eps,
            weight_decay=config.weight_decay, mask=decays,
        ),
    }  # fmt: skip
    label = lambda path, leaf: groups[path].optimizer  # noqa: E731
    rule = optax.partition(rules, lambda tree: map_paths(label, tree))
    return Optimizer(_clipped(config.clip, rule), groups)


def is_matrix(axes: Axes) -> bool:
    """Whether an array with these logical axes is a (stack of) weight matrices."""
    own = [name for name in axes if name not in STACKED]
    return len(own) == 2 and "conv" not in own


def matching(
    patterns: Collection[str], paths: Collection[str], known: Collection[str], field: str
) -> set[str]:
    """The paths that a pattern matches in full. Raises ConfigError for a pattern without any."""
    found: set[str] = set()
    for pattern in patterns:
        hits = {path for path in [*paths, *known] if re.fullmatch(pattern, path)}
        if not hits:
            near = difflib.get_close_matches(pattern, [*paths, *known], n=3, cutoff=0.0)
            raise ConfigError(
                f"{field}: {pattern!r} matches no parameter; it must match a whole path, such as "
                f"{', '.join(near)}"
            )
        found |= hits
    return found & set(paths)


def _decays(config: Any, path: str, still: Collection[str]) -> bool:
    return config.weight_decay > 0 and path not in still


def _decay_mask(groups: Mapping[str, Group]) -> Callable[[Any], Any]:
    return lambda tree: map_paths(lambda path, leaf: groups[path].decay, tree)


def _dimensions(axes: Axes) -> MuonDimensionNumbers:
    reduction, output = (i for i, name in enumerate(axes) if name not in STACKED)
    return MuonDimensionNumbers(reduction, output)


def _scaled(peak: float, schedule: Schedule) -> Callable[[Any], Any]:
    return lambda step: peak * schedule(step)


def _clipped(norm: float | None, rule: optax.GradientTransformation) -> Any:
    return optax.chain(optax.clip_by_global_norm(norm), rule) if norm is not None else rule
