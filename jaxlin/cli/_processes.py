"""The options by which the processes of one run find each other."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxlin.config.run import RunConfig
    from jaxlin.parallel.join import Group


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options; without them a process is alone."""
    group = parser.add_argument_group("several processes (the same command on every worker)")
    group.add_argument(
        "--distributed",
        action="store_true",
        help="join the processes that SLURM, Cloud TPU, GKE or Open MPI started",
    )
    group.add_argument(
        "--coordinator", metavar="HOST:PORT", help="where process 0 listens; with the next two"
    )
    group.add_argument("--processes", metavar="N", type=int, help="how many there are")
    group.add_argument("--process-id", metavar="I", type=int, help="this one's number, from 0")
    group.add_argument(
        "--join-timeout",
        metavar="SECONDS",
        type=int,
        default=300,
        help="how long to wait for the others (300)",
    )


@contextmanager
def joined(args: argparse.Namespace, cfg: RunConfig) -> Iterator[None]:
    """What is inside runs in all processes of the run, if the options name any.

    Raises ConfigError if they cannot join or do not run the same thing.
    """
    from jaxlin.parallel.join import join
    from jaxlin.parallel.peers import Peers
    from jaxlin.train import selfcheck

    group = read(args)
    if group is None:
        yield
        return
    join(group)
    with Peers():
        selfcheck.check(cfg, group.processes)
        yield


def read(args: argparse.Namespace) -> Group | None:
    """The processes that the options name; None: this one is alone. Raises ConfigError."""
    from jaxlin.config.errors import ConfigError
    from jaxlin.parallel.join import Group

    given = (args.coordinator, args.processes, args.process_id)
    if args.join_timeout < 1:
        raise ConfigError(f"--join-timeout: {args.join_timeout} is below 1 s")
    if args.distributed and given != (None, None, None):
        raise ConfigError(
            "--distributed lets the environment tell what --coordinator, --processes and "
            "--process-id say; give the one or the other"
        )
    if not args.distributed and given == (None, None, None):
        return None
    return Group(*given, timeout=args.join_timeout)
