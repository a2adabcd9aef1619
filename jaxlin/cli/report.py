"""`jaxlin report`: one HTML page that shows one run or several beside each other."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write one HTML page about one run or several: curves, layers, samples, differences"
EXAMPLE = """jaxlin report runs/quickstart-1a2b3c4d
  jaxlin report runs/gla runs/gated_deltanet --out compared.html"""

PAGE = "report.html"


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directory")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=f"the page (of one run: RUN/{PAGE})"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the page; loads no jax."""
    from jaxlin.config.errors import ConfigError

    folders = [folder.expanduser() for folder in args.runs]
    if args.out is None and len(folders) > 1:
        raise ConfigError("--out: give a file to write; only the page of one run has its own place")
    out = args.out.expanduser() if args.out else folders[0] / PAGE
    print(f"wrote {make(folders, out)}: open it in a browser")
    return 0


def make(folders: list[Path], out: Path) -> Path:
    """The page of these runs. Raises CheckpointError for a folder that is no run."""
    from jaxlin.study import page, runs

    page.write(out, page.page(runs.read(folders)))
    return out
