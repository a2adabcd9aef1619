"""Feature maps of queries and keys, by name."""

from __future__ import annotations

from collections.abc import Callable

import jax
from jaxtyping import Array

FEATURE_MAPS: dict[str, Callable[[Array], Array]] = {
    "identity": lambda x: x,
    "silu": jax.nn.silu,
    "relu": jax.nn.relu,
    "elu1": lambda x: jax.nn.elu(x) + 1,
}
