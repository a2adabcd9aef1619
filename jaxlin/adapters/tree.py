"""Trees of adapters: attach to a base, merge into it.

The tree mirrors the parameters; where a weight leaf stands it has a mapping from adapter name to
delta. It is passed to a model as the collection `adapters`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxlin.config.errors import ConfigError
from jaxlin.config.registry import adapters as registry

Tree = dict[str, Any]


def attach(configs: Sequence[Any], params: Mapping[str, Any], key: Array) -> Tree:
    """New adapters for the base `params` (arrays or their shapes).

    Raises ConfigError when a pattern matches nothing or two adapters have one name.
    """
    names = Counter(config.name for config in configs)
    double = [name for name, count in names.items() if count > 1]
    if double:
        raise ConfigError(f"adapters: the name {double[0]!r} is used twice; name each adapter")
    tree: Tree = {}
    for i, config in enumerate(configs):
        function = registry.target(config.kind)
        for path, delta in function(config, params, jax.random.fold_in(key, i)).items():
            node = tree
            for name in path:
                node = node.setdefault(name, {})
            node[config.name] = delta
    return tree


def merge(params: Mapping[str, Any], adapters: Mapping[str, Any]) -> Tree:
    """The base with every delta added to its weight: W + sum of deltas, in float32, cast once."""
    return {
        name: _merged(value, adapters[name]) if name in adapters else value
        for name, value in params.items()
    }


def _merged(value: Any, adapters: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return merge(value, adapters)
    total = value.astype(jnp.promote_types(value.dtype, jnp.float32))
    for name in sorted(adapters):
        total = total + adapters[name].delta()
    return total.astype(value.dtype)
