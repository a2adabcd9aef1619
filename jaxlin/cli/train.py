"""`jaxlin train`: starts a run, or goes on with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from jaxlin.cli import common

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


def run(args: argparse.Namespace) -> int:
    """Checks config and run directory before jax is loaded."""
    cfg = common.resolve(args)
    folder = (args.run or default_folder(cfg)).expanduser()
    refuse_other_run(folder, cfg)

    from jaxlin.train.loop import train

    train(cfg, folder)
    return 0


def default_folder(cfg: RunConfig) -> Path:
    """runs/<name>-<first 8 digits of the SHA-256 of the config as JSON>."""
    import hashlib

    from jaxlin.config.load import to_json

    return Path("runs") / f"{cfg.name}-{hashlib.sha256(to_json(cfg).encode()).hexdigest()[:8]}"


def refuse_other_run(folder: Path, cfg: RunConfig) -> None:
    """Raises ConfigError if the folder is taken by something else than a run of this config."""
    from jaxlin.config.errors import ConfigError
    from jaxlin.config.load import difference, read
    from jaxlin.config.plain import text

    if not folder.exists() or (folder.is_dir() and not any(map(_of_others, folder.iterdir()))):
        return
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"--run: {folder} exists and is no run directory; nothing was written. Name a new one"
        )
    changes = difference(read(folder / "config.json"), cfg)
    if changes:
        lines = "\n".join(f"  {path}: {text(a)} -> {text(b)}" for path, a, b in changes)
        raise ConfigError(
            f"--run: {folder} holds a run with another config; nothing was written. Name a new "
            f"directory, or use `jaxlin resume {folder} path=value ...`. What differs:\n{lines}"
        )


def _of_others(path: Path) -> bool:
    """Whether a file is more than what a run leaves that was killed while writing its first one."""
    return path.name != ".config.json.tmp"
