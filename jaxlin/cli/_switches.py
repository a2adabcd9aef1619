"""What `train` and `resume` share: switches for a run that is not as it should be, differences."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxlin.train.resume import Resume

CASTABLE = ("model.dtype",)  # what may change with --allow-cast


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the switches, all off."""
    parser.add_argument(
        "--fallback",
        action="store_true",
        help="when the newest checkpoint is damaged, go on from the one before it",
    )
    parser.add_argument(
        "--allow-cast",
        action="store_true",
        help="go on in another dtype: model.dtype may change, float32 <-> bfloat16 is cast",
    )
    parser.add_argument(
        "--takeover",
        action="store_true",
        help="take the directory from a process that has given no sign of life for a while",
    )


def resume(args: argparse.Namespace) -> Resume:
    """The switches as `jaxlin.train.loop.train` takes them."""
    from jaxlin.train.resume import Resume

    return Resume(args.fallback, args.allow_cast, args.takeover)


def show(changes: Iterable[tuple[str, Any, Any]]) -> str:
    """A line for each field that differs: old -> new."""
    from jaxlin.config.plain import text

    return "\n".join(f"  {path}: {text(old)} -> {text(new)}" for path, old, new in changes)
