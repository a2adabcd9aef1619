"""Paths of the leaves of a tree: 'blocks_0/layer_0/mixer/q/kernel'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def path_name(path: tuple[Any, ...]) -> str:
    """Keys, attribute names and indices of a JAX key path, joined by '/'."""
    return "/".join(_key(entry) for entry in path)


def flatten(tree: Any) -> dict[str, Any]:
    """Path -> leaf, in JAX's leaf order. Empty containers and None have no leaves."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {path_name(path): leaf for path, leaf in leaves}


def map_paths(function: Callable[[str, Any], Any], tree: Any) -> Any:
    """The tree of function(path, leaf)."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: function(path_name(path), leaf), tree
    )


def _key(entry: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    raise TypeError(f"unknown kind of tree key: {entry!r}")
