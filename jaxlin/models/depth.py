"""What layers are told of their place: rows of values that are made once for the whole depth."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array

from jaxlin.config.errors import ConfigError
from jaxlin.config.model import LM
from jaxlin.config.pattern import resolve, segments
from jaxlin.mixers import rows
from jaxlin.nn import param


class Depth(nn.Module):
    """The rows that mixers ask for (`Mixer.rows`), and the parameters these are made from.

    Returns for each segment of the depth, for each layer of its unit, the rows of that layer with
    the repeats in front, as the scan takes them; None for a mixer that asks for none. Has no
    parameters where no mixer asks for any.
    """

    config: LM

    @nn.compact
    def __call__(self) -> tuple[tuple[Any, ...], ...]:
        layers, made = resolve(self.config), {}

        def parameter(name: str, init: Any, axes: tuple, shape: tuple[int, ...]) -> Array:
            if name not in made:
                made[name] = param(self, name, init, ("layers", *axes), (len(layers), *shape))
            if made[name].shape[1:] != shape:
                raise ConfigError(
                    f"model.pattern: its mixers share the parameter {name!r}, of which one needs "
                    f"rows of shape {shape}, another {made[name].shape[1:]}; give them equal sizes"
                )
            return made[name]

        kinds = dict.fromkeys(layers)
        table = {kind: rows(kind, self.config.width, len(layers), parameter) for kind in kinds}
        found, start = [], 0
        for unit, repeats in segments(layers):
            stop = start + len(unit) * repeats
            own = [slice(start + i, stop, len(unit)) for i in range(len(unit))]
            found.append(
                tuple(
                    jax.tree.map(lambda a, at=at: a[at], table[kind])
                    for kind, at in zip(unit, own, strict=True)
                )
            )
            start = stop
        return tuple(found)
