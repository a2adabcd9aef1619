"""A folder an adapter: adapter_model.safetensors and adapter_config.json."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlin.adapters.header import read_header
from jaxlin.adapters.meta import CONFIG, FORMAT_VERSION, Meta, read_meta
from jaxlin.adapters.tree import Tree, attach
from jaxlin.config.errors import CheckpointError, ConfigError
from jaxlin.config.paths import inside

WEIGHTS = "adapter_model.safetensors"
DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}  # as safetensors writes them


def save(folder: Path, tree: Tree, configs: Sequence[Any], params: Mapping[str, Any]) -> None:
    """Writes the adapters alone, with the digests of their base and of their own file."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{WEIGHTS}.tmp"
    _safetensors().save_file(_flat(tree), partial)
    meta = {
        "format_version": FORMAT_VERSION,
        "base": base_digest(params),
        "weights": _file_digest(partial),
        "adapters": [dataclasses.asdict(config) for config in configs],
    }
    os.replace(partial, folder / WEIGHTS)
    partial = folder / f".{CONFIG}.tmp"
    partial.write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, folder / CONFIG)


def load(folder: Path, params: Mapping[str, Any]) -> tuple[tuple[Any, ...], Tree]:
    """The configs and the adapters of a folder, for the base `params`.

    Raises CheckpointError if the folder is none, is newer, is damaged, or belongs to another base.
    """
    meta = read_meta(inside(folder, CONFIG, CheckpointError))
    found = base_digest(params)
    if meta.base != found:
        raise CheckpointError(
            f"{folder} was trained on another base (digest {meta.base[:12]}, found {found[:12]}); "
            "attach it to the parameters that it was trained on"
        )
    tree = jax.eval_shape(lambda: attach(meta.adapters, params, jax.random.key(0)))
    stored = _read_weights(inside(folder, WEIGHTS, CheckpointError), meta, dict(_named(tree)))
    leaves = [jnp.asarray(stored[name]) for name, _ in _named(tree)]
    return meta.adapters, jax.tree.unflatten(jax.tree.structure(tree), leaves)


def _read_weights(path: Path, meta: Meta, wanted: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays, once names, dtypes, shapes and content are those that the config tells."""
    claimed = read_header(path)
    expected = {name: _claim(leaf) for name, leaf in wanted.items()}
    if claimed != expected:
        differing = sorted(set(claimed.items()) ^ set(expected.items()))
        raise CheckpointError(f"{path}: arrays differ from its config: {differing[:4]}")
    if _file_digest(path) != meta.weights:
        raise CheckpointError(
            f"{path}: its content is not what {CONFIG} describes (sha256); it was damaged or "
            "replaced: restore both files together"
        )
    try:
        return _safetensors().load_file(path)
    except Exception as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error


def base_digest(params: Mapping[str, Any]) -> str:
    """SHA-256 over the paths, shapes and bits of all base parameters."""
    digest = hashlib.sha256()
    for name, leaf in _named(params):
        array = np.asarray(leaf)
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _claim(leaf: Any) -> str:
    return f"{DTYPES.get(str(leaf.dtype), leaf.dtype)}{list(leaf.shape)}"


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
