"""Saying what is wrong with a checkpoint: the step, the leaf, the folder; in one paragraph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Array

from jaxlin.config.errors import CheckpointError
from jaxlin.train.digest import digests


class Damaged(CheckpointError):
    """A step that was saved and cannot be restored as it was; another step may be."""


class explained:
    """Turns whatever goes wrong inside into an error of a kind that starts with `what`."""

    def __init__(self, what: str, kind: type[CheckpointError] = CheckpointError):
        self.what, self.kind = what, kind

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, CheckpointError):
            raise self.kind(f"{self.what}: {short(error)}") from error


def short(error: Exception) -> str:
    """The first line of what a library says; the traceback (--debug) has it all."""
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0]
    return line if len(line) <= 300 else line[:300] + " ..."


def read_or_name(
    read: Callable[[dict[str, Any]], dict[str, Array]], wanted: dict[str, Any], what: str
) -> dict[str, Array]:
    """read(wanted); where that fails, Damaged names the first leaf that cannot be read.

    Orbax and TensorStore do not name it, so that each leaf is tried alone.
    """
    try:
        return read(wanted)
    except Exception as error:
        for path, leaf in wanted.items():
            with explained(f"{what}, at leaf {path}", Damaged):
                read({path: leaf})
        raise Damaged(f"{what}: {short(error)}") from error


def refuse_other_leaves(where: Path, stored: Mapping[str, Any], saved: Mapping[str, str]) -> None:
    """Raises Damaged if the leaves on disk are not those that have digests."""
    differing = sorted({*stored} ^ {*saved})
    if differing:
        raise Damaged(
            f"{where} is damaged: it does not list the leaves that were saved; {len(differing)} "
            f"differ, the first: {differing[0]}"
        )


def refuse_other_bits(where: Path, leaves: Mapping[str, Array], saved: Mapping[str, str]) -> None:
    """Raises Damaged if the leaves are not, bit by bit, those that were saved."""
    wrong = [path for path, found in digests(leaves).items() if saved[path] != found]
    if wrong:
        others = f" (nor are {len(wrong) - 1} others)" if len(wrong) > 1 else ""
        raise Damaged(
            f"{where} is damaged: leaf {wrong[0]} is not what was saved{others}: its bits do not "
            "match the digest that was stored with it"
        )
