"""`jaxlin sweep`: trains all points of a study, from a file that lists them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jaxlin.cli import _sweep_point, _sweep_run

if TYPE_CHECKING:
    from jaxlin.config.points import Resolved
    from jaxlin.study.sweep.folder import Sweep

HELP = "train every point of a study: from one Python file, restartable, a table while it runs"
EXAMPLE = """jaxlin sweep examples/sweep.py --plan
  jaxlin sweep examples/sweep.py --parallel 2 steps=40
  jaxlin sweep sweeps/examples_sweep --status"""


LOOKS = ("plan", "status", "collect", "print_jobs", "point")  # of which one is given


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "target", metavar="FILE|DIR", type=Path, help="sweep file, or the folder that it made"
    )
    parser.add_argument(
        "words", nargs="*", metavar="path=value", help="overrides for all points (with FILE)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="sweep folder (sweeps/FOLDER for FOLDER/points.py, sweeps/FOLDER_NAME for another)",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="work on these points only: 'gla-*', or a label, mixer=gla (may be repeated)",
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="each point with seeds 0 to N-1")
    _sweep_run.add(parser)
    _sweep_point.add(parser)
    look = parser.add_argument_group("instead of training")
    look.add_argument("--plan", action="store_true", help="check every point and say what is to do")
    look.add_argument("--status", action="store_true", help="print the table of a sweep folder")
    look.add_argument("--collect", action="store_true", help="make results.jsonl again")
    look.add_argument(
        "--print-jobs",
        metavar="ENGINE ...",
        help="print one job a point for an engine of `jaxlin launch`, with its options: "
        "--print-jobs 'slurm --nodes 2'",
    )


def run(args: argparse.Namespace) -> int:
    """Finds out what is asked."""
    from jaxlin.config.errors import ConfigError
    from jaxlin.study.sweep import folder

    wanted = [n for n in LOOKS if getattr(args, n) not in (None, False, [])]
    if len(wanted) > 1:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in wanted)
        raise ConfigError(f"{names}: give one of them")
    words = [word for word in args.words if "=" not in word]
    if words:
        raise ConfigError(f"{words[0]!r} is no override; write path=value, such as steps=100")
    if not args.target.is_dir():
        return _of_file(args)
    if args.words or args.out is not None or args.seeds is not None:
        raise ConfigError(
            f"{args.target} is a sweep folder, whose points stand; overrides, --seeds and --out go "
            "with the sweep file"
        )
    return _of_sweep(args, folder.read(args.target))


def _of_file(args: argparse.Namespace) -> int:
    """From the file that lists the points."""
    from jaxlin.cli import _sweep_jobs
    from jaxlin.study.sweep import folder

    points = resolved(args)
    if args.print_jobs is not None:  # an empty one does not start to train
        return _sweep_jobs.show(args, points)
    out = args.out or folder.default_folder(args.target)
    sweep, notes = folder.begin(out, args.target, points)
    for note in notes:
        print(note, file=sys.stderr)
    if args.plan:
        return _sweep_run.plan(args, sweep)
    if args.status or args.collect:
        return _of_sweep(args, folder.read(out))
    here = None if args.point else _sweep_run.check(args, sweep)
    folder.write(sweep)
    return _sweep_point.run(args, sweep) if here is None else _sweep_run.run(args, sweep, here)


def resolved(args: argparse.Namespace) -> list[Resolved]:
    """The checked points of the file, with --seeds and the overrides."""
    from jaxlin.config import points, sweepfile

    found = sweepfile.load(args.target)
    if args.seeds is not None:
        found = points.with_seeds(found, args.seeds)
    return points.resolve(points.with_overrides(found, args.words))


def _of_sweep(args: argparse.Namespace, sweep: Sweep) -> int:
    """From the folder alone."""
    from jaxlin.config.errors import ConfigError

    if args.print_jobs is not None:
        raise ConfigError("--print-jobs: give the sweep file: hosts may not see this folder")
    if args.status:
        return _sweep_run.status(sweep)
    if args.collect:
        return _sweep_run.collect(sweep)
    if args.point:
        return _sweep_point.run(args, sweep)
    if args.plan:
        return _sweep_run.plan(args, sweep)
    return _sweep_run.run(args, sweep, _sweep_run.check(args, sweep))
