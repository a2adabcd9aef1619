"""`jaxlin resume`: goes on with a run from its directory."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from jaxlin.cli import _processes, _switches

if TYPE_CHECKING:
    from jaxlin.config.run import RunConfig

HELP = "go on with a run from its newest checkpoint"
EXAMPLE = "jaxlin resume runs/quickstart-1a2b3c4d steps=600 mesh.fsdp=4"

# What may change without making it another run.
CHANGEABLE = ("mesh", "steps", "log", "eval", "checkpoint", "guard")


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    parser.add_argument(
        "changes",
        nargs="*",
        metavar="path=value",
        help=f"new values; below {', '.join(CHANGEABLE)} only",
    )
    _switches.add(parser)
    _processes.add(parser)


def run(args: argparse.Namespace) -> int:
    """Checks the run directory and the changes before jax is loaded."""
    folder = args.run.expanduser()
    cfg = changed(folder, args.changes, _switches.CASTABLE if args.allow_cast else ())
    _switches.go(args, cfg, folder)
    return 0


def changed(folder: Path, words: list[str], allowed: tuple[str, ...] = ()) -> RunConfig:
    """The config to go on with; besides CHANGEABLE the `allowed` fields may change.

    Raises CheckpointError for a folder that is no run, ConfigError with old and new values for a
    change that would make it another run.
    """
    from jaxlin.config.errors import ConfigError
    from jaxlin.config.load import difference
    from jaxlin.config.override import override
    from jaxlin.train.records import read_config

    before = read_config(folder)
    cfg = override(before, words)
    wrong = [
        change
        for change in difference(before, cfg)
        if change[0].partition(".")[0] not in CHANGEABLE and change[0] not in allowed
    ]
    if wrong:
        cast = {path for path, _, _ in wrong} <= {*_switches.CASTABLE}
        raise ConfigError(
            f"{', '.join(path for path, _, _ in wrong)}: cannot change within a run"
            f"{' without --allow-cast' if cast else ''}; what can: {', '.join(CHANGEABLE)}. "
            f"For another run from these parameters: `jaxlin train --config {folder}/config.json "
            f"init_from={folder} path=value ... --run NEW`. What would change:\n"
            + _switches.show(wrong)
        )
    return cfg
