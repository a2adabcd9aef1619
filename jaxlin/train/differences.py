"""How the leaves of a checkpoint may differ from those wanted: by what a newer format added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jaxlin.config.errors import CheckpointError
from jaxlin.parallel.table import align

# Fields of the state that came with a format: an older checkpoint lacks them, and nothing else.
ADDED = {2: ("guard",)}
CASTS = {"float32", "bfloat16"}  # dtypes that a user may let one become the other


def refuse_differences(
    where: str, stored: Mapping[str, Any], wanted: Mapping[str, Any], cast: bool = False
) -> None:
    """Raises CheckpointError with a table of all leaves whose presence, shape or dtype differs."""
    differing = [
        [path, _describe(stored.get(path)), _describe(wanted.get(path))]
        for path in sorted({*wanted, *stored})
        if _describe(stored.get(path)) != _describe(wanted.get(path))
        and not (cast and _castable(stored.get(path), wanted.get(path)))
    ]
    if differing and all(_castable(stored.get(path), wanted.get(path)) for path, *_ in differing):
        raise CheckpointError(
            f"{where} has other dtypes than this config's: {len(differing)} leaves differ. "
            "`train` and `resume` round or widen them with --allow-cast.\n"
            + align([["leaf", "stored", "wanted"], *differing])
        )
    if differing:
        table = align([["leaf", "stored", "wanted"], *differing])
        raise CheckpointError(
            f"{where} belongs to another model or optimizer: {len(differing)} leaves differ from "
            "this config's. Resume it with its own config, or name a run of this model.\n" + table
        )


def younger(version: int, stored: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Wanted leaves of fields that a checkpoint of this format could not have."""
    added = [field for since, names in ADDED.items() if since > version for field in names]
    return [path for path in wanted if path.partition("/")[0] in added and path not in stored]


def _castable(stored: Any, wanted: Any) -> bool:
    if stored is None or wanted is None or tuple(stored.shape) != tuple(wanted.shape):
        return False
    return {str(stored.dtype), str(wanted.dtype)} == CASTS


def _describe(leaf: Any) -> str:
    if leaf is None:
        return "-"
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
