"""`jaxlin train`: starts a run, or goes on with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from jaxlin.cli import _processes, _switches, common

if TYPE_CHECKING:
    from jaxlin.config.run import RunConfig

HELP = "train a model; the same command goes on with a run that was stopped"
EXAMPLE = "jaxlin train quickstart model.mixer=gla optim.lr=1e-3 --run runs/gla"


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    common.add(parser)
    parser.add_argument(
        "--run", metavar="DIR", type=Path, help="run directory (runs/NAME-HASH of the config)"
    )
    _switches.add(parser)
    _processes.add(parser)


def run(args: argparse.Namespace) -> int:
    """Checks config and run directory before jax is loaded."""
    cfg = common.resolve(args)
    folder = (args.run or default_folder(cfg)).expanduser()
    refuse_other_run(folder, cfg, _switches.CASTABLE if args.allow_cast else ())
    _switches.go(args, cfg, folder)
    return 0


def default_folder(cfg: RunConfig) -> Path:
    """runs/<name>-<first 8 digits of the SHA-256 of the config as JSON>."""
    import hashlib

    from jaxlin.config.load import to_json

    return Path("runs") / f"{cfg.name}-{hashlib.sha256(to_json(cfg).encode()).hexdigest()[:8]}"


def refuse_other_run(folder: Path, cfg: RunConfig, allowed: tuple[str, ...] = ()) -> None:
    """Raises ConfigError if the folder is taken by something else than a run of this config, up to
    the `allowed` fields."""
    from jaxlin.config.errors import ConfigError
    from jaxlin.config.load import difference, read

    if _is_free(folder):
        return
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"--run: {folder} exists and is no run directory; nothing was written. Name a new one"
        )
    changes = difference(read(folder / "config.json"), cfg)
    changes = [change for change in changes if change[0] not in allowed]
    if changes:
        raise ConfigError(
            f"--run: {folder} holds a run with another config; nothing was written. Name a new "
            f"directory, or use `jaxlin resume {folder} path=value ...`. What differs:\n"
            + _switches.show(changes)
        )


def _is_free(folder: Path) -> bool:
    """Whether nothing is there, or what a start leaves that is killed at its very beginning."""
    from jaxlin.train.lock import LOCK

    if not folder.is_dir():
        return not folder.exists()
    names = [path.name for path in folder.iterdir()]
    return all(name == LOCK or (name[0] == "." and name.endswith(".tmp")) for name in names)
