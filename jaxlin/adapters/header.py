"""The header of a safetensors file, read before the file is believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxlin.config import strictjson
from jaxlin.config.errors import CheckpointError

MAX_HEADER = 2**24  # bytes; an array takes about 100


def read_header(path: Path) -> dict[str, str]:
    """Name -> "F32[2, 3]" of each array, as the file claims; no array is read.

    Raises CheckpointError when the header does not fit the file, is not JSON, or names one twice.
    """
    try:
        held = path.stat().st_size - 8
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 0 < size <= min(held, MAX_HEADER):
                raise CheckpointError(
                    f"{path}: the header claims {size} bytes, {max(held, 0)} follow (at most "
                    f"{MAX_HEADER} are read); it is truncated or no safetensors file"
                )
            content = file.read(size)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    header = strictjson.parse(content, f"{path}: header", CheckpointError, MAX_HEADER)
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: the header is no JSON object")
    return {name: _claim(entry) for name, entry in header.items() if name != "__metadata__"}


def _claim(entry: Any) -> str:
    return f"{entry.get('dtype')}{entry.get('shape')}" if isinstance(entry, dict) else repr(entry)
