"""`jaxlin sweep`: plan, train, look, collect."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxlin.study.sweep.folder import Sweep
    from jaxlin.study.sweep.queue import Event, Queue
    from jaxlin.study.sweep.runner import Settings
    from jaxlin.study.sweep.trial import Here

FAILED = 1  # exit code of a sweep with a failed point
MANY = 24  # points that take a while to try
LARGE = 2_000_000  # parameters, above which a step is more work than starting it


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of training."""
    parser.add_argument(
        "--parallel", type=int, default=1, metavar="N", help="processes at a time (1)"
    )
    parser.add_argument(
        "--together",
        action=argparse.BooleanOptionalAction,
        help="points that differ in their seed as one program (where a model is small)",
    )
    parser.add_argument("--retry", action="store_true", help="train failed points again")
    parser.add_argument(
        "--compile",
        metavar="TOPOLOGY",
        help="first compile the step of every point for a TPU slice, such as v5e:4x4",
    )


def check(args: argparse.Namespace, sweep: Sweep) -> Here:
    """Checks the points that are to be trained, before anything is written; what they are to be
    trained on. Raises ConfigError."""
    from jaxlin.config.errors import ConfigError
    from jaxlin.study.sweep import trial

    _check_numbers(args)
    _, todo = _todo(args, sweep)
    chosen = [one for one in sweep.points if one.id in todo]
    if len(chosen) > MANY:
        print(f"trying {len(chosen)} points, before anything is written ...", file=sys.stderr)
    here = trial.check(chosen)
    if args.parallel > 1 and here.platform == "tpu":
        raise ConfigError(
            "--parallel: a TPU takes one process at a time; on many slices start a worker on each "
            f"(`jaxlin sweep {sweep.folder}`), or one job a point (--print-jobs)"
        )
    if args.compile is not None:
        from jaxlin.cli import _compile_points

        if not _compile_points.apart(chosen, args.compile):
            raise ConfigError("--compile: not every point compiles and fits; nothing was started")
    return here


def plan(args: argparse.Namespace, sweep: Sweep) -> int:
    """Checks every point and prints what would be done."""
    here = check(args, sweep)
    for line in _about(args, sweep, here, *_todo(args, sweep)):
        print(line)
    return 0


def status(sweep: Sweep) -> int:
    """Prints the table once."""
    from jaxlin.study.sweep import live, results
    from jaxlin.study.sweep.queue import Queue
    from jaxlin.study.sweep.status import overview

    found = overview(sweep, Queue(sweep.folder), results.read(sweep.folder))
    print(live.plain(found))
    for now in found.points:
        if now.state == "failed":
            reason = Queue(sweep.folder).last()[now.point.id].reason
            print(f"\n{now.point.id} failed: {reason}")
    return 0


def collect(sweep: Sweep) -> int:
    """Makes results.jsonl again."""
    from jaxlin.study.sweep import results
    from jaxlin.study.sweep.queue import Queue

    queue = Queue(sweep.folder)
    results.reconcile(sweep, queue)
    lines = results.collect(sweep, queue)
    print(f"wrote {sweep.folder / results.RESULTS}: {len(lines)} of {len(sweep.points)} points")
    return 0


def run(args: argparse.Namespace, sweep: Sweep, here: Here) -> int:
    """Trains what is left, and says how it went."""
    from jaxlin.study.sweep import results
    from jaxlin.study.sweep.live import Live
    from jaxlin.study.sweep.queue import Queue
    from jaxlin.study.sweep.runner import Runner
    from jaxlin.study.sweep.status import overview

    queue = Queue(sweep.folder, args.takeover)
    states, todo = _todo(args, sweep)
    groups, _ = _groups(args, sweep, todo, here)
    for line in _about(args, sweep, here, states, todo):
        print(line, file=sys.stderr, flush=True)
    known = results.read(sweep.folder)

    def ended(id: str) -> None:
        known.pop(id, None)
        known.update({line["id"]: line for line in results.collect(sweep, queue, known)})

    live = Live(lambda: overview(sweep, queue, known, args.parallel))
    failed = frozenset(id for id in todo if states[id].state == "failed")
    runner = Runner(
        sweep, queue, groups, _settings(args, here), retry=failed,
        say=live.say, ended=ended, tick=live.tick,
    )  # fmt: skip
    with live.open():
        told = runner.run()
    return _end(sweep, queue, told)


def _end(sweep: Sweep, queue: Queue, told: bool) -> int:
    """The last words and the exit code. Raises PreemptedError if it was told to stop."""
    from jaxlin.config.errors import PreemptedError
    from jaxlin.study.sweep import results
    from jaxlin.study.sweep.status import overview

    results.collect(sweep, queue, results.read(sweep.folder))
    found = overview(sweep, queue, results.read(sweep.folder))
    print(found.headline())
    if told:
        raise PreemptedError(
            f"told to stop: what ran is saved in {sweep.folder}; the same command goes on"
        )
    if not found.counts()["failed"]:
        return 0
    print(
        f"failed points: `jaxlin sweep {sweep.folder} --status` says why, `--retry` trains them "
        "again",
        file=sys.stderr,
    )
    return FAILED


def _check_numbers(args: argparse.Namespace) -> None:
    from jaxlin.config.errors import ConfigError

    for name, value in (("--parallel", args.parallel), ("--seeds", args.seeds)):
        if value is not None and not 1 <= value <= 1024:
            raise ConfigError(f"{name}: {value} is not among 1 to 1024")


def _todo(args: argparse.Namespace, sweep: Sweep) -> tuple[dict[str, Event], list[str]]:
    """What stands for each point, and the ids of the chosen ones that are to be trained."""
    from jaxlin.study.sweep.plan import select
    from jaxlin.study.sweep.queue import Queue

    queue = Queue(sweep.folder, args.takeover)
    states = queue.states(one.id for one in sweep.points)
    wanted = ("pending", "failed") if args.retry else ("pending",)
    chosen = select(sweep.points, args.only)
    return states, [one.id for one in chosen if states[one.id].state in wanted]


def _groups(
    args: argparse.Namespace, sweep: Sweep, todo: list[str], here: Here
) -> tuple[list[tuple[str, ...]], list[str]]:
    from jaxlin.study.sweep import plan

    chosen = [one for one in sweep.points if one.id in todo]
    return plan.together(chosen, args.together, here.devices, here.small(LARGE))


def _about(
    args: argparse.Namespace,
    sweep: Sweep,
    here: Here,
    states: dict[str, Event],
    todo: list[str],
) -> list[str]:
    from jaxlin.study.sweep import plan, results
    from jaxlin.study.sweep.queue import Queue
    from jaxlin.study.sweep.status import overview
    from jaxlin.train.progress import duration

    groups, notes = _groups(args, sweep, todo, here)
    known = results.read(sweep.folder)
    found = overview(sweep, Queue(sweep.folder), known, args.parallel)
    left = [now for now in found.points if now.point.id in todo]
    lines = [
        f"sweep   {sweep.folder}",
        *plan.describe(sweep.points, states, groups),
        f"here    {here.devices} x {here.kind}, {args.parallel} at a time" if todo else "",
        *notes,
    ]
    if left and found.left:
        lines.append(f"time    about {duration(found.left)}, by the points that are done")
    return [line for line in lines if line]


def _settings(args: argparse.Namespace, here: Here) -> Settings:
    from jaxlin.study.sweep import plan
    from jaxlin.study.sweep.runner import Settings

    shared = args.parallel > 1 and here.platform in ("gpu", "cuda", "rocm")
    memory = (("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 / args.parallel:.3f}"),) if shared else ()
    cores = plan.shares(args.parallel) if here.platform == "cpu" else ()
    return Settings(args.parallel, args.takeover, cores, memory)
