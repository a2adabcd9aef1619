"""Block sizes that were found best, one JSON file for each kind of device.

    {"device": "TPU v5 lite",
     "blocks": {"pallas_tpu linear_attention key 128x128 bfloat16": {"chunk_size": 64, "heads": 4}}}

A key names implementation, op, decay, k x v, and the dtype as kernels see it: "bfloat16" for all
of two bytes, else "float32". What the numbers are called is the implementation's affair.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from kernels_pallas.call import Call
from kernels_pallas.chip import Chip

FOLDER = Path(__file__).with_name("tables")
_KEY = re.compile(r"pallas_\w+ \w+ (none|head|key) \d+x\d+ (bfloat16|float32)")

_TRIED: ContextVar[Mapping[str, int] | None] = ContextVar("tried", default=None)


def lookup(
    implementation: str, call: Call, chip: Chip, folder: Path = FOLDER
) -> dict[str, int] | None:
    """The blocks for `call` on `chip`; None where nobody has looked for them.

    Raises ValueError, with the file's name, if the table of the chip is malformed.
    """
    if (tried := _TRIED.get()) is not None:
        return dict(tried)
    found = _read(path_of(chip, folder)).get(key_of(implementation, call))
    return None if found is None else dict(found)


@contextlib.contextmanager
def trying(blocks: Mapping[str, int]) -> Iterator[None]:
    """While entered, `lookup` finds `blocks` for every call: how candidates are measured."""
    token = _TRIED.set(blocks)
    try:
        yield
    finally:
        _TRIED.reset(token)


def write(
    chip: Chip,
    implementation: str,
    blocks: Mapping[Call, Mapping[str, int]],
    folder: Path = FOLDER,
) -> Path:
    """Adds `blocks` to the table of `chip`, in place of older ones for the same calls."""
    path = path_of(chip, folder)
    added = {key_of(implementation, call): dict(sizes) for call, sizes in blocks.items()}
    table = {"device": chip.kind, "blocks": dict(sorted((_read(path) | added).items()))}
    _check(path, table)
    rows = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in table["blocks"].items())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{{"device": {json.dumps(chip.kind)}, "blocks": {{\n{rows}\n}}}}\n')
    _read.cache_clear()
    return path


def path_of(chip: Chip, folder: Path = FOLDER) -> Path:
    """tables/<device kind in lower case, "_" between its words>.json."""
    return folder / (re.sub(r"[^a-z0-9]+", "_", chip.kind.lower()).strip("_") + ".json")


def key_of(implementation: str, call: Call) -> str:
    """The row of a table that speaks of `call`."""
    dtype = "bfloat16" if call.dtype in ("bfloat16", "float16") else "float32"
    return f"{implementation} {call.op} {call.decay} {call.k}x{call.v} {dtype}"


@functools.cache  # read once: the files are part of the package
def _read(path: Path) -> dict[str, dict[str, int]]:
    if not path.exists():
        return {}
    try:
        table = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"table of block sizes {path} is no JSON: {error}") from error
    _check(path, table)
    return table["blocks"]


def _check(path: Path, table: Any) -> None:
    """Raises ValueError unless `table` is what the head of this file shows."""

    def refuse(what: str) -> None:
        raise ValueError(
            f"table of block sizes {path}: {what}; write it with python -m kernels_pallas.tune"
        )

    if not isinstance(table, dict) or table.keys() != {"device", "blocks"}:
        refuse('wanted an object with the fields "device" and "blocks"')
    if path_of(Chip("", str(table["device"])), path.parent) != path:
        refuse(f"it is of the device {table['device']!r}, which has a file of another name")
    if not isinstance(table["blocks"], dict):
        refuse('"blocks" is no object')
    for key, sizes in table["blocks"].items():
        if not _KEY.fullmatch(key):
            refuse(f"{key!r} is no key such as 'pallas_tpu delta_rule head 128x128 bfloat16'")
        whole = isinstance(sizes, dict) and all(type(n) is int and n > 0 for n in sizes.values())
        if not whole or not sizes:
            refuse(f"{key!r} has {sizes!r}; wanted whole numbers above 0, by name")
