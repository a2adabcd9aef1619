"""What `train` and `resume` share: switches for a run that is not as it should be, differences."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxlin.cli import _processes

if TYPE_CHECKING:
    from jaxlin.config.run import RunConfig

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


def go(
    args: argparse.Namespace,
    cfg: RunConfig,
    folder: Path,
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Trains with what the switches allow, together with the other processes of the run. `around`
    is open while they train, in each of them."""
    from jaxlin.train.loop import train
    from jaxlin.train.resume import Resume

    with quiet(), _processes.joined(args, cfg), around():
        train(cfg, folder, resume=Resume(args.fallback, args.allow_cast, args.takeover))


def show(changes: Iterable[tuple[str, Any, Any]]) -> str:
    """A line for each field that differs: old -> new."""
    from jaxlin.config.plain import text

    return "\n".join(f"  {path}: {text(old)} -> {text(new)}" for path, old, new in changes)


@contextmanager
def quiet() -> Iterator[None]:
    """Orbax logs tracebacks of a failed save, which the error that ends the run tells in short."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
