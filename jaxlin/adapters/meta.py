"""adapter_config.json: what is attached, to which base, with which weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from jaxlin.config import strictjson
from jaxlin.config.check import check
from jaxlin.config.errors import CheckpointError
from jaxlin.config.kinds import AnyAdapter
from jaxlin.config.types import PositiveInt

FORMAT_VERSION = 1
CONFIG = "adapter_config.json"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="64 digits of a SHA-256")]


@dataclass(frozen=True, kw_only=True)
class Meta:
    """The fields of the file; there are no others."""

    format_version: PositiveInt
    base: Sha256
    weights: Sha256  # of the file
    adapters: tuple[AnyAdapter, ...]


def read_meta(path: Path) -> Meta:
    """The checked content. Raises CheckpointError if it is newer, or has anything wrong in it."""
    try:
        with path.open("rb") as file:
            content = file.read(strictjson.MAX_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    raw = strictjson.parse(content, str(path), CheckpointError)
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if not isinstance(version, int):
        raise CheckpointError(f"{path}: not written by jaxlin: it has no format_version")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format_version {version} is newer than this version's {FORMAT_VERSION}; "
            "upgrade jaxlin"
        )
    meta, problems = check(Meta, raw)
    if problems:
        raise CheckpointError(f"{path}: {'; '.join(problems)}")
    return meta
