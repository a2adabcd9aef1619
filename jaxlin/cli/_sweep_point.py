"""`jaxlin sweep DIR --point ID`: trains one point of a sweep in this process; several together."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jaxlin.cli import _processes, _switches

if TYPE_CHECKING:
    from jaxlin.config.errors import JaxlinError
    from jaxlin.config.points import Resolved
    from jaxlin.study.sweep.folder import Sweep
    from jaxlin.study.sweep.queue import Queue


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "--point",
        action="append",
        default=[],
        metavar="ID",
        help="train this point here, whatever the queue says of it; several are trained together",
    )
    _switches.add(parser)
    _processes.add(parser)


def run(args: argparse.Namespace, sweep: Sweep) -> int:
    """Trains and writes down how it ended."""
    from jaxlin.cli.train import refuse_other_run
    from jaxlin.study.sweep.queue import RUNS, Queue

    points = [_find(sweep, name) for name in args.point]
    queue = Queue(sweep.folder)
    for one in points:
        allowed = _switches.CASTABLE if args.allow_cast else ()
        refuse_other_run(sweep.folder / RUNS / one.id, one.cfg, allowed)
    if len(points) > 1:
        with _switches.quiet():
            _together(args, sweep, points, queue)
        return 0
    (one,) = points
    folder = sweep.folder / RUNS / one.id
    around = partial(_written_down, queue, one, folder)
    _switches.go(args, one.cfg, folder, around)
    return 0


@contextmanager
def _written_down(queue: Queue, one: Resolved, folder: Path) -> Iterator[None]:
    """What is inside trains a point; the first of its processes tells the queue."""
    from jaxlin.parallel import processes
    from jaxlin.study.sweep import costs

    if not processes.is_first():
        yield
        return
    queue.begin([one.id])
    try:
        yield
        costs.write(one.cfg, [folder])
    except BaseException as error:
        _write_end(queue, one.id, error)
        raise
    queue.add([one.id], "done")


def _find(sweep: Sweep, name: str) -> Resolved:
    """By id or by name. Raises ConfigError with the nearest."""
    from jaxlin.config.errors import ConfigError, nearest

    names = {one.id: one for one in sweep.points} | {one.point.name: one for one in sweep.points}
    if name not in names:
        raise ConfigError(f"--point: {sweep.folder} has no point {name!r}{nearest(name, names)}")
    return names[name]


def _together(args: argparse.Namespace, sweep: Sweep, points: list[Resolved], queue: Queue) -> None:
    from jaxlin.study.sweep import costs
    from jaxlin.study.sweep.queue import RUNS
    from jaxlin.train.many import train_many

    left = [one.id for one in points]
    folders = [sweep.folder / RUNS / id for id in left]

    def ended(index: int, error: JaxlinError | None) -> None:
        left.remove(points[index].id)
        if error is None:
            costs.write(points[index].cfg, [f for f in folders if f.is_dir()])
            queue.add([points[index].id], "done")
        else:
            _write_end(queue, points[index].id, error)

    queue.begin(left)
    try:
        train_many(
            [one.cfg for one in points],
            folders,
            ended,
            takeover=args.takeover,
        )
    except BaseException as error:
        for id in left:
            _write_end(queue, id, error)
        raise


def _write_end(queue: Queue, id: str, error: BaseException) -> None:
    from jaxlin.config.errors import PreemptedError
    from jaxlin.train.crash import exit_code

    if isinstance(error, PreemptedError | KeyboardInterrupt):
        queue.add([id], "pending", str(error) or "interrupted")
    else:
        queue.add([id], "failed", f"exit code {exit_code(error)}: {str(error)[:2000]}")
