"""`jaxlin launch local`: N processes on this host."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from jaxlin.cli import _launch_words, _switches, train

if TYPE_CHECKING:
    from jaxlin.config.run import RunConfig

HELP = "start N CPU processes here that train together, as the hosts of a pod would"


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("-n", "--processes", type=int, default=2, metavar="N", help="how many (2)")
    parser.add_argument(
        "--devices-per-process", type=int, default=1, metavar="D", help="CPU devices of each (1)"
    )
    parser.add_argument("--port", type=int, metavar="P", help="of process 0 (a free one)")


def run(args: argparse.Namespace, cfg: RunConfig) -> int:
    """Returns the worst exit code of the processes."""
    from jaxlin.config.errors import ConfigError
    from jaxlin.launch import fit, local

    for name, value in (
        ("-n", args.processes),
        ("--devices-per-process", args.devices_per_process),
    ):
        if not 1 <= value <= 256:
            raise ConfigError(f"{name}: {value} is not among 1 to 256")
    count, each = args.processes, args.devices_per_process
    fit.check(cfg, count, each, f"{count} processes with {each} each")
    if args.port is not None:
        local.refuse_taken(args.port)
    train.refuse_other_run(
        (args.run or train.default_folder(cfg)).expanduser(),
        cfg,
        _switches.CASTABLE if args.allow_cast else (),
    )
    port = local.free_port() if args.port is None else args.port
    words = _launch_words.train(args)
    return local.run(local.commands(words, count, port), local.environment(each), _say)


def _say(text: str) -> None:
    print(f"jaxlin launch: {text}", file=sys.stderr, flush=True)
