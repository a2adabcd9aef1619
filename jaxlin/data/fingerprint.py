"""What decides the batches of a run, small enough to be kept with every checkpoint."""

from __future__ import annotations

import hashlib
from typing import Any

from jaxlin.data.document import Document
from jaxlin.data.tokenizer import Tokenizer

FORMAT = 1
MAX_FILES = 256  # more are summed up in one entry


class FileDigests:
    """Documents, bytes and digest of the text of each file, in reading order."""

    def __init__(self) -> None:
        self._files: dict[str, list[Any]] = {}

    def add(self, document: Document) -> None:
        entry = self._files.setdefault(document.file, [0, 0, hashlib.sha256()])
        entry[0] += 1
        entry[1] += len(document.text)
        entry[2].update(len(document.text).to_bytes(8, "little") + document.text)

    def entries(self) -> dict[str, Any]:
        """{file: {documents, bytes, sha256}}; beyond MAX_FILES one entry for all."""
        entries = {
            name: {"documents": count, "bytes": size, "sha256": digest.hexdigest()}
            for name, (count, size, digest) in self._files.items()
        }
        if len(entries) <= MAX_FILES:
            return entries
        total = hashlib.sha256(repr(sorted(entries.items())).encode())
        return {
            f"{len(entries)} files": {
                "documents": sum(entry["documents"] for entry in entries.values()),
                "bytes": sum(entry["bytes"] for entry in entries.values()),
                "sha256": total.hexdigest(),
            }
        }


def of_source(files: dict[str, Any], tokenizer: Tokenizer, held_out: float) -> dict[str, Any]:
    """The part that the source decides."""
    order = hashlib.sha256("\n".join(files).encode()).hexdigest()
    return {
        "format": FORMAT,
        "files": files,
        "order": order,
        "tokenizer": {"sha256": tokenizer.digest, "size": tokenizer.size},
        "held_out": held_out,
    }


def of_run(
    source: dict[str, Any], *, context: int, batch: int, seed: int, reset: bool
) -> dict[str, Any]:
    """The whole: `source` of a corpus and what the run decides. JSON."""
    return {**source, "context": context, "batch": batch, "seed": seed, "reset": reset}


def difference(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted path, old, new) of each leaf that differs; None stands for a missing one."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        found = (difference(old.get(k), new.get(k), f"{path}.{k}" if path else k) for k in keys)
        return [leaf for leaves in found for leaf in leaves]
    return [] if old == new else [(path, old, new)]
