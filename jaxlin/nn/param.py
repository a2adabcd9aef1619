"""Parameters with logical axis names."""

from __future__ import annotations

from typing import Any, cast

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array


def param(
    module: nn.Module, name: str, init: Any, axes: tuple[str | None, ...], shape: tuple[int, ...]
) -> Array:
    """The float32 parameter `name` of a module; `axes` name its axes for the sharding rules."""
    boxed = nn.with_logical_partitioning(init, axes)
    return cast(Array, module.param(name, boxed, shape, jnp.float32))
