"""A folder an adapter: adapter_model.safetensors and adapter_config.json."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlin.adapters.tree import Tree, attach
from jaxlin.config.errors import CheckpointError, ConfigError
from jaxlin.config.registry import adapters as registry

FORMAT_VERSION = 1
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def save(folder: Path, tree: Tree, configs: Sequence[Any], params: Mapping[str, Any]) -> None:
    """Writes the adapters alone, with the digest of the base that they belong to."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = {
        "format_version": FORMAT_VERSION,
        "base": base_digest(params),
        "adapters": [dataclasses.asdict(config) for config in configs],
    }
    _safetensors().save_file(_flat(tree), folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(meta, indent=2) + "\n")


def load(folder: Path, params: Mapping[str, Any]) -> tuple[tuple[Any, ...], Tree]:
    """The configs and the adapters of a folder, for the base `params`.

    Raises CheckpointError if the folder is none, is newer, is damaged, or belongs to another base.
    """
    try:
        meta = json.loads((folder / CONFIG).read_text())
        stored = _safetensors().load_file(folder / WEIGHTS)
    except Exception as error:
        raise CheckpointError(f"{folder} holds no readable adapter: {error}") from error
    if meta["format_version"] > FORMAT_VERSION:
        raise CheckpointError(
            f"{folder / CONFIG}: format_version {meta['format_version']} is newer than this "
            f"version's {FORMAT_VERSION}; upgrade jaxlin"
        )
    if meta["base"] != base_digest(params):
        raise CheckpointError(
            f"{folder} was trained on another base (digest {meta['base'][:12]}, found "
            f"{base_digest(params)[:12]}); attach it to the parameters that it was trained on"
        )
    configs = tuple(registry.config(item["kind"])(**item) for item in meta["adapters"])
    tree = jax.eval_shape(lambda: attach(configs, params, jax.random.key(0)))
    wanted = {name: leaf.shape for name, leaf in _named(tree)}
    found = {name: leaf.shape for name, leaf in stored.items()}
    if wanted != found:
        differing = sorted(set(wanted.items()) ^ set(found.items()))
        raise CheckpointError(f"{folder / WEIGHTS}: arrays differ from its config: {differing[:4]}")
    leaves = [jnp.asarray(stored[name]) for name, _ in _named(tree)]
    return configs, jax.tree.unflatten(jax.tree.structure(tree), leaves)


def base_digest(params: Mapping[str, Any]) -> str:
    """SHA-256 over the paths, shapes and bits of all base parameters."""
    digest = hashlib.sha256()
    for name, leaf in _named(params):
        array = np.asarray(leaf)
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _named(tree: Any) -> list[tuple[str, Any]]:
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in pairs]


def _flat(tree: Tree) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(leaf) for name, leaf in _named(tree)}


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ConfigError(
            "adapter files need the package safetensors; install jaxlin[hf]"
        ) from error
    return safetensors.numpy
